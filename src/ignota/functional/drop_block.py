"""DropBlock on masks (Ghiasi, Lin and Le, NeurIPS 2018); the released code varies its training regions with it."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from ignota.structures import InputError


def drop_block(
    masks: Bool[Tensor, "R h w"], block: int, share: float, generator: torch.Generator
) -> Bool[Tensor, "R h w"]:
    """Masks with random squares of `block` cells set to False.

    Each cell is the centre of a square with probability `share` / block², so that about `share` of a mask is dropped
    (0.3 with block 3 in the released code). A mask that would lose all its cells stays as it is. Raises InputError for
    an even block or a share outside 0..1.
    """
    if block < 1 or block % 2 == 0 or not 0 <= share <= 1:
        raise InputError(f"drop_block: block={block} must be odd and positive, share={share} in 0..1")
    centres = torch.rand(masks.shape, generator=generator) < share / block**2
    dropped = F.max_pool2d(centres.float()[:, None], block, stride=1, padding=block // 2)[:, 0] > 0
    kept = masks & ~dropped.to(masks.device)
    empty = ~kept.flatten(1).any(1)
    return torch.where(empty[:, None, None], masks, kept)
