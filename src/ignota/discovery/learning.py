"""Teaches a world the named groups, and reports what each takes from other classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ignota.data.files import one_line
from ignota.data.images import read_image
from ignota.data.video import read_frames
from ignota.discovery.cut_regions import SMALLEST
from ignota.discovery.naming import NamedRows
from ignota.discovery.region_table import RegionTable
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel
from ignota.world.previewing import Preview
from ignota.world.teaching import Prepared, prepare


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
    name, made = world.usable_name(named.name), list[Prepared]()
    for rows in rows_to_learn(found, named, exemplars):
        made += prepared_rows(world, found, name, rows)
        for _ in rows if tick is not None else ():
            tick()
    return world.teach(name, made, force) if made else None


def rows_to_learn(found: RegionTable, named: NamedRows, exemplars: int | None = None) -> list[list[int]]:
    """The first regions of a class, image by image; raises InputError where all are too small."""
    large = [row for row in named.rows if found.areas[row] >= SMALLEST]
    if not large:
        raise InputError(f"{named.name!r}: every region is smaller than {SMALLEST} pixels, nothing can be learnt of it")
    by_image: dict[tuple[str, int], list[int]] = {}
    for row in large[: named.exemplars if exemplars is None else exemplars]:
        by_image.setdefault(found.place(row), []).append(row)
    return list(by_image.values())


def prepared_rows(world: OpenWorldModel, found: RegionTable, name: str, rows: Sequence[int]) -> list[Prepared]:
    """Regions of one image, ready to be taught, without those that the world has of the class already."""
    image = picture(found, rows[0])
    encoding = dataclasses.replace(world.encode(image), source=found.path(rows[0]).name)
    held = {(card.image_sha256, str(card.mask)) for card in world.store.cards(name)}
    fresh = [row for row in rows if (encoding.sha256, str(rle_of(found, row))) not in held]
    if not fresh:
        return []
    made, bare = prepare(world, name, [(encoding, found.mask(row)) for row in fresh]), encoding.bare
    return [dataclasses.replace(one, encoding=bare) for one in made]


def rle_of(found: RegionTable, row: int) -> dict[str, Any]:
    """The mask of a region as exemplars hold theirs."""
    return {"size": found.sizes[row].tolist(), "counts": found.counts[row]}


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
