"""The visible side of groups: a small picture of each region, contact sheets, and the page to name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ignota.data.images import resize_image, write_jpeg
from ignota.discovery.document import Discovery
from ignota.discovery.groups import MOST_EXEMPLARS, Group
from ignota.discovery.naming import picture
from ignota.discovery.region_table import RegionTable
from ignota.perception.scene import resize_mask
from ignota.reports.groups_page import GroupCard, contact_sheet, missing_tile, region_tile
from ignota.reports.pictures import overlay
from ignota.structures import InputError

TILES = 2 * MOST_EXEMPLARS
"""Regions shown of a group."""
_LONG_SIDE = 2048


def shown_rows(groups: Sequence[Group]) -> list[int]:
    """The regions that pictures are needed of."""
    every = [each for group in groups for each in (group, *group.parts)]
    return sorted({row for each in every for row in each.rows[:TILES]})


def draw_tiles(
    found: RegionTable, rows: Sequence[int], tick: Callable[[], object] | None = None
) -> tuple[dict[int, bytes], tuple[InputError, ...]]:
    """A JPEG for each region, and what could not be read; every image is opened once, one in memory at a time."""
    tiles: dict[int, bytes] = {}
    faults: list[InputError] = []
    image, before = None, None
    for row in sorted(rows, key=lambda row: (found.place(row), row)):
        if found.place(row) != before:
            before = found.place(row)
            try:
                image = picture(found, row)
            except InputError as error:
                image = None
                faults.append(error)
        tiles[row] = missing_tile() if image is None else _tile(found, row, image)
        if tick is not None:
            tick()
    return tiles, tuple(faults)


def cards(groups: Sequence[Group], tiles: Mapping[int, bytes]) -> tuple[GroupCard, ...]:
    """The groups as the page shows them."""
    return tuple(_card(group, tiles) for group in groups)


def write_sheets(folder: Path, groups: Sequence[Group], tiles: Mapping[int, bytes]) -> None:
    """A contact sheet for each group, group-KEY.jpg; those of an earlier run are dropped."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("group-*.jpg"):
        old.unlink()
    for group in groups:
        sheet = contact_sheet([tiles[row] for row in group.rows[:TILES]])
        write_jpeg(folder / f"group-{int(group.key):03d}.jpg", sheet)


def outlined(found: RegionTable, rows: Sequence[int]) -> UInt8[np.ndarray, "H W 3"]:
    """The image of these regions with all of them outlined; raises InputError where it is gone."""
    image = picture(found, rows[0])
    unknown = np.logical_or.reduce([found.mask(row) for row in rows])
    nothing = np.zeros(unknown.shape, np.uint8)
    return overlay(image, nothing, np.zeros((256, 3), np.uint8), 0.0, unknown)


def summary(made: Discovery, found: RegionTable) -> str:
    """The whole of a discovery in one line."""
    images = len({found.place(row) for row in range(len(found))})
    return (
        f"{len(found)} unknown regions in {images} images: {len(made.groups)} groups, {len(made.alone)} regions alone"
    )


def _tile(found: RegionTable, row: int, image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    shrink = min(1.0, _LONG_SIDE / max(image.shape[:2]))
    size = max(1, round(image.shape[0] * shrink)), max(1, round(image.shape[1] * shrink))
    small = resize_mask(found.mask(row), size)
    if not small.any():
        return missing_tile()
    return region_tile(resize_image(image, size), small)


def _card(group: Group, tiles: Mapping[int, bytes]) -> GroupCard:
    nearest = ", ".join(f"{name} ({likeness:.2f})" for name, likeness in group.nearest)
    count = len(group.rows)
    return GroupCard(
        group.key,
        f"Group {group.key}",
        tuple((row, tiles[row]) for row in group.rows[:TILES]),
        (
            (f"{count:,}", "region" if count == 1 else "regions"),
            (f"{group.images:,}", "image" if group.images == 1 else "images"),
            (f"{group.compactness:.2f}", "compactness"),
            (f"{group.strangeness:.2f}", "strangeness"),
            (str(group.exemplars), "exemplars suggested"),
        ),
        f"nearest known classes: {nearest}",
        tuple(_card(part, tiles) for part in group.parts),
    )
