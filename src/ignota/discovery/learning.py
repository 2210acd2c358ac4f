"""Teaches a world the named groups, and reports what each takes from other classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from ignota.data.files import one_line
from ignota.data.images import read_image
from ignota.data.video import read_frames
from ignota.discovery.cut_regions import SMALLEST
from ignota.discovery.naming import NamedRows
from ignota.discovery.region_table import RegionTable
from ignota.structures import Encoding, InputError
from ignota.world.model import OpenWorldModel
from ignota.world.previewing import Preview


def learn_named(
    world: OpenWorldModel,
    found: RegionTable,
    named: NamedRows,
    exemplars: int | None = None,
    force: bool = False,
    tick: Callable[[], object] | None = None,
) -> Preview | None:
    """Teaches one class from the first regions of its groups; None where the world has all of them already.

    exemplars: how many regions, instead of what is suggested. Raises InputError for images that are gone or changed,
    and TeachingRefused where the class would flood the images unless `force` is set.
    """
    large = [row for row in named.rows if found.areas[row] >= SMALLEST]
    if not large:
        raise InputError(f"{named.name!r}: every region is smaller than {SMALLEST} pixels, nothing can be learnt of it")
    chosen = large[: named.exemplars if exemplars is None else exemplars]
    held = {(card.image_sha256, str(card.mask)) for card in world.store.cards(named.name)}
    examples: list[tuple[Encoding, Bool[np.ndarray, "H W"]]] = []
    for row, encoding in _encoded(world, found, chosen):
        mask = found.mask(row)
        rle = {"size": found.sizes[row].tolist(), "counts": found.counts[row]}
        if (encoding.sha256, str(rle)) not in held:
            examples.append((encoding, mask))
        if tick is not None:
            tick()
    if not examples:
        return None
    return world.learn(named.name, examples, force)


def picture(found: RegionTable, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """The image of a region; raises InputError where it is gone or has another size."""
    path, frame = found.path(row), int(found.frames[row])
    if frame < 0:
        image = read_image(path)
    else:
        frames = read_frames(path, 1, lambda index: index == frame)
        shown = next((each.image for each in frames if each.index == frame), None)
        if shown is None:
            raise InputError(f"{one_line(path)} has no frame {frame}: run `ignota discover` again")
        image = shown
    if image.shape[:2] != tuple(found.sizes[row]):
        raise InputError(f"{one_line(path)} has another size than when its regions were found: run it again")
    return image


def _encoded(world: OpenWorldModel, found: RegionTable, rows: Sequence[int]) -> Iterator[tuple[int, Encoding]]:
    """Each row with its image's encoding, in order; an image passes the networks once."""
    seen: dict[tuple[str, int], Encoding] = {}
    for row in rows:
        place = found.place(row)
        if place not in seen:
            image = picture(found, row)
            encoding = world.encode(image)
            seen[place] = dataclasses.replace(encoding, source=found.path(row).name)
        yield row, seen[place]
