"""The effect of teaching a class, before it is done: what it covers, and what it takes from known classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ignota.perception.features import TaughtRows
from ignota.perception.known import KnownEvidence
from ignota.perception.novel import NovelEvidence, assigned_class, held_out_excess, novel_evidence
from ignota.perception.perception import Perception
from ignota.perception.scene import Tables, limit_of
from ignota.structures import Encoding, InputError
from ignota.world.teaching import Prepared

_Number = TypeVar("_Number", int, float)

FLOOD = 0.5
"""A class is refused where more than this share of what it covers on the images of its examples lies outside the marks
and was not unknown."""


@dataclass(frozen=True)
class Covered:
    """What the class would cover on one image.

    source: what the image is called. mask: "h w" on the working grid. taken: of the pixels, how many belonged to each
    class before, the most first.
    """

    source: str
    mask: Bool[np.ndarray, "h w"] = field(repr=False)
    taken: dict[str, int]


@dataclass(frozen=True)
class Preview:
    """What a class would do once it is taught.

    pixels: marked ones. coverage: share of the marked pixels that it would cover. outside: of what it covers on the
    examples' images, the share that lies outside the marks. flood: the same without what was unknown. iou: of what it
    covers with the marks. conflicts: of each known or taught class, the share of its pixels outside the marks, on the
    examples' images, that it would take although they were not unknown. conflicts_held: the same on held-out training
    regions. images: first those of the examples, then others that were asked for.
    """

    name: str
    examples: int
    pixels: int
    coverage: float
    outside: float
    flood: float
    iou: float
    conflicts: dict[str, float]
    conflicts_held: dict[str, float]
    images: tuple[Covered, ...] = field(default=(), repr=False)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it is refused unless forced."""
        if self.flood <= FLOOD:
            return ()
        worst = next(iter(self.conflicts.items()), None)
        most = f", {100 * worst[1]:.0f} % of {worst[0]!r} among it" if worst else ""
        return (f"{100 * self.flood:.0f} % of what it would cover on these images is outside your mark{most}",)


class TeachingRefused(InputError):
    """The class would flood the images of its examples; `preview` says how. `force` teaches it all the same."""

    def __init__(self, found: Preview) -> None:
        super().__init__(
            f"{found.name!r} is not taught: {' and '.join(found.doubts)}",
            "mark what is not the class as well (against=MASK), mark the object more closely, or use force=True",
        )
        self.preview = found


def preview(
    world: Perception,
    name: str,
    examples: Sequence[Prepared],
    others: Sequence[Encoding | tuple[Encoding, Tables]] = (),
) -> Preview:
    """What `name` would cover and take if it were taught from these examples.

    others: further images, with their tables where these exist. Raises InputError for counter-examples alone of a
    class that nobody showed.
    """
    snapshot = world.snapshot
    taught = (*snapshot.exemplars, *(example.row.exemplar for example in examples))
    order = [label.name for label in snapshot.taught]
    if name not in order and not any(example.positive for example in examples):
        raise InputError(f"there is no taught class {name!r} to correct: show first what it is")
    index = order.index(name) if name in order else len(order)
    after = novel_evidence(world.known, sorted(taught, key=lambda e: order.index(e.name) if e.name in order else index))
    assert after.taught is not None  # there is an example at least
    groups = _by_image(examples)
    trials = [_trial(world, group[0].encoding, group[0].tables, after, group) for group in groups]
    pairs = (other if isinstance(other, tuple) else (other, world.tables(other)) for other in others)
    further = [_trial(world, encoding, tables, after) for encoding, tables in pairs]
    names, own = [*world.taxonomy.names, *after.names], len(world.taxonomy) + index
    totals = _totals(trials, own)
    return Preview(
        name,
        sum(example.positive for example in examples),
        sum(example.pixels for example in examples if example.positive),
        **totals,
        conflicts=_conflicts(trials, own, names),
        conflicts_held=held_out_conflicts(world.known, after.taught, index, world.taxonomy.names),
        images=tuple(_covered(trial, own, names) for trial in (*trials, *further)),
    )


@dataclass(frozen=True)
class _Trial:
    """One image, labelled before and after, on the working grid.

    before, after: "H W" world ids. sure: "H W" where nothing was unknown. marked: "H W" the examples of the class.
    """

    source: str
    before: UInt8[np.ndarray, "H W"]
    after: UInt8[np.ndarray, "H W"]
    sure: Bool[np.ndarray, "H W"]
    marked: Bool[np.ndarray, "H W"]


def _trial(
    world: Perception, encoding: Encoding, tables: Tables, after: NovelEvidence, examples: Sequence[Prepared] = ()
) -> _Trial:
    before = world.scene(encoding, tables)
    labelled = dataclasses.replace(before, taught=world.taught(tables, after))
    marked = np.zeros(before.working_labels.shape, bool)
    for example in examples:
        if example.positive:
            marked |= example.mask
    sure = before.working_levels <= limit_of(0.5)
    return _Trial(encoding.source, before.working_labels, labelled.working_labels, sure, marked)


def _totals(trials: Sequence[_Trial], own: int) -> dict[str, float]:
    """Coverage, outside, flood and iou over the images that show the class."""
    covered = marked = both = flooded = 0
    for trial in trials:
        if trial.marked.any():
            now = trial.after == own
            covered += int(now.sum())
            marked += int(trial.marked.sum())
            both += int((now & trial.marked).sum())
            flooded += int((now & ~trial.marked & trial.sure & (trial.before != own)).sum())
    return {
        "coverage": both / max(marked, 1),
        "outside": (covered - both) / max(covered, 1),
        "flood": flooded / max(covered, 1),
        "iou": both / max(covered + marked - both, 1),
    }


def _conflicts(trials: Sequence[_Trial], own: int, names: Sequence[str]) -> dict[str, float]:
    """What the class takes of each other class outside the marks, the most first."""
    owned, taken = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for trial in trials:
        outside = trial.sure & ~trial.marked & (trial.before != own)
        owned += np.bincount(trial.before[outside], minlength=256)
        taken += np.bincount(trial.before[outside & (trial.after == own)], minlength=256)
    return _largest_first({name: float(taken[i] / owned[i]) for i, name in enumerate(names) if taken[i]})


def held_out_conflicts(known: KnownEvidence, taught: TaughtRows, index: int, names: Sequence[str]) -> dict[str, float]:
    """What taught class `index` takes of each known class among the held-out training regions, by area."""
    held_out = known.held_out
    if len(held_out.label) == 0:
        return {}
    similarity = known.space.taught_similarity(known.held[0], taught)
    excess, lowest = held_out_excess(known, taught), known.recipe.lowest_similarity
    taken = assigned_class(excess, similarity, taught.margin, lowest) == index
    area = held_out.area.double()
    whole = _area_of(held_out.label, area, len(names))
    lost = _area_of(held_out.label, area * taken, len(names))
    return _largest_first({name: float(lost[i] / whole[i]) for i, name in enumerate(names) if lost[i] > 0})


def _covered(trial: _Trial, own: int, names: Sequence[str]) -> Covered:
    mask = trial.after == own
    taken = np.bincount(trial.before[mask], minlength=len(names))
    return Covered(trial.source, mask, _largest_first({n: int(taken[i]) for i, n in enumerate(names) if taken[i]}))


def _largest_first(values: dict[str, _Number]) -> dict[str, _Number]:
    return dict(sorted(values.items(), key=lambda pair: -pair[1]))


def _area_of(owner: Int[Tensor, " V"], area: Float[Tensor, " V"], count: int) -> Float[Tensor, " C"]:
    return area.new_zeros(count).index_add(0, owner.long(), area)


def _by_image(examples: Sequence[Prepared]) -> list[list[Prepared]]:
    groups: dict[int, list[Prepared]] = {}
    for example in examples:
        groups.setdefault(id(example.encoding), []).append(example)
    return list(groups.values())
