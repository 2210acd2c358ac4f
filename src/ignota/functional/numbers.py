"""Evenly spaced numbers, sums in float32 at least, and integers that sort like float32 scores."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, Num, UInt32
from numpy.typing import NDArray
from torch import Tensor

from ignota.structures import InputError

BIN_BITS = 20
BINS = 1 << BIN_BITS
FINE_BITS = 32 - BIN_BITS
"""What a bin leaves out of a key: scores of one bin differ in these bits alone."""
_SIGN = np.uint32(1 << 31)


def evenly_spaced(count: int, most: int) -> Int[np.ndarray, " N"]:
    """At most `most` of the indices 0..count-1, ascending, the first and the last among them; all if there are few."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(np.int64)


def area_quantile(values: Float[Tensor, " R"], areas: Num[Tensor, " R"], share: float) -> Float[Tensor, ""]:
    """The smallest value that is not exceeded on `share` (0..1) of the area; 0 without values."""
    order = values.argsort()
    covered = areas[order].double().cumsum(0)
    if len(values) == 0:
        return torch.zeros((), device=values.device)
    at = int(np.searchsorted((covered / covered[-1]).cpu().numpy(), share))
    return values[order[min(at, len(values) - 1)]]


def widened(values: Tensor) -> Tensor:
    """In float32 where values are of half precision or integers; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def ordered_key(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """An unsigned integer that orders as the float32 does; -0 and 0 are the same."""
    bits = (scores + np.float32(0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def key_score(key: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Undoes `ordered_key`."""
    return np.where(key & _SIGN, key ^ _SIGN, ~key).astype(np.uint32).view(np.float32)


def score_key(scores: Num[np.ndarray, "*S"]) -> UInt32[np.ndarray, "*S"]:
    """Bin of each score, 0..2^20 - 1: the top 20 bits of an integer that orders as the float32 score does.

    Needs no range of scores; a bin is at most 1/2048 of the score wide. A higher score is never in a lower bin.
    Infinities have bins. Raises InputError for NaN.
    """
    single = as_single(np.asarray(scores))
    if np.isnan(single).any():
        raise InputError(f"scores hold {int(np.isnan(single).sum())} NaN of {single.size}; no order is possible")
    return ordered_key(single) >> np.uint32(FINE_BITS)


def as_single(scores: NDArray) -> NDArray[np.float32]:
    """As float32; what is beyond its range becomes infinite, which keeps the order."""
    with np.errstate(over="ignore"):
        return np.asarray(scores, np.float32)
