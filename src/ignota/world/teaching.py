"""Prepares examples for the store: the first half of `learn`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ignota.data.files import one_line
from ignota.exemplars.rows import thumbnail
from ignota.exemplars.store import COUNTER_EXAMPLE, ExemplarRow
from ignota.formats.rle import encode_rle
from ignota.perception.branch import feature_key, share_key
from ignota.perception.features import Pooled, pool_taps
from ignota.perception.marks import Box, Click, Mark, Polygon
from ignota.perception.networks import ImageLike
from ignota.perception.novel import Exemplar, counter_regions, farthest_points, pixels_inside
from ignota.perception.perception import Perception
from ignota.perception.proposals import mask_region
from ignota.perception.scene import Tables, UnknownRegion, resize_mask
from ignota.structures import Encoding, InputError, RegionSet

_SMALLEST_MASK = 16
_MOST_REGIONS = 128
"""Regions of a negative mark that are stored."""

Shown = Bool[np.ndarray, "H W"] | UnknownRegion | Mark
"""What shows an object on an image: a mask that is not zero there, a region of a scene, or a mark."""
Example = UnknownRegion | tuple[ImageLike | Encoding, Shown]


@dataclass(frozen=True)
class Prepared:
    """An example that is ready to be learnt: its image, its mask on the working grid, the row that is stored of it.

    pixels: of the mask on the original image. positive: whether the mask shows the class, or what is not the class.
    """

    encoding: Encoding
    tables: Tables
    mask: Bool[np.ndarray, "H W"]
    pixels: int
    row: ExemplarRow
    positive: bool = True


@dataclass(frozen=True)
class _Marked:
    """A mask on an image, before it is read off. full: on the original image; working: on the working grid."""

    encoding: Encoding
    tables: Tables
    full: Bool[np.ndarray, "H W"]
    working: Bool[np.ndarray, "h w"]
    given: str


def prepare(
    world: Perception,
    name: str,
    examples: Example | Sequence[Example],
    source: str = "",
    seen: Iterable[tuple[Encoding, Tables]] = (),
    against: Example | Sequence[Example] = (),
) -> list[Prepared]:
    """Checks examples and reads off what is to be stored; each image passes the networks once.

    seen: encodings with their tables. against: what is not the class. Raises InputError.
    """
    known = {id(encoding): (encoding, tables) for encoding, tables in seen}
    shown, unlike = (
        [_marked(world, name, *_parts_of(example), known) for example in _listed(given)]
        for given in (examples, against)
    )
    if not shown and not unlike:
        raise InputError(f"no example of {name!r} was given")
    marked: dict[int, np.ndarray] = {}
    for each in shown:
        key = id(each.encoding)
        marked[key] = marked[key] | each.working if key in marked else each.working
    return [
        *(_positive(world, name, each, marked[id(each.encoding)], source) for each in shown),
        *(_negative(world, name, each, source) for each in unlike),
    ]


def exemplar(
    world: Perception, name: str, encoding: Encoding, tables: Tables, mask: Bool[np.ndarray, "H W"]
) -> Exemplar:
    """The numbers that a labelled example leaves behind: features of the mask, of its parts and of what lies outside,
    and channel shares."""
    working = _working(name, encoding, mask)
    return _read_off(world, name, encoding, tables, working, working)


def _marked(
    world: Perception,
    name: str,
    image: ImageLike | Encoding,
    shown: Shown,
    seen: dict[int, tuple[Encoding, Tables]],
) -> _Marked:
    if id(image) not in seen:
        encoding = world.encoding_of(image)
        seen[id(image)] = encoding, world.tables(encoding)
    encoding, tables = seen[id(image)]
    if isinstance(shown, Polygon | Box | Click):
        shown = world.select(world.scene(encoding, tables), shown)
    given = shown.given if isinstance(shown, UnknownRegion) else "mask"
    mask = shown.mask if isinstance(shown, UnknownRegion) else np.asarray(shown) != 0
    return _Marked(encoding, tables, mask, _working(name, encoding, mask), given)


def _working(name: str, encoding: Encoding, mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "h w"]:
    """The mask on the working grid; raises InputError for one of another size or one that is too small to see."""
    if mask.shape != encoding.size:
        sizes = f"{mask.shape[1]}×{mask.shape[0]}, its image {encoding.size[1]}×{encoding.size[0]}"
        raise InputError(f"the mask of {name!r} is {sizes}: draw it on the same image")
    working = resize_mask(mask, (encoding.image.shape[0], encoding.image.shape[1]))
    if working.sum() < _SMALLEST_MASK:
        raise InputError(f"the mask of {name!r} covers {int(mask.sum())} pixels: too few to learn from")
    return working


def _positive(
    world: Perception, name: str, marked: _Marked, everywhere: Bool[np.ndarray, "h w"], source: str
) -> Prepared:
    numbers = _read_off(world, name, marked.encoding, marked.tables, marked.working, everywhere)
    return _prepared(marked, numbers, marked.given, source, positive=True)


def _negative(world: Perception, name: str, marked: _Marked, source: str) -> Prepared:
    """A row of counter-examples alone: the regions in the mask, or the mask itself where it is smaller than these."""
    regions, taps = marked.tables.regions, world.known.space.taps
    inside = _inside(regions, marked.working, 0.5)[:_MOST_REGIONS]
    with torch.inference_mode():
        found = selected(regions, inside) if len(inside) else mask_region(marked.working)
        pooled = pool_taps(marked.encoding, found, taps)
    return _prepared(marked, Exemplar(name, {}, {}, {}, _halved(pooled)), COUNTER_EXAMPLE, source, positive=False)


def _prepared(marked: _Marked, numbers: Exemplar, given: str, source: str, positive: bool) -> Prepared:
    encoding = marked.encoding
    row = ExemplarRow(
        numbers, encoding.sha256, given, one_line(encoding.source or source), encode_rle(marked.full),
        thumbnail(encoding.image, marked.working),
    )  # fmt: skip
    return Prepared(encoding, marked.tables, marked.working, int(marked.full.sum()), row, positive)


def _read_off(
    world: Perception,
    name: str,
    encoding: Encoding,
    tables: Tables,
    working: Bool[np.ndarray, "h w"],
    everywhere: Bool[np.ndarray, "h w"],
) -> Exemplar:
    """everywhere: all that is marked of the class on this image, by whichever example."""
    shares: dict[str, Tensor] = {}
    recipe, regions, embeddings = world.known.recipe, tables.regions, tables.reading.embeddings
    with torch.inference_mode():
        whole = pool_taps(encoding, mask_region(working), world.networks.taps)
        inside = _inside(regions, working, recipe.inside)
        none = inside[:0]
        inside = inside[farthest_points(embeddings[inside.to(embeddings.device)], recipe.parts, none).cpu()]
        counter = counter_regions(regions, everywhere, embeddings, inside.to(embeddings.device)).cpu()
        pooled = pool_taps(encoding, selected(regions, torch.cat([inside, counter])), world.networks.taps)
        for system in world.exemplar_branches:
            found = world.branch(system).exemplar(encoding, working)
            whole |= {feature_key(system): found[feature_key(system)]}
            shares |= {share_key(system): found[share_key(system)]}
    against = {tap: pooled[tap][len(inside) :] for tap in world.known.space.taps}
    return Exemplar(
        name, {k: v.cpu() for k, v in whole.items()}, {k: v[: len(inside)].cpu() for k, v in pooled.items()},
        {k: v.cpu() for k, v in shares.items()}, _halved(against),
    )  # fmt: skip


def _halved(pooled: Pooled) -> Pooled:
    """In half precision, as there are many of them; features beyond its range are not of use to anyone."""
    largest = torch.finfo(torch.float16).max
    return {tap: values.clamp(-largest, largest).half().cpu() for tap, values in pooled.items()}


def _inside(regions: RegionSet, mask: Bool[np.ndarray, "H W"], share: float) -> Int[Tensor, " P"]:
    """Indices of the regions of which more than `share` lies in the mask."""
    return torch.from_numpy(np.flatnonzero(pixels_inside(regions, mask) > share * regions.areas))


def selected(regions: RegionSet, indices: Int[Tensor, " S"]) -> RegionSet:
    """Some of the regions, numbered in the order of `indices`."""
    table = np.zeros(regions.count + 1, np.int32)
    table[indices.numpy() + 1] = np.arange(1, len(indices) + 1)
    return RegionSet(table[regions.ids], len(indices))


def _listed(examples: Example | Sequence[Example]) -> list[Example]:
    if isinstance(examples, UnknownRegion):
        return [examples]
    if isinstance(examples, tuple) and len(examples) == 2 and not isinstance(examples[0], UnknownRegion | tuple):
        return [cast(Example, examples)]
    return list(cast(Sequence[Example], examples))


def _parts_of(example: Example) -> tuple[ImageLike | Encoding, Shown]:
    return (example.encoding, example) if isinstance(example, UnknownRegion) else example
