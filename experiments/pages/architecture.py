"""The tables of files in docs/architecture.md, from the first paragraph of each file's docstring.

A section `### ROOM` with a table stands for the folder src/ignota/ROOM; its prose is written by hand.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "ignota"
TOP = "The package itself"

_SECTION = re.compile(
    r"(?P<head>^### (?P<room>[^\n]+)\n.*?^\| file \| \|\n\|---\|---\|\n)(?P<rows>(?:\|[^\n]*\n)*)", re.M | re.S
)


def rows(folder: Path) -> str:
    """One row a file: name and what it is. A file without a docstring is an empty `__init__.py` and has no row."""
    found = []
    for path in sorted(folder.glob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if doc is not None:
            line = " ".join(doc.partition("\n\n")[0].split()).replace("|", "\\|")
            found.append(f"| `{path.name}` | {line} |\n")
        elif path.read_text(encoding="utf-8"):
            raise ValueError(f"{path} has no docstring")
    return "".join(found)


def folder_of(room: str) -> Path:
    """The folder that a section stands for."""
    return PACKAGE if room == TOP else PACKAGE / room


def written(page: str, _: Path) -> str:
    """The page with every table replaced; raises ValueError for a folder that has no section."""
    if lacking := missing(page):
        raise ValueError(f"docs/architecture.md has no section for {', '.join(lacking)}")
    return _SECTION.sub(lambda match: match["head"] + rows(folder_of(match["room"])), page)


def missing(page: str) -> list[str]:
    """Folders of the package that have files but no table."""
    shown = {folder_of(match["room"]) for match in _SECTION.finditer(page)}
    folders = {path.parent for path in PACKAGE.rglob("*.py")} - shown
    return sorted(str(folder.relative_to(PACKAGE)) for folder in folders if rows(folder))
