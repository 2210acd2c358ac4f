"""DropBlock on masks against a loop over its centres."""

from __future__ import annotations

import pytest
import torch

from ignota.functional.drop_block import drop_block
from ignota.structures import InputError


@pytest.mark.parametrize("block", [1, 3, 5])
def test_against_a_loop(block: int) -> None:
    masks = torch.rand(4, 11, 13, generator=torch.Generator().manual_seed(0)) < 0.7
    found = drop_block(masks, block, 0.3, torch.Generator().manual_seed(5))
    centres = torch.rand(masks.shape, generator=torch.Generator().manual_seed(5)) < 0.3 / block**2
    expected, reach = masks.clone(), block // 2
    for r, y, x in centres.nonzero().tolist():
        expected[r, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = False
    assert torch.equal(found, expected)
    assert 0 < found.sum() < masks.sum()


def test_about_the_share_is_dropped() -> None:
    masks = torch.ones(20, 60, 60, dtype=torch.bool)
    kept = drop_block(masks, 3, 0.3, torch.Generator().manual_seed(0)).float().mean()
    assert 0.7 < kept < 0.77  # squares overlap


def test_a_mask_that_would_vanish_stays() -> None:
    masks = torch.zeros(50, 5, 5, dtype=torch.bool)
    masks[:, 2, 2] = True
    found = drop_block(masks, 3, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(found, masks)


@pytest.mark.parametrize(("block", "share"), [(2, 0.3), (0, 0.3), (3, 1.5), (3, -0.1)])
def test_impossible_settings_are_refused(block: int, share: float) -> None:
    with pytest.raises(InputError, match="drop_block"):
        drop_block(torch.ones(1, 3, 3, dtype=torch.bool), block, share, torch.Generator())
