"""An image of 1280×720 through every backend, against PyTorch in contiguous float32."""

from __future__ import annotations

import pytest
from benchmarks.backends import BASELINE, QUICK, segment_times

BAR = 2.0


@pytest.mark.parametrize("size", [None, 720])
def test_segment(benchmark, size: int | None) -> None:
    found = benchmark.pedantic(segment_times, ("camvid-11", size, QUICK, (), 5), rounds=1)
    rows = found["rows"]
    ratios = {name: rows[BASELINE]["segment"] / row["segment"] for name, row in rows.items()}
    benchmark.extra_info.update(ratios=ratios, faults=found["faults"])
    assert max(ratios.values()) > (BAR if size == 720 else 1.0), ratios
