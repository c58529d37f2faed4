"""Pages are one file, run nothing, and show every text as text."""

import re
from html.parser import HTMLParser

import torch
from matplotlib.figure import Figure

from ffattn.figures.html import page, paragraph, picture, slides, steps_of, table
from ffattn.figures.record import record_answers
from ffattn.models import Answer
from ffattn.tasks import Add
from ffattn.tasks.batch import Batch

HOSTILE = "<script>alert('x')</script>\"&{{ 7 * 7 }}{% raw %}"


class Tags(HTMLParser):
    """The elements of a page, and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs


def seen_of(length, weights=True):
    torch.manual_seed(0)
    scores = torch.randn(1, length)
    batch = Batch(torch.randn(1, length, 2), torch.tensor([length]), torch.zeros(1, 1), torch.tensor([[2, 5]]))
    return record_answers(
        Add(), batch, Answer(torch.zeros(1, 1), scores.softmax(dim=1), scores) if weights else Answer(batch.y)
    )


def test_hostile_text_is_text():
    parts = [paragraph(HOSTILE), HOSTILE, HOSTILE, picture(Figure(), HOSTILE)]
    parts += [
        slides(HOSTILE, {HOSTILE: b""}),
        table([{HOSTILE: HOSTILE}]),
        table([{HOSTILE: HOSTILE}], codes={HOSTILE}),
    ]
    text = page(HOSTILE, parts)
    assert "script" not in Tags(text).names
    assert text.count("&lt;script&gt;") == 7 + 7 + 4
    assert text.count("{{ 7 * 7 }}{% raw %}") == 7 + 7 + 4


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs():
    text = page("x", [picture(Figure(), "y"), steps_of(seen_of(9))])
    tags = Tags(text)
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert not {"script", "link", "iframe", "object"} & set(tags.names)
    sources = [value for name, value in tags.attributes if name in {"src", "href"}]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not any(name.startswith("on") for name, _ in tags.attributes)


def test_every_step_can_be_read_and_marks_stand_out():
    seen = seen_of(9)
    text = steps_of(seen)
    assert Tags(text).names.count("circle") == 3 * 9  # input, score, weight
    assert text.count('class="mark"') == 3 * 2
    titles = re.findall(r"<title>step 2; value (\S+); marker \S+; score (\S+); weight", text)
    assert float(titles[0][0]) == round(float(seen.x[0, 2, 0]), 4) or abs(float(titles[0][0]) - seen.x[0, 2, 0]) < 1e-3
    assert abs(float(titles[0][1]) - seen.scores[0, 2]) < 1e-3


def test_without_attention_only_the_input_is_shown():
    assert Tags(steps_of(seen_of(9, weights=False))).names.count("circle") == 9


def test_of_very_many_steps_the_marked_and_the_heaviest_are_among_those_shown():
    seen = seen_of(30_000)
    text = steps_of(seen)
    assert text.count("<circle") < 3 * 2_100
    assert text.count('class="mark"') == 3 * 2
    assert f"<title>step {seen.weights[0].argmax():,};" in text
    assert "steps are left out" in text


def test_one_slide_is_shown_at_first_and_each_can_be_chosen():
    text = slides("weights", {"100": b"a", "200": b"b"})
    inputs = re.findall(r"<input [^>]*>", text)
    assert [("checked" in tag, re.search(r'aria-label="([^"]*)"', tag)[1]) for tag in inputs] == [
        (False, "weights, 100"),
        (True, "weights, 200"),
    ]
    assert len({re.search(r'name="([^"]*)"', tag)[1] for tag in inputs}) == 1  # arrow keys go through a group
