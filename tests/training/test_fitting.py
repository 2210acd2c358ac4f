"""What `fit` keeps of held-out images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ignota.training.fitting import sample


@given(count=st.integers(1, 60), number=st.integers(1, 60), seed=st.integers(0, 1000))
def test_a_sample_is_no_larger_and_in_order(count: int, number: int, seed: int) -> None:
    area = torch.rand(number, generator=torch.Generator().manual_seed(seed)) + 1e-3
    kept, stands = sample(area, area.sqrt(), count, torch.Generator().manual_seed(seed))
    assert len(kept) == len(stands) <= min(count, number)
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert bool((stands > 0).all())
    if number <= count:
        assert stands.tolist() == area.tolist()


def test_a_sample_stands_for_all_area_on_average_and_prefers_what_is_likelier() -> None:
    area = torch.tensor([0.001] * 80 + [0.1] * 10)
    drawn = [sample(area, area.sqrt(), 20, torch.Generator().manual_seed(seed)) for seed in range(300)]
    small = sum(float(stands[kept < 80].sum()) for kept, stands in drawn) / len(drawn)
    large = sum(float(stands[kept >= 80].sum()) for kept, stands in drawn) / len(drawn)
    assert small == pytest.approx(0.08, rel=0.1)
    assert large == pytest.approx(1.0, rel=0.1)
    share = sum(int((kept >= 80).sum()) for kept, _ in drawn) / sum(len(kept) for kept, _ in drawn)
    assert 0.3 < share < 0.8  # a tenth of the regions, nine tenths of the area


def test_a_sample_follows_its_generator() -> None:
    area = torch.rand(100, generator=torch.Generator().manual_seed(0))
    one, two, other = (sample(area, area, 10, torch.Generator().manual_seed(seed))[0].tolist() for seed in (1, 1, 2))
    assert one == two != other
