"""Modules and names that wait until somebody asks for them."""

import sys

import pytest

from ffattn.system.lazy_modules import LazyModule


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with two modules, of which the second one cannot be imported."""
    (tmp_path / "lazy_example").mkdir()
    (tmp_path / "lazy_example/quick.py").write_text("ONE = 1\nhidden = 2\n")
    (tmp_path / "lazy_example/slow.py").write_text("raise ImportError('was imported')\n")
    (tmp_path / "lazy_example/__init__.py").write_text(
        "from ffattn.system.lazy_modules import names_from\n"
        "__getattr__, __dir__ = names_from(__name__, ['ONE', 'TWO'], 'quick', 'slow')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_example

    yield lazy_example
    for name in [name for name in sys.modules if name.startswith("lazy_example")]:
        del sys.modules[name]


def test_a_package_imports_the_first_module_that_has_a_name(package):
    assert "lazy_example.quick" not in sys.modules
    assert package.ONE == 1
    assert vars(package)["ONE"] == 1  # and is not asked again
    with pytest.raises(ImportError, match="was imported"):
        _ = package.TWO


def test_a_package_offers_its_names_alone(package):
    assert {"ONE", "TWO"} <= set(dir(package))
    with pytest.raises(AttributeError, match="module 'lazy_example' has no attribute 'hidden'"):
        _ = package.hidden


def test_a_lazy_module_is_what_it_stands_for(package):
    quick = LazyModule("lazy_example.quick")
    assert "lazy_example.quick" not in sys.modules
    assert quick.hidden == 2
    with pytest.raises(AttributeError):
        _ = quick.nothing
