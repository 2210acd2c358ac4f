"""Sums and cosines in float32 at least, whatever the precision of the networks."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(values: Tensor) -> Tensor:
    """In float32 where values are of half precision or integers; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
