"""Marks of a user: a polygon, a box, or clicks at an extent; each becomes a mask.

Boxes and clicks propose an object of the scene where there is one: a level set of the anomaly, see `objects`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8

from ignota.perception.objects import finer_set
from ignota.perception.scene import SMALLEST_REGION, Scene, enlarged, limit_of, scaled
from ignota.structures import InputError

Extent = Literal["object", "unknown", "region", "channels", "union"]
CHANNEL_EXTENTS: tuple[Extent, ...] = ("channels", "union")
"""Those for which meta channels are read, by a network."""

_MOSTLY, _FILLS = 0.5, 0.2
"""Share of an object that a box holds, and share of the box that objects fill, at least."""
_CORE = 5
"""Side of the square by which an object is shrunk to what GrabCut may not take away, in pixels that it works on."""
_MOST_POINTS = 10_000
_CUT_SIDE = 320
_CUT_ROUNDS = 2


@dataclass(frozen=True)
class Polygon:
    """Corners (x, y) in pixels of the original image."""

    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """A rectangle round the thing: left, top, right, bottom in pixels of the original image.

    It picks the unknown objects that are mostly inside, or what stands out in it where these do not fill it.
    """

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Click:
    """A point on the thing, in pixels of the original image, and how far round it the thing reaches.

    extent: the unknown object, or the connected unknown pixels where there is none (`object`), those pixels alone
    (`unknown`), the region between edges (`region`), the meta channels' region (`channels`), or both together
    (`union`). threshold: of what is unknown, in 0..1. plus: further points on the thing, which add their object or
    region. minus: points that are not on it; an object that holds one becomes finer, or loses the region there.
    """

    x: float
    y: float
    extent: Extent = "object"
    threshold: float = 0.5
    plus: Sequence[tuple[float, float]] = ()
    minus: Sequence[tuple[float, float]] = ()


Mark = Polygon | Box | Click


def mark_mask(mark: Mark, scene: Scene, channels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "H W"]:
    """The mask that a mark stands for, on the original image; raises InputError for one that lies outside it.

    channels: the meta channels that are on, one bit each, on any grid.
    """
    if isinstance(mark, Polygon):
        return polygon_mask(mark, scene.tables.size)
    if isinstance(mark, Box):
        return box_mask(mark, scene.encoding.image, scene.tables.size, boxed_objects(mark, scene))
    return _clicked(mark, scene, channels)


def boxed_objects(box: Box, scene: Scene) -> Bool[np.ndarray, "H W"] | None:
    """Unknown objects that a box mostly holds, as far as they lie inside; None where they do not fill it.

    Raises InputError for an empty box.
    """
    left, top, right, bottom = _inside(box, scene.tables.size)
    if scene.cutoff is None:
        return None
    ids = scene.object_ids()
    window = np.s_[top:bottom, left:right]
    held, areas = (np.bincount(of.ravel(), minlength=int(ids.max()) + 1) for of in (ids[window], ids))
    chosen = held > _MOSTLY * areas
    chosen[0] = False
    mask = np.zeros(ids.shape, bool)
    mask[window] = chosen[ids[window]]
    return mask if mask.sum() > _FILLS * ids[window].size else None


def _clicked(click: Click, scene: Scene, channels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "H W"]:
    """What the clicks on the thing reach, each without what those beside it rule out."""
    objects = None
    if click.extent == "object" and scene.cutoff is not None:
        objects = scene.object_ids(click.threshold)
    points = ((click.x, click.y), *click.plus)
    outside, on = ([_cell(x, y, scene) for x, y in listed] for listed in (click.minus, points))
    mask = np.zeros(scene.tables.size, bool)
    for i, (x, y) in enumerate(points):
        found = _reached(dataclasses.replace(click, x=x, y=y), scene, channels, objects, anything=i > 0)
        if _holds(found, click.minus) and objects is not None:
            finer = _finer(scene, click.threshold, on[i], outside)
            found = found if finer is None else found & finer
        if _holds(found, click.minus):
            found = _without(found, scene, outside, on)
        mask |= found
    return mask


def _holds(mask: Bool[np.ndarray, "H W"], points: Sequence[tuple[float, float]]) -> bool:
    return any(mask[int(y), int(x)] for x, y in points)


def _finer(
    scene: Scene, threshold: float, inside: tuple[int, int], outside: Sequence[tuple[int, int]]
) -> Bool[np.ndarray, "H W"] | None:
    z = scaled(scene.score, scene.score_at(threshold), scene.scale)
    found = finer_set(z, SMALLEST_REGION, inside, outside)
    return None if found is None else enlarged(found.astype(np.int32), scene.tables.size) > 0


def _without(
    mask: Bool[np.ndarray, "H W"], scene: Scene, outside: Sequence[tuple[int, int]], on: Sequence[tuple[int, int]]
) -> Bool[np.ndarray, "H W"]:
    """A mask less the regions between edges at some cells of the working grid, but for those that `on` lies in."""
    ids = scene.regions.ids
    ruled_out = {ids[cell] for cell in outside} - {ids[cell] for cell in on}
    there = np.isin(ids, list(ruled_out)).astype(np.uint8)
    return mask & (cv2.resize(there, mask.shape[::-1], interpolation=cv2.INTER_NEAREST) == 0)


def _reached(
    click: Click,
    scene: Scene,
    channels: Integer[np.ndarray, "h w"],
    objects: Int32[np.ndarray, "H W"] | None,
    anything: bool,
) -> Bool[np.ndarray, "H W"]:
    """What one click picks. objects: where these are wanted first. anything: takes the region where there is none."""
    found = extents(click, scene, channels)
    if objects is not None and objects[int(click.y), int(click.x)]:
        return np.asarray(objects == objects[int(click.y), int(click.x)])
    extent = "unknown" if click.extent == "object" else click.extent
    if anything and (extent not in found or objects is not None):
        extent = "region"
    if extent not in found:
        there = ", ".join(found)
        raise InputError(f"there is no {click.extent!r} extent at ({click.x:g}, {click.y:g}): choose one of {there}")
    size = scene.tables.size
    return np.asarray(cv2.resize(found[extent].astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def _cell(x: float, y: float, scene: Scene) -> tuple[int, int]:
    """The cell of the working grid under a point; raises InputError for one outside the image."""
    height, width = scene.tables.size
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"the click ({x:g}, {y:g}) lies outside the image of {width}×{height} pixels")
    grid = scene.regions.ids.shape
    return int(y * grid[0] / height), int(x * grid[1] / width)


def extents(click: Click, scene: Scene, channels: Integer[np.ndarray, "h w"]) -> dict[str, Bool[np.ndarray, "H W"]]:
    """Every extent that there is at a click, on the working grid."""
    row, column = _cell(click.x, click.y, scene)
    ids = scene.regions.ids
    found: dict[str, np.ndarray] = {}
    unknown = scene.working_levels > limit_of(click.threshold)
    if unknown[row, column]:
        found["unknown"] = _component(unknown, row, column)
    found["region"] = ids == ids[row, column]
    bits = cv2.resize(channels.astype(np.uint16), ids.shape[::-1], interpolation=cv2.INTER_NEAREST)
    if bits[row, column]:
        found["channels"] = _component((bits & bits[row, column]) > 0, row, column)
        found["union"] = found["region"] | found["channels"]
    return found


def polygon_mask(polygon: Polygon, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Its inside; raises InputError for less than three corners, too many, or none in the image."""
    points = np.asarray(polygon.points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not 3 <= len(points) <= _MOST_POINTS:
        raise InputError(f"a polygon has 3 to {_MOST_POINTS:,} corners x,y")
    if not np.isfinite(points).all():
        raise InputError("a polygon's corners are numbers")
    clipped = np.clip(points, -1, np.array([size[1], size[0]]))
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.rint(clipped).astype(np.int32)], 1)
    if not mask.any():
        raise InputError(f"the polygon lies outside the image of {size[1]}×{size[0]} pixels")
    return mask > 0


def box_mask(
    box: Box,
    image: UInt8[np.ndarray, "h w 3"],
    size: tuple[int, int],
    objects: Bool[np.ndarray, "H W"] | None = None,
) -> Bool[np.ndarray, "H W"]:
    """What stands out inside the box from what surrounds it (Rother et al., GrabCut, SIGGRAPH 2004).

    objects: what is known to stand out, which is kept and extended. The whole box where nothing does. image: at the
    working size. Raises InputError for an empty box.
    """
    left, top, right, bottom = _inside(box, size)
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    around = max(8, (right - left) // 3), max(8, (bottom - top) // 3)
    x0, y0 = max(0, left - around[0]), max(0, top - around[1])
    x1, y1 = min(size[1], right + around[0]), min(size[0], bottom + around[1])
    scale_y, scale_x = image.shape[0] / size[0], image.shape[1] / size[1]
    crop = image[int(y0 * scale_y) : max(2, int(y1 * scale_y)), int(x0 * scale_x) : max(2, int(x1 * scale_x))]
    shrink = min(1.0, _CUT_SIDE / max(crop.shape[:2]))
    grid = max(4, round(crop.shape[0] * shrink)), max(4, round(crop.shape[1] * shrink))
    small = cv2.resize(np.ascontiguousarray(crop), grid[::-1], interpolation=cv2.INTER_AREA)
    inner = np.rint(np.array([(top - y0) / (y1 - y0), (bottom - y0) / (y1 - y0)]) * grid[0]).astype(int)
    across = np.rint(np.array([(left - x0) / (x1 - x0), (right - x0) / (x1 - x0)]) * grid[1]).astype(int)
    within = np.s_[inner[0] : inner[1], across[0] : across[1]]
    state = np.full(grid, cv2.GC_BGD, np.uint8)
    state[within] = cv2.GC_PR_FGD if objects is None else _seeds(objects[y0:y1, x0:x1], grid)[within]
    cut = _cut(small, state)
    if cut is None:
        return mask if objects is None else objects
    kept = np.zeros(size, bool)
    kept[y0:y1, x0:x1] = cv2.resize(cut, (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST) > 0
    kept &= mask
    if objects is not None:
        return kept | objects
    return kept if kept.sum() > 0.1 * mask.sum() else mask


def _seeds(objects: Bool[np.ndarray, "H W"], grid: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """What GrabCut begins with: objects are likely, their cores certain."""
    likely = cv2.resize(objects.astype(np.uint8), grid[::-1], interpolation=cv2.INTER_NEAREST)
    state = np.where(likely > 0, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
    state[cv2.erode(likely, np.ones((_CORE, _CORE), np.uint8)) > 0] = cv2.GC_FGD
    return state


def _cut(image: UInt8[np.ndarray, "h w 3"], state: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"] | None:
    """1 where GrabCut finds the thing; None where there is too little to tell it from."""
    if not (state == cv2.GC_BGD).any() or (state & 1).sum() <= 16:
        return None
    cv2.setRNGSeed(0)
    cv2.grabCut(image, state, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), _CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray(state & 1)


def _inside(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    corners = np.array([box.left, box.top, box.right, box.bottom], np.float64)
    if not np.isfinite(corners).all():
        raise InputError("a box is left, top, right, bottom in pixels")
    left, top = (int(v) for v in np.floor(np.clip(corners[:2], 0, [size[1], size[0]])))
    right, bottom = (int(v) for v in np.ceil(np.clip(corners[2:], 0, [size[1], size[0]])))
    if right - left < 2 or bottom - top < 2:
        raise InputError(f"the box is empty, or lies outside the image of {size[1]}×{size[0]} pixels")
    return left, top, right, bottom


def _component(mask: Bool[np.ndarray, "H W"], row: int, column: int) -> Bool[np.ndarray, "H W"]:
    _, ids = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    return np.asarray(ids == ids[row, column])
