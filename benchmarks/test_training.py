"""A step of the closed set's training against contiguous float32."""

from __future__ import annotations

import pytest
import torch
from benchmarks.backends import BASELINE, timed, training_ways

from ignota.models.inference import has_bfloat16

BAR = 1.8


def test_step(benchmark) -> None:
    found = benchmark.pedantic(lambda: timed(training_ways(), 5), rounds=1)
    ratios = {name: found[BASELINE] / taken for name, taken in found.items()}
    benchmark.extra_info.update(ratios=ratios)
    assert ratios["float32, channels last"] > 0.95  # what a processor without bfloat16 gets is no slower
    if has_bfloat16(torch.device("cpu")):
        assert ratios["bfloat16, channels last"] > BAR


def test_a_gpu_never_waits(benchmark) -> None:
    """No step copies anything back: CUDA's own check raises where one would."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: nothing to measure")
    from ignota.training.configuration import ClosedSetConfig, SegmenterConfig
    from ignota.training.segmenters import ClosedSetStage, build_segmenter

    stage = ClosedSetStage(
        build_segmenter(SegmenterConfig(weights="none"), 11, 0).cuda().train(), ClosedSetConfig(dice=1.0), 0
    )
    batch = (
        torch.zeros(2, 96, 128, 3, dtype=torch.uint8, device="cuda"),
        torch.zeros(2, 96, 128, dtype=torch.uint8, device="cuda"),
    )
    optimiser = torch.optim.SGD(stage.parameter_groups(), foreach=True)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            stage.training_step(batch, 0)["loss"].backward()
        optimiser.step()

    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        benchmark(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
