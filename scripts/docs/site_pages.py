"""Hooks of the documentation site (mkdocs.yml): pages that lie at the repository's root."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "design.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the root's pages."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, content=_relinked((ROOT / source).read_text())))
    return files


def _relinked(text: str) -> str:
    """Links as they are from inside docs/; those to files that are no pages become plain text."""
    text = re.sub(r"\]\(docs/", "](", text)
    for source, target in PAGES.items():
        text = text.replace(f"]({source}", f"]({target}")
    return re.sub(r"\[([^\]]+)\]\((?!\w+://)(?![^)]*\.(?:md|png))[^)#][^)]*\)", r"\1", text)
