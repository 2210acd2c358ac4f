"""Collision-safe hashing of nested values."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor


def feed(digest: Any, value: Any) -> None:
    """Every tensor, number and text below `value` into a hash of hashlib, each with its kind and length."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"tensor {plain.dtype} {tuple(plain.shape)};".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    elif dataclasses.is_dataclass(value):
        feed(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, dict):
        feed(digest, [part for item in value.items() for part in item])
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for part in value:
            feed(digest, part)
    else:
        text = repr(value).encode()
        digest.update(f"{type(value).__name__} {len(text)};".encode() + text)
