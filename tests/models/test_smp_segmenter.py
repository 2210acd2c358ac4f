"""The second reading at stride 2."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ignota.models.segmenter import ClosedSetSegmenter


@torch.no_grad()
def test_detail_is_added_to_the_logits_at_stride_2(make: Callable[[str], ClosedSetSegmenter]) -> None:
    segmenter = make("deeplabv3plus_detail").eval()
    coarse = make("deeplabv3plus").eval()
    kept = {name: value for name, value in segmenter.state_dict().items() if not name.startswith("detail.")}
    coarse.load_state_dict(kept)
    images = torch.randn(1, 3, 64, 96)
    plain, fine = coarse(images), segmenter(images)
    wide = F.interpolate(plain.logits, scale_factor=2, mode="bilinear")
    assert fine.logits.shape == (1, 5, 32, 48)
    assert (fine.logits - wide).abs().max() > 1e-3  # it says something of its own
    for value in (segmenter.detail.classifier.weight, segmenter.detail.classifier.bias):
        value.zero_()
    torch.testing.assert_close(segmenter(images).logits, wide)
    torch.testing.assert_close(fine.features["decoder"], plain.features["decoder"])  # the paper's F is as it was
