"""A world in 16 digits: two of them that read images alike have the same."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import torch
from torch import Tensor

from ignota.world.model import OpenWorldModel

_FORM = "1"
"""Raised whenever `segment` comes to write something else for the same image."""


def world_fingerprint(world: OpenWorldModel) -> str:
    """16 hex digits of all that decides how a world reads an image; a class learnt and forgotten leaves no trace."""
    digest = hashlib.sha256(_FORM.encode())
    networks = world.networks
    _feed(digest, (dict(world.known.tensors()), world.known.recipe, world.classes, world.novel, networks.size))
    digest.update(b"" if networks.backend == "torch" else networks.backend.encode())
    return digest.hexdigest()[:16]


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
