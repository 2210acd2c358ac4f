"""Sums of floats in any order and grouping give the same bits, those of `math.fsum`."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignota.metrics.exact import ExactSum

FLOATS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), max_size=12)


@given(FLOATS, st.randoms())
def test_order_and_grouping_do_not_matter(values: list[float], random: object) -> None:
    try:
        expected = math.fsum(values)
    except OverflowError:
        return
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    cut = len(values) // 2
    parts = ExactSum().plus(shuffled[:cut]) + ExactSum().plus(shuffled[cut:])
    assert parts == ExactSum().plus(values)
    assert parts.value == expected


def test_small_and_large_numbers_are_kept() -> None:
    assert ExactSum().plus([1e300, 5e-324, -1e300]).value == 5e-324
    assert ExactSum().plus([0.1] * 10).value == math.fsum([0.1] * 10) != sum([0.1] * 10)
    assert ExactSum().value == 0.0


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises((OverflowError, ValueError)):
        ExactSum().plus([value])
