"""What teaching a class would do, told before it is done: what it recognises, and what it takes from known classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ignota.incremental.methods import by_margin
from ignota.structures import InputError
from ignota.world.features import TaughtRows
from ignota.world.known import STEALS_HELD, KnownEvidence
from ignota.world.novel import held_out_excess

STEALS_HERE = 0.2
"""A lesson is refused that takes more than this share of a known class on the images of its examples, or more than
STEALS_HELD of it on held-out training images."""
_SEEN = 0.01
"""Shares of classes that cover less than this share of an image say nothing."""


@dataclass(frozen=True)
class Lesson:
    """What a class would do once it is taught.

    pixels: marked ones. recognised: share of them that it would take. stolen: of each class, the share of its pixels
    outside the marks, on the examples' images, that it would take although they were not unknown. stolen_held: the same
    on held-out training regions. doubts: why it is refused unless forced.
    """

    name: str
    examples: int
    pixels: int
    recognised: float
    stolen: dict[str, float]
    stolen_held: dict[str, float]

    @property
    def doubts(self) -> tuple[str, ...]:
        here = [(name, share, "these images") for name, share in self.stolen.items() if share > STEALS_HERE]
        held = [
            (name, share, "held-out training images") for name, share in self.stolen_held.items() if share > STEALS_HELD
        ]
        return tuple(f"{100 * share:.0f} % of {name!r} on {where}" for name, share, where in (*here, *held))


class LessonRefused(InputError):
    """The class would steal too much; `lesson` says what. `force` teaches it all the same."""

    def __init__(self, lesson: Lesson) -> None:
        super().__init__(
            f"{lesson.name!r} would take {' and '.join(lesson.doubts)}", "mark it more narrowly, or use force=True"
        )
        self.lesson = lesson


@dataclass(frozen=True)
class Trial:
    """One example's image, labelled before and after, on the working grid.

    before, after: "H W" world ids. sure: "H W" where nothing was unknown. marked: "H W" the examples of the class.
    """

    before: UInt8[np.ndarray, "H W"]
    after: UInt8[np.ndarray, "H W"]
    sure: Bool[np.ndarray, "H W"]
    marked: Bool[np.ndarray, "H W"]


def stolen_here(trials: Sequence[Trial], taught: int, names: Sequence[str]) -> tuple[float, dict[str, float]]:
    """The share of marked pixels that the class takes, and what it takes of each other class outside the marks."""
    owned, taken = np.zeros(256, np.int64), np.zeros(256, np.int64)
    marked = hit = 0
    for trial in trials:
        outside = trial.sure & ~trial.marked & (trial.before != taught)
        counts = np.bincount(trial.before[outside], minlength=256)
        lost = np.bincount(trial.before[outside & (trial.after == taught)], minlength=256)
        seen = counts >= _SEEN * trial.before.size
        owned += counts * seen
        taken += lost * seen
        marked += int(trial.marked.sum())
        hit += int((trial.after[trial.marked] == taught).sum())
    stolen = {name: float(taken[i] / owned[i]) for i, name in enumerate(names) if taken[i]}
    return hit / max(marked, 1), dict(sorted(stolen.items(), key=lambda pair: -pair[1]))


def stolen_held(known: KnownEvidence, taught: TaughtRows, index: int, names: Sequence[str]) -> dict[str, float]:
    """What taught class `index` takes of each known class among the held-out training regions, by area."""
    held_out = known.held_out
    if len(held_out.label) == 0:
        return {}
    taken = by_margin(held_out_excess(known, taught), taught.margin) == index
    area = held_out.area.double()
    whole = _area_of(held_out.label, area, len(names))
    lost = _area_of(held_out.label, area * taken, len(names))
    shares = {name: float(lost[i] / whole[i]) for i, name in enumerate(names) if lost[i] > 0}
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _area_of(owner: Int[Tensor, " V"], area: Float[Tensor, " V"], count: int) -> Float[Tensor, " C"]:
    return area.new_zeros(count).index_add(0, owner.long(), area)
