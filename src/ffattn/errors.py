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
        self.key = key
        self.value = value
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.key}={self.value}: {self.problem}"


class DataError(FFAttnError, ValueError):
    """A file of sequences cannot be used; the message names the file, and the row and the column where there is one."""


class CheckpointError(FFAttnError, ValueError):
    """A file is no checkpoint of this package, or one that this version cannot read."""


def reason_of(error: BaseException) -> str:
    """Return why something failed, in one line: the system's word for it, where the system is behind it.

    Args:
        error: Of a library, which may have met the system's error in a thread, or on its way out of another one.
    """
    while not isinstance(error, OSError) and error.__context__ is not None:
        error = error.__context__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}".partition("\n")[0]


class TrainingError(FFAttnError, RuntimeError):
    """Training cannot go on; the message says where it failed, and what may help."""
