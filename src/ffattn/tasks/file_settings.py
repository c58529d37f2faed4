"""The settings of sequences in a file, and what they say of its columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffattn.errors import SettingError
from ffattn.files import Layout
from ffattn.files.fitting import AUTO, CLASSIFICATION, REGRESSION
from ffattn.files.headers import ARCHIVE
from ffattn.files.layouts import FORMS, LONG, TOKENS, WORDS, Windows, column_list
from ffattn.files.preparation import MISSING, REFUSE
from ffattn.files.splits import COLUMN, GROUP, RANDOM, SPLITS, STRATIFIED, TIME
from ffattn.files.tables import PARQUET, TIME_SERIES, locate
from ffattn.files.text_files import DECIMALS, UTF_8, TextRule, TextSettings
from ffattn.files.time_series import TARGET, has_classes
from ffattn.rng.streams import MAX_SEED
from ffattn.settings import setting
from ffattn.tasks.given import GivenTask

SKIP = "skip"
_LABEL = "0"  # the first column, where those of the UCR archive have the class
_TARGETS = {".npz": ("y",), ".ts": (TARGET,)}  # unless given


@dataclass
class FileSettings(GivenTask):
    """What `File` is told: see there."""

    path: str = ""
    target: Any = None
    id: Any = None
    time: Any = None
    features: Any = None
    leave_out: Any = None
    form: str = setting(AUTO, choices=FORMS)
    kind: str = setting(AUTO, choices=(AUTO, REGRESSION, CLASSIFICATION))
    missing: str = setting(REFUSE, choices=MISSING)
    split: str = setting(RANDOM, choices=SPLITS)
    split_by: Any = None
    split_seed: int = setting(0, low=0, high=MAX_SEED)
    val_share: float = setting(0.15, above=0, below=1)
    test_share: float = setting(0.15, above=0, below=1)
    test_path: str | None = None
    unlabelled: str = setting(REFUSE, choices=(REFUSE, SKIP))
    window_steps: int | None = setting(None, low=1)
    stride: int | None = setting(None, low=1)
    tokens: str = setting(WORDS, choices=TOKENS)
    max_categories: int = setting(10_000, low=1)
    window: int | None = setting(None, low=1)
    header: Any = AUTO
    decimal: str = setting("point", choices=tuple(DECIMALS))
    encoding: str = UTF_8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise SettingError("path", self.path, "must be a file, as in task.path=sensors.csv")
        TextSettings(self.header, self.decimal, self.encoding).rule()  # which refuses what is wrong
        self._name_columns()
        self._check_split()
        self._check_windows()
        if self.window is not None and Path(self.path).suffix != PARQUET:
            raise SettingError("window", self.window, "only Parquet files are read in pieces; leave window out")
        if self.window is not None and self.unlabelled == SKIP:
            raise SettingError("unlabelled", self.unlabelled, "is for files that are read whole; leave window out")
        if not self._targets:
            raise SettingError("target", None, "missing; give task.target=COLUMN")

    def _name_columns(self) -> None:
        """Take columns as names, and refuse those that have two roles."""
        for key in ("time", "split_by"):
            names = column_list(key, getattr(self, key))
            if len(names) > 1:
                raise SettingError(key, getattr(self, key), "must be a single column")
            setattr(self, key, names[0] if names else None)
        ids = column_list("id", self.id)
        self.id = ids if len(ids) > 1 else ids[0] if ids else None
        self.target = column_list("target", self.target) or None
        self.leave_out = column_list("leave_out", self.leave_out) or None
        if isinstance(self.features, dict):
            self.features = {str(name): column_list("features", columns) for name, columns in self.features.items()}
        else:
            self.features = column_list("features", self.features) or None
        self._check_roles()

    def _check_roles(self) -> None:
        inputs = self.features or []
        if isinstance(inputs, dict):
            inputs = column_list("features", [name for columns in inputs.values() for name in columns])
            if self.id is not None or self.window_steps is not None:
                raise SettingError("features", "{...}", "is for steps in columns; where rows are steps give a list")
        leave_out = self.leave_out or []
        for key, names in (("features", inputs), ("leave_out", leave_out)):
            if both := [name for name in names if name in self._targets]:
                raise SettingError(key, both[0], "is the target, which must be neither an input nor left out")
        used = {*inputs, *column_list("id", self.id), self.time, self.split_by}
        if both := [name for name in leave_out if name in used]:
            raise SettingError("leave_out", both[0], "has another role; a column is left out or used")

    def _check_windows(self) -> None:
        if self.window_steps is None:
            if self.stride is not None:
                raise SettingError("stride", self.stride, "is that of windows; give task.window_steps, too")
            return
        if self.split not in {RANDOM, TIME} or self.split_by is not None:
            raise SettingError("split", self.split, "windows are divided in the order of time; leave split out")
        if self.window is not None:
            raise SettingError(
                "window", self.window, "windows are cut from files that are read whole; leave window out"
            )
        if self.form not in {AUTO, LONG}:
            raise SettingError("form", self.form, "windows are cut where each row is a step; leave form out")

    def _check_split(self) -> None:
        if self.split in {GROUP, COLUMN} and self.split_by is None:
            raise SettingError("split_by", None, f"split={self.split} needs a column")
        if self.split == RANDOM and self.split_by is not None:
            others = "has no meaning for split=random; use split=stratified, group or column"
            raise SettingError("split_by", self.split_by, others)
        if self.split == COLUMN and self.test_path is not None:
            raise SettingError("test_path", self.test_path, "cannot be combined with split=column, which names a test")
        if self.split == STRATIFIED and self.split_by is None and len(self._targets) > 1:
            raise SettingError("split_by", None, "split=stratified needs a column where there are several targets")
        if self.val_share + self.test_share >= 1:
            raise SettingError("test_share", self.test_share, f"leaves nothing beside val_share={self.val_share}")

    @property
    def _is_of_archive(self) -> bool:
        """Whether the file has the UCR archive's form unless it turns out otherwise: the class first, no header."""
        said = (self.target, self.id, self.time, self.features)
        return ".tsv" in Path(self.path).suffixes and self.header == AUTO and all(name is None for name in said)

    @property
    def _kind(self) -> str:
        """What is said, or what the file says of itself."""
        if self.kind != AUTO:
            return self.kind
        if Path(self.path).suffix == TIME_SERIES and self._targets == (TARGET,):
            has = has_classes(locate(self.path))
            return AUTO if has is None else CLASSIFICATION if has else REGRESSION
        return CLASSIFICATION if self._is_of_archive else AUTO

    @property
    def _targets(self) -> tuple[str, ...]:
        if self._is_of_archive:
            return (_LABEL,)
        return tuple(self.target or _TARGETS.get(Path(self.path).suffix, ()))

    @property
    def _split_column(self) -> str | None:
        return self._targets[0] if self.split == STRATIFIED and self.split_by is None else self.split_by

    @property
    def _said_layout(self) -> Layout:
        """What the settings say of the columns."""
        is_named = isinstance(self.features, dict)
        steps = tuple((name, tuple(columns)) for name, columns in self.features.items()) if is_named else ()
        stride = self.stride or self.window_steps
        return Layout(
            tuple(column_list("id", self.id)) or None,
            self.time,
            () if is_named else tuple(self.features or ()),
            tuple(dict.fromkeys((*self._targets, *self._split_columns))),
            tokens=self.tokens,
            form=self.form,
            steps=steps,
            leave_out=tuple(self.leave_out or ()),
            needed=self._targets if self.unlabelled == SKIP else None,
            windows=None if self.window_steps is None or stride is None else Windows(self.window_steps, stride),
            text_rule=self._text_rule,
        )

    @property
    def _text_rule(self) -> TextRule:
        rule = TextSettings(self.header, self.decimal, self.encoding).rule()
        return rule._replace(header=ARCHIVE) if self._is_of_archive else rule

    @property
    def _split_columns(self) -> tuple[str, ...]:
        return () if self.split_by is None else (self.split_by,)
