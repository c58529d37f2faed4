"""What a person sees: TensorBoard on a finished run, and the pages, in a real browser."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import ffattn
from ffattn import inspect, report

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(None in {CHROMIUM, DRIVER}, reason="needs chromium and chromium-driver: make browser"),
]
TABS = "TIME SERIES", "SCALARS", "IMAGES", "HPARAMS", "CUSTOM SCALARS", "PROJECTOR"
SECONDS = 60  # that a page may take, at most


@pytest.fixture(autouse=True)
def _environment():
    """A command tells Hydra by the environment how to print errors."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has learned something, with pictures."""
    return ffattn.fit(
        "trainer.pictures=1",
        "trainer.validate_every=100",
        "trainer.progress=quiet",
        "trainer.sequences=200",
        folder=tmp_path_factory.mktemp("browser") / "run",
        T=50,
        updates=300,
        accelerator="cpu",
    )


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1400"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def board(run):
    """The address of a TensorBoard that shows the run."""
    words = "--logdir", str(run.folder), "--port", "0", "--host", "127.0.0.1"
    with subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *words], stderr=subprocess.PIPE, text=True
    ) as server:
        lines = iter(server.stderr.readline, "")
        yield next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
        server.terminate()


def opened(browser, address):
    """The browser, with a page in it and its older messages gone."""
    browser.get_log("browser")
    browser.get(address if "://" in str(address) else Path(address).as_uri())
    return browser


def errors(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def keep(browser, name):
    """A screenshot, where FFATTN_SCREENSHOTS names a folder for them."""
    if folder := os.environ.get("FFATTN_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def wait_for(browser, found):
    return WebDriverWait(browser, SECONDS).until(found)


def text_of(browser):
    """All text on the page, shadow roots included: TensorBoard is made of them."""
    return browser.execute_script(
        """function text(node) {
            if (node.nodeType === Node.TEXT_NODE) return node.textContent;
            const root = node.shadowRoot ? text(node.shadowRoot) : '';
            return root + Array.from(node.childNodes).map(text).join(' ');
        } return text(document.body);"""
    )


def test_tensorboard_shows_every_tab(browser, board):
    opened(browser, board)
    wait_for(browser, lambda page: all(tab in text_of(page).upper() for tab in TABS))


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("images", ("pictures/sequence", "pictures/score_function")),
        ("hparams", ("optim/lr", "test/accuracy")),
        ("custom_scalars", ("accuracy", "attention mass")),
    ],
)
def test_a_tab_shows_what_was_logged(browser, board, tab, words):
    opened(browser, f"{board}#{tab}")
    wait_for(browser, lambda page: all(word in text_of(page) for word in words))
    keep(browser, f"tensorboard_{tab}")


def test_a_step_can_be_pointed_at(browser, run, tmp_path, monkeypatch):
    words = [f"checkpoint={run.checkpoint}", f"hydra.run.dir={tmp_path / 'looked'}", "sequences=20", "accelerator=cpu"]
    monkeypatch.setattr("sys.argv", ["ffattn-inspect", *words])
    inspect.main()
    opened(browser, tmp_path / "looked" / "index.html")
    circles = browser.find_elements(By.CSS_SELECTOR, "circle.mark")
    assert len(circles) == 3 * 2  # input, score, weight
    ActionChains(browser).move_to_element(circles[-1]).perform()
    assert circles[-1].value_of_css_property("stroke-width") == "3px"
    words = circles[-1].find_element(By.TAG_NAME, "title").get_attribute("textContent")
    assert all(word in words for word in ("step ", "marker 1", "score ", "weight "))
    keep(browser, "inspect")
    assert not errors(browser)
    pictures = browser.find_elements(By.TAG_NAME, "img")
    assert len(pictures) == 5
    assert all(picture.get_property("naturalWidth") > 500 for picture in pictures)


def test_the_course_of_training_can_be_gone_through(browser, run):
    opened(browser, run.folder / "pictures" / "index.html")
    rows = browser.find_elements(By.CSS_SELECTOR, "fieldset.slides")
    assert len(rows) == 5
    for row in rows:
        buttons, images = row.find_elements(By.TAG_NAME, "input"), row.find_elements(By.TAG_NAME, "img")
        assert [image.is_displayed() for image in images] == [False] * (len(images) - 1) + [True]
        buttons[0].click()
        assert [image.is_displayed() for image in images] == [True] + [False] * (len(images) - 1)
    keep(browser, "training")
    assert not errors(browser)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_read_from_disk(browser, run, tmp_path, monkeypatch, scheme):
    monkeypatch.setattr("sys.argv", ["ffattn-report", str(run.folder), "--output", str(tmp_path / "report")])
    report.main()
    feature = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    opened(browser, tmp_path / "report.html")
    (row,) = browser.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert row.text.split()[:3] == ["add", "ffattn", "50"]
    assert len(browser.find_elements(By.TAG_NAME, "img")) == 4
    background = browser.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    assert background is (scheme == "dark")
    assert not errors(browser)
