"""What several command tests share."""

TINY = [
    "T=12",
    "batch_size=4",
    "updates=2",
    "accelerator=cpu",
    "logger=none",
    "model.hidden=4",
    "trainer.validate_every=2",
    "trainer.sequences=10",
    "trainer.progress=none",
]


def snapshot(folder):
    """The bytes and the time of last change of every file below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}
