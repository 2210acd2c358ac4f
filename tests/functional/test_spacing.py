"""Evenly spaced indices."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ignota.functional.spacing import evenly_spaced


@given(st.integers(0, 3000), st.integers(0, 400))
def test_indices_are_distinct_and_their_steps_differ_by_one_at_most(count: int, most: int) -> None:
    found = evenly_spaced(count, most)
    assert len(found) == min(count, most)
    steps = np.diff(found)
    assert not len(steps) or (steps.min() >= 1 and steps.max() - steps.min() <= 1)
    if len(found) > 1:
        assert (found[0], found[-1]) == (0, count - 1)


def test_few_are_all_of_them() -> None:
    assert evenly_spaced(4, 9).tolist() == [0, 1, 2, 3]
    assert evenly_spaced(1, 1).tolist() == [0]
