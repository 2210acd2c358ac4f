"""Sums of floating-point numbers that do not depend on their order, so partial sums add up to the same bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_UNIT = 1 << 1074
"""The smallest positive double is 1 / _UNIT, and every double a whole number of it."""


@dataclass(frozen=True)
class ExactSum:
    """A sum kept whole: units of 2⁻¹⁰⁷⁴, the spacing of the smallest doubles."""

    units: int = 0

    def plus(self, values: Iterable[float]) -> Self:
        """With these added; raises OverflowError or ValueError for infinities and NaN."""
        ratios = (float(value).as_integer_ratio() for value in values)
        return type(self)(self.units + sum(over * (_UNIT // under) for over, under in ratios))

    def __add__(self, other: ExactSum) -> ExactSum:
        return ExactSum(self.units + other.units)

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        return self.units / _UNIT
