"""Which images of a call are finished: results that bear the fingerprint of the same world and the same image."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ignota.cli.inputs import PARTS

LARGEST_RESULT = 50_000_000


def image_fingerprint(path: Path) -> str:
    """16 hexadecimal digits of a file's size and time of change: a hash of its content would read all of it again."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return hashlib.sha256(f"{state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:16]


def is_finished(out: Path, name: str, world: str, image: str) -> bool:
    """Whether all results of an image are there and come from this world and this image; NAME.json is written last."""
    if not all((out / f"{name}{part}").is_file() for part in PARTS):
        return False
    result = read_result(out / f"{name}.json")
    return bool(image) and result is not None and result.get("made_by") == {"world": world, "image": image}


def read_result(path: Path) -> dict[str, Any] | None:
    """A NAME.json of `segment`; None for whatever else is called so."""
    try:
        if path.stat().st_size > LARGEST_RESULT:
            return None
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("made_by"), dict) else None
