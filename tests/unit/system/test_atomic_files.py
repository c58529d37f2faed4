"""Files are whole or not there."""

import pytest

from ffattn.system.atomic_files import atomic_write, errors_naming


def test_a_file_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with atomic_write(path) as part:
        part.write_text("after")
        assert path.read_text() == "before"
        assert part.suffix == ".csv"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path, error):
    with atomic_write(path) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt()])
def test_what_fails_changes_nothing(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("wrapper", [atomic_write, errors_naming])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("of a library without numbers")])
def test_an_error_of_the_system_names_the_file(tmp_path, wrapper, error):
    with pytest.raises(OSError, match=r"without numbers|No space left") as caught, wrapper(tmp_path / "a.csv"):
        raise error
    assert (caught.value.errno, caught.value.filename) == (error.errno, str(tmp_path / "a.csv"))


@pytest.mark.parametrize("wrapper", [atomic_write, errors_naming])
def test_another_file_keeps_its_name(tmp_path, wrapper):
    with pytest.raises(FileNotFoundError) as caught, wrapper(tmp_path / "a.csv"):
        (tmp_path / "input.csv").read_text()
    assert caught.value.filename == str(tmp_path / "input.csv")


def test_a_folder_that_is_not_there_is_named_by_its_file(tmp_path):
    path = tmp_path / "gone" / "a.csv"
    with pytest.raises(FileNotFoundError) as caught, atomic_write(path) as part:
        part.write_text("")
    assert caught.value.filename == str(path)
