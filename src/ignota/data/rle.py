"""COCO's run-length code of masks: runs down the columns, first of zeros, packed into printable bytes.

The reader takes strings from strangers, so it is written here rather than left to C code that trusts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from ignota.structures import InputError

_GROUPS = 7  # of five bits each, enough for 32-bit runs
_MOST_RUNS = 4_000_000


def encode_rle(mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    """{"size": [H, W], "counts": str}, byte for byte what pycocotools gives."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
    if flat.size and flat[0]:
        runs = np.concatenate([[0], runs])
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": _pack(runs.astype(np.int64))}


def decode_rle(rle: Mapping[str, Any], max_pixels: int = 200_000_000) -> Bool[np.ndarray, "H W"]:
    """The mask of an RLE with packed counts or a list of them; raises InputError for one that does not add up."""
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        runs = _unpack(counts) if isinstance(counts, str) else np.array([int(c) for c in counts], np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"an RLE is {{'size': [H, W], 'counts': …}} ({type(error).__name__})") from None
    if height < 1 or width < 1 or height * width > max_pixels:
        raise InputError(f"an RLE of {width}×{height} pixels is refused: at least 1×1, at most {max_pixels:,} pixels")
    if len(runs) > _MOST_RUNS or (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise InputError(f"the runs of an RLE do not add up to its {width}×{height} pixels: encode the mask anew")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape((width, height)).T)


def _pack(runs: Int[np.ndarray, " N"]) -> str:
    """Runs as differences to the run before the last one, five bits a byte, lowest first, from "0" on."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    shifted = values[:, None] >> (5 * np.arange(_GROUPS + 1))
    low, rest = shifted[:, :-1] & 31, shifted[:, 1:]
    finished = np.where(low & 16, rest == -1, rest == 0)
    last = finished.argmax(1)
    place = np.arange(_GROUPS)
    letters = low + np.where(place < last[:, None], 32, 0) + 48
    return bytes(letters[place <= last[:, None]].astype(np.uint8)).decode("ascii")


def _unpack(text: str) -> NDArray[np.int64]:
    letters = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if (
        len(letters) == 0
        or letters.min() < 0
        or letters.max() > 63
        or letters[-1] & 32
        or len(letters) > 8 * _MOST_RUNS
    ):
        raise ValueError
    ends = np.flatnonzero((letters & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _GROUPS:
        raise ValueError("a run too long")
    place = np.arange(len(letters)) - np.repeat(starts, lengths)
    values = np.add.reduceat((letters & 31) << (5 * place), starts)
    values -= np.where(letters[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return np.asarray(values, np.int64)
