"""Which images of a call are finished: results that bear the fingerprint of the same world and the same image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ignota.cli.inputs import PARTS
from ignota.world.model import OpenWorldModel

LARGEST_RESULT = 50_000_000
_FORM = "1"
"""Raised whenever `segment` comes to write something else for the same image."""


def world_fingerprint(world: OpenWorldModel) -> str:
    """16 hex digits of all that decides how a world reads an image; a class learnt and forgotten leaves no trace."""
    digest = hashlib.sha256(_FORM.encode())
    networks = world.networks
    parts = (dict(world.known.tensors()), world.known.recipe, world.classes, world.novel, networks.size)
    _feed(digest, parts)
    digest.update(b"" if networks.backend == "torch" else networks.backend.encode())
    return digest.hexdigest()[:16]


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


def _feed(digest: Any, value: Any) -> None:
    """Every tensor, number and text below `value`, each with its kind and length, so that no two values meet."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"tensor {plain.dtype} {tuple(plain.shape)};".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    elif dataclasses.is_dataclass(value):
        _feed(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, dict):
        _feed(digest, [part for item in value.items() for part in item])
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for part in value:
            _feed(digest, part)
    else:
        text = repr(value).encode()
        digest.update(f"{type(value).__name__} {len(text)};".encode() + text)
