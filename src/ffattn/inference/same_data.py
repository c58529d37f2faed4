"""Whether given data is what a network was trained on, so that validation and test hold nothing of the training."""

from typing import Any

from ffattn.errors import DataError
from ffattn.files.fingerprint import changes
from ffattn.rng.streams import Split
from ffattn.tasks import File, Task


def check_data(task: Task, fingerprint: dict[str, Any], split: Split) -> str:
    """Refuse to evaluate on data that has changed since training.

    Args:
        task: What is evaluated. A file of the test's own is no part of the training, whatever is in it.
        fingerprint: What the checkpoint knows of its data (see `GivenTask.fingerprint`); nothing in old ones.
        split: The part that is evaluated.

    Returns:
        What to say of it: that it cannot be checked, or that a file of the test's own has changed.

    Raises:
        DataError: The data, or its split, is another than in training.
    """
    if not isinstance(task, File):
        return ""
    if split is Split.TEST and task.test_path is not None:
        return _note_on_test(task, fingerprint.get("test", {}))
    if not fingerprint:
        return f"{task.path}: the checkpoint is too old to tell whether this file has changed since its training"
    if found := changes(task.fingerprint(), fingerprint):
        raise DataError(
            f"{task.path}: is not what the network was trained on: {found}; so sequences of its training may be among "
            f"the {split.name.lower()} ones. Answer for the file with python -m ffattn.predict, or give a file for the "
            "test: +task.test_path=FILE"
        )
    return ""


def _note_on_test(task: File, before: dict[str, Any]) -> str:
    """What has changed in the test's own file; nothing if it is another file, on purpose."""
    if not before or before.get("path") != task.test_path:
        return ""
    found = changes(task.test_fingerprint(), before)
    return f"{task.test_path}: has changed since training: {found}" if found else ""
