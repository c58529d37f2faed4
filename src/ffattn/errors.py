"""Errors that a user can cause; a command prints their message and exits with status 1."""


class FFAttnError(Exception):
    """Base of all of them."""


class SettingError(FFAttnError, ValueError):
    """A setting has a value that it cannot have.

    Args:
        key: Name of the setting, relative to the object that refused it (`length.T`).
        value: What was given.
        problem: What would be right.
    """

    def __init__(self, key: str, value: object, problem: str) -> None:
        super().__init__(key, value, problem)
        self.key, self.value, self.problem = key, value, problem

    def __str__(self) -> str:
        return f"{self.key}={self.value}: {self.problem}"


class DataError(FFAttnError, ValueError):
    """A file of sequences cannot be used; the message names the file, and the row and the column where there is one."""


class CheckpointError(FFAttnError, ValueError):
    """A file is no checkpoint of this package, or one that this version cannot read."""


class TrainingError(FFAttnError, RuntimeError):
    """Training cannot go on; the message says where it failed, and what may help."""
