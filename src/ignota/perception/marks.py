"""Marks of a user: a polygon, a box, or one click at an extent; each becomes a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import Bool, Integer, UInt8

from ignota.perception.scene import Scene, limit_of
from ignota.structures import InputError

Extent = Literal["unknown", "region", "channels", "union"]
EXTENTS: tuple[str, ...] = get_args(Extent)

_MOST_POINTS = 10_000
_CUT_SIDE = 320
_CUT_ROUNDS = 2


@dataclass(frozen=True)
class Polygon:
    """Corners (x, y) in pixels of the original image."""

    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """A rectangle round the thing: left, top, right, bottom in pixels of the original image."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Click:
    """A point on the thing, in pixels of the original image, and how far round it the thing reaches.

    extent: the connected unknown pixels (`unknown`), the region between edges (`region`), the meta channels' region
    (`channels`), or both together (`union`). threshold: of the unknown pixels, in 0..1.
    """

    x: float
    y: float
    extent: Extent = "unknown"
    threshold: float = 0.5


Mark = Polygon | Box | Click


def mark_mask(mark: Mark, scene: Scene, channels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "H W"]:
    """The mask that a mark stands for, on the original image; raises InputError for one that lies outside it.

    channels: the meta channels that are on, one bit each, on any grid.
    """
    if isinstance(mark, Polygon):
        return polygon_mask(mark, scene.tables.size)
    if isinstance(mark, Box):
        return box_mask(mark, scene.encoding.image, scene.tables.size)
    found = extents(mark, scene, channels)
    if mark.extent not in found:
        there = ", ".join(found)
        raise InputError(f"there is no {mark.extent!r} extent at ({mark.x:g}, {mark.y:g}): choose one of {there}")
    size = scene.tables.size
    return np.asarray(cv2.resize(found[mark.extent].astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def extents(click: Click, scene: Scene, channels: Integer[np.ndarray, "h w"]) -> dict[str, Bool[np.ndarray, "H W"]]:
    """Every extent that there is at a click, on the working grid."""
    height, width = scene.tables.size
    if not (0 <= click.x < width and 0 <= click.y < height):
        raise InputError(f"the click ({click.x:g}, {click.y:g}) lies outside the image of {width}×{height} pixels")
    ids = scene.regions.ids
    row, column = int(click.y * ids.shape[0] / height), int(click.x * ids.shape[1] / width)
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


def box_mask(box: Box, image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """What stands out inside the box from what surrounds it (Rother et al., GrabCut, SIGGRAPH 2004).

    The whole box where nothing does. image: at the working size. Raises InputError for an empty box.
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
    state = np.full(grid, cv2.GC_BGD, np.uint8)
    inner = np.rint(np.array([(top - y0) / (y1 - y0), (bottom - y0) / (y1 - y0)]) * grid[0]).astype(int)
    across = np.rint(np.array([(left - x0) / (x1 - x0), (right - x0) / (x1 - x0)]) * grid[1]).astype(int)
    state[inner[0] : inner[1], across[0] : across[1]] = cv2.GC_PR_FGD
    if (state == cv2.GC_BGD).any() and (state == cv2.GC_PR_FGD).sum() > 16:
        cv2.setRNGSeed(0)
        cv2.grabCut(
            small, state, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), _CUT_ROUNDS, cv2.GC_INIT_WITH_MASK
        )
        cut = cv2.resize((state == cv2.GC_PR_FGD).astype(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
        kept = np.zeros(size, bool)
        kept[y0:y1, x0:x1] = cut > 0
        kept &= mask
        if kept.sum() > 0.1 * mask.sum():
            return kept
    return mask


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
