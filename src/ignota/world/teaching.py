"""From what people show to what is stored, and what it would do: the first half of `learn`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import Bool

from ignota.data.files import one_line
from ignota.formats.rle import encode_rle
from ignota.regions.proposals import mask_region
from ignota.structures import Encoding, InputError, RegionSet
from ignota.world.branch import feature_key, share_key
from ignota.world.exemplars import ExemplarRow
from ignota.world.known import Recipe
from ignota.world.lesson import Lesson, Trial, stolen_held, stolen_here
from ignota.world.marks import Box, Click, Mark, Polygon
from ignota.world.networks import ImageLike
from ignota.world.novel import Exemplar, NovelEvidence, novel_evidence
from ignota.world.scene import Tables, UnknownRegion, limit_of, resize_mask
from ignota.world.spaces import pool_taps
from ignota.world.thumbnails import thumbnail

if TYPE_CHECKING:
    from ignota.world.model import OpenWorldModel

_SMALLEST_MASK = 16

Shown = Bool[np.ndarray, "H W"] | UnknownRegion | Mark
"""What shows a thing on an image: a mask that is not zero there, a region of a scene, or a mark."""
Example = UnknownRegion | tuple[ImageLike | Encoding, Shown]


@dataclass(frozen=True)
class Prepared:
    """An example that is ready to be learnt: its image, its mask on the working grid, the row that is stored of it.

    pixels: of the mask on the original image.
    """

    encoding: Encoding
    tables: Tables
    mask: Bool[np.ndarray, "H W"]
    pixels: int
    row: ExemplarRow


def prepare(
    world: OpenWorldModel,
    name: str,
    examples: Example | Sequence[Example],
    source: str = "",
    seen: Iterable[tuple[Encoding, Tables]] = (),
) -> list[Prepared]:
    """Checks examples and reads off what is to be stored; each image passes the networks once.

    seen: encodings whose tables are at hand.
    """
    listed = _listed(examples)
    if not listed:
        raise InputError(f"no example of {name!r} was given")
    known = {id(encoding): (encoding, tables) for encoding, tables in seen}
    return [_prepared(world, name, *_parts_of(example), source, known) for example in listed]


def preview(world: OpenWorldModel, name: str, examples: Sequence[Prepared]) -> Lesson:
    """What `name` would recognise and steal if it were taught from these examples."""
    snapshot = world.snapshot
    taught = (*snapshot.exemplars, *(example.row.exemplar for example in examples))
    order = [label.name for label in snapshot.taught]
    index = order.index(name) if name in order else len(order)
    after = novel_evidence(world.known, sorted(taught, key=lambda e: order.index(e.name) if e.name in order else index))
    trials = [_trial(world, group, after) for group in _by_image(examples)]
    listed = [*world.taxonomy.names, *after.names]
    recognised, here = stolen_here(trials, len(world.taxonomy) + index, listed)
    assert after.taught is not None  # there is an example at least
    held = stolen_held(world.known, after.taught, index, world.taxonomy.names)
    return Lesson(name, len(examples), sum(example.pixels for example in examples), recognised, here, held)


def exemplar(
    world: OpenWorldModel, name: str, encoding: Encoding, regions: RegionSet, mask: Bool[np.ndarray, "H W"]
) -> Exemplar:
    """The numbers that a labelled example leaves behind: features of the mask, of its parts, and channel shares."""
    return _read_off(world, name, encoding, regions, _working(name, encoding, mask))


def _working(name: str, encoding: Encoding, mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "h w"]:
    """The mask on the working grid; raises InputError for one of another size or one that is too small to see."""
    if mask.shape != encoding.size:
        sizes = f"{mask.shape[1]}×{mask.shape[0]}, its image {encoding.size[1]}×{encoding.size[0]}"
        raise InputError(f"the mask of {name!r} is {sizes}: draw it on the same image")
    working = resize_mask(mask, (encoding.image.shape[0], encoding.image.shape[1]))
    if working.sum() < _SMALLEST_MASK:
        raise InputError(f"the mask of {name!r} covers {int(mask.sum())} pixels: too few to learn from")
    return working


def _read_off(
    world: OpenWorldModel, name: str, encoding: Encoding, regions: RegionSet, working: Bool[np.ndarray, "h w"]
) -> Exemplar:
    shares: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        whole = pool_taps(encoding, mask_region(working), world.networks.taps)
        parts = pool_taps(encoding, _parts(regions, working, world.known.recipe), world.networks.taps)
        for system in world.exemplar_branches:
            found = world.branch(system).exemplar(encoding, working)
            whole |= {feature_key(system): found[feature_key(system)]}
            shares |= {share_key(system): found[share_key(system)]}
    return Exemplar(
        name, {k: v.cpu() for k, v in whole.items()}, {k: v.cpu() for k, v in parts.items()},
        {k: v.cpu() for k, v in shares.items()},
    )  # fmt: skip


def _prepared(
    world: OpenWorldModel,
    name: str,
    image: ImageLike | Encoding,
    shown: Shown,
    source: str,
    seen: dict[int, tuple[Encoding, Tables]],
) -> Prepared:
    if id(image) not in seen:
        encoding = world.encoding_of(image)
        seen[id(image)] = encoding, world.tables(encoding)
    encoding, tables = seen[id(image)]
    if isinstance(shown, Polygon | Box | Click):
        shown = world.select(world.scene(encoding, tables), shown)
    given = shown.given if isinstance(shown, UnknownRegion) else "mask"
    mask = shown.mask if isinstance(shown, UnknownRegion) else np.asarray(shown) != 0
    working = _working(name, encoding, mask)
    row = ExemplarRow(
        _read_off(world, name, encoding, tables.regions, working),
        encoding.sha256,
        given,
        one_line(encoding.source or source),
        encode_rle(mask),
        thumbnail(encoding.image, working),
    )
    return Prepared(encoding, tables, working, int(mask.sum()), row)


def _trial(world: OpenWorldModel, examples: Sequence[Prepared], after: NovelEvidence) -> Trial:
    first = examples[0]
    before = world.scene(first.encoding, first.tables)
    labelled = dataclasses.replace(before, taught=world.taught(first.tables, after))
    sure = before.working_levels <= limit_of(0.5)
    marked = np.logical_or.reduce([example.mask for example in examples])
    return Trial(before.working_labels, labelled.working_labels, sure, marked)


def _parts(regions: RegionSet, mask: Bool[np.ndarray, "H W"], recipe: Recipe) -> RegionSet:
    """The regions that lie mostly inside the mask, the first ones in number order."""
    inside = np.bincount(regions.ids[mask], minlength=regions.count + 1)[1:]
    kept = (np.flatnonzero(inside > recipe.inside * regions.areas) + 1)[: recipe.parts]
    table = np.zeros(regions.count + 1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return RegionSet(table[regions.ids], len(kept))


def _listed(examples: Example | Sequence[Example]) -> list[Example]:
    if isinstance(examples, UnknownRegion):
        return [examples]
    if isinstance(examples, tuple) and len(examples) == 2 and not isinstance(examples[0], UnknownRegion | tuple):
        return [cast(Example, examples)]
    return list(cast(Sequence[Example], examples))


def _parts_of(example: Example) -> tuple[ImageLike | Encoding, Shown]:
    return (example.encoding, example) if isinstance(example, UnknownRegion) else example


def _by_image(examples: Sequence[Prepared]) -> list[list[Prepared]]:
    groups: dict[int, list[Prepared]] = {}
    for example in examples:
        groups.setdefault(id(example.encoding), []).append(example)
    return list(groups.values())
