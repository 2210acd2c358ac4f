"""Draws shapes on a label picture, each by the fill rule of the library that owns its format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

Points = Sequence[tuple[float, float]]
_FEWEST_CORNERS = 3
_SCALE = 5  # of the grid on which COCO walks along a polygon's edges


def fill_outlined(size: tuple[int, int], points: Points, outline: bool = True) -> Bool[np.ndarray, "H W"]:
    """A polygon as Pillow fills it, the rule of LabelMe (with its outline) and of Cityscapes (without)."""
    picture = Image.new("1", (size[1], size[0]))
    if len(points) >= _FEWEST_CORNERS:
        corners = np.clip(np.asarray(points, np.float64), -_far(size), _far(size))
        ImageDraw.Draw(picture).polygon([(x, y) for x, y in corners.tolist()], fill=1, outline=1 if outline else None)
    return np.array(picture)


def fill_ellipse(size: tuple[int, int], box: tuple[float, float, float, float]) -> Bool[np.ndarray, "H W"]:
    """An ellipse in the box left, top, right, bottom, as Pillow fills it with its outline."""
    picture = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(picture).ellipse(box, fill=1, outline=1)
    return np.array(picture)


def fill_crossings(size: tuple[int, int], points: Points) -> Bool[np.ndarray, "H W"]:
    """A polygon as pycocotools fills it, the rule of COCO, CVAT and Datumaro.

    Its edges are walked on a grid five times as fine; where they pass from one column to the next they cross it, and a
    pixel is inside after an odd number of crossings, counted down the columns.
    """
    height, width = size
    if len(points) < _FEWEST_CORNERS:
        return np.zeros(size, bool)
    corners = np.clip(np.asarray(points, np.float64), -_far(size), _far(size))
    fine = np.trunc(_SCALE * corners + 0.5).astype(np.int64)
    walks = [_walk(start, end) for start, end in zip(fine, np.roll(fine, -1, axis=0), strict=True)]
    crossings = np.concatenate([_crossings(walk[:, 0], walk[:, 1], size) for walk in walks])
    odd = np.bincount(crossings, minlength=height * width + 1)[: height * width].cumsum() % 2 == 1
    return odd.reshape(size, order="F")


def _far(size: tuple[int, int]) -> int:
    """Coordinates beyond are drawn in to it: a walk there takes time and changes next to nothing inside."""
    return 4 * max(size) + 10_000


def _crossings(u: np.ndarray, v: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Places, counted down the columns, from which on a walk has crossed them."""
    height, width = size
    passes = u[1:] != u[:-1]
    u0, u1, v0, v1 = u[:-1][passes], u[1:][passes], v[:-1][passes], v[1:][passes]
    x = (np.where(u1 < u0, u1, u1 - 1) + 0.5) / _SCALE - 0.5
    y = np.ceil(np.clip((np.minimum(v1, v0) + 0.5) / _SCALE - 0.5, 0, height))
    kept = (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
    return x[kept].astype(np.int64) * height + y[kept].astype(np.int64)


def _walk(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Grid points from one corner to the next, one step of the longer side at a time, rounded from the lower end."""
    (xs, ys), (xe, ye) = start, end
    dx, dy = abs(xe - xs), abs(ye - ys)
    flat = dx >= dy
    flip = bool(xs > xe) if flat else bool(ys > ye)
    if flip:
        xs, ys, xe, ye = xe, ye, xs, ys
    steps = np.arange(max(dx, dy) + 1)
    slope = 0.0 if len(steps) == 1 else (ye - ys) / dx if flat else (xe - xs) / dy
    if flat:
        walked = np.stack([steps + xs, np.trunc(ys + slope * steps + 0.5).astype(np.int64)], axis=1)
    else:
        walked = np.stack([np.trunc(xs + slope * steps + 0.5).astype(np.int64), steps + ys], axis=1)
    return walked[::-1] if flip else walked


def fill_box(size: tuple[int, int], left: float, top: float, right: float, bottom: float) -> Bool[np.ndarray, "H W"]:
    """The pixels whose centres lie in a box, its right and bottom edges excluded."""
    mask = np.zeros(size, bool)
    rows, columns = (
        slice(*(int(np.clip(np.ceil(edge - 0.5), 0, limit)) for edge in sorted(pair)))
        for pair, limit in (((top, bottom), size[0]), ((left, right), size[1]))
    )
    mask[rows, columns] = True
    return mask
