"""Which image files a command line means, and what their results are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ignota.data.files import one_line
from ignota.data.listing import pictures
from ignota.structures import InputError

PARTS = ("_labels.png", "_anomaly.png", "_overlay.jpg", ".json")
"""The endings of what `segment` writes for each image."""


def image_files(words: Sequence[str], out: Path) -> list[Path]:
    """Files as named, the pictures in folders, what patterns match; each once. Raises InputError for empty ones."""
    found: dict[Path, None] = {}
    for word in words:
        found |= dict.fromkeys(_files(word, out))
    return list(found)


def targets(files: Iterable[Path], out: Path) -> dict[str, Path]:
    """NAME -> image; raises InputError where two results would take one name, or one would overwrite an image."""
    named: dict[str, Path] = {}
    for path in files:
        if path.stem in named:
            first, second = one_line(named[path.stem]), one_line(path)
            raise InputError(
                f"{first} and {second} would both be written as {path.stem}: rename one, or run them apart"
            )
        named[path.stem] = path
    if out.exists() and not out.is_dir():
        raise InputError(f"{one_line(out)} is no folder: name another --out")
    results = {(out / f"{name}{part}").absolute() for name in named for part in PARTS}
    for path in named.values():
        if path.absolute() in results:
            raise InputError(f"{one_line(path)} would be overwritten by a result: name another --out")
    return named


def _files(word: str, out: Path) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        inside = pictures(path)
        if path.absolute() == out.absolute():
            inside = [file for file in inside if not file.name.endswith(PARTS)]  # what an earlier run wrote
        if not inside:
            raise InputError(f"no image in the folder {one_line(word)}: name one that holds PNG, JPEG or WebP files")
        return inside
    if not path.exists() and any(letter in word for letter in "*?["):
        base = Path(path.anchor)  # a pattern may start at the root, which Path.glob wants apart
        matched = sorted(base.glob(str(path.relative_to(base))))
        if not matched:
            raise InputError(f"no file matches {one_line(word)}: check the pattern")
        return [file for file in matched if file.is_file()]
    return [path]
