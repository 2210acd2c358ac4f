"""Flat coloured faces in metres: the parts of every object of the synthetic world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Colour = tuple[float, float, float]
Vector = tuple[float, float, float]
Rectangle = tuple[float, float, float, float]


class Material(IntEnum):
    """What a surface is made of; decides its texture (see `weather.GRAIN`)."""

    PLAIN = 0
    ASPHALT = 1
    PAVING = 2
    GRASS = 3
    LEAVES = 4
    PLASTER = 5
    BRICK = 6
    FUR = 7
    STONE = 8
    WOOD = 9
    CLOTH = 10
    SKY = 11


class Face(NamedTuple):
    """Contours "K N 3" in one colour; overlapping contours cut holes.

    Without a colour a face is only labelled, so that what lies behind shows through (spokes, fences). An inner face is
    only coloured, since it lies within one that was drawn before. One with a `detail` (metres) is left out where that
    would be less than a pixel.
    """

    points: Points
    colour: Colour | None
    material: Material = Material.PLAIN
    inner: bool = False
    detail: float = math.inf


class Panel(NamedTuple):
    """Faces on one plane, painted in order; seen only from the side its normal points to (None: from both)."""

    faces: list[Face]
    normal: Vector | None = None


class Solid(NamedTuple):
    """Panels that do not hide each other once those facing away are dropped; `z`: its middle along the thing."""

    panels: list[Panel]
    z: float = 0.0


class Thing(NamedTuple):
    """One object standing on the ground at its own origin (x right, y up, z ahead); half extents in metres."""

    solids: list[Solid]
    half_width: float
    half_length: float
    height: float


class Box(NamedTuple):
    """The quads "4 3" of a box, each seen from outside: lower left, lower right, upper right, upper left."""

    rear: Points
    front: Points
    left: Points
    right: Points
    top: Points


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, lighter (> 1) or darker (< 1)."""
    return (min(colour[0] * factor, 255.0), min(colour[1] * factor, 255.0), min(colour[2] * factor, 255.0))


def vary(rng: np.random.Generator, colour: Colour, amount: float = 10.0) -> Colour:
    """The colour, a little off in brightness and, less, in hue."""
    light, *hue = (rng.standard_normal(4) * amount).tolist()
    red, green, blue = (min(max(c + light + 0.3 * h, 4.0), 251.0) for c, h in zip(colour, hue, strict=True))
    return (red, green, blue)


def pick(rng: np.random.Generator, colours: Sequence[Colour], amount: float = 8.0) -> Colour:
    """One of the colours, varied."""
    return vary(rng, colours[int(rng.integers(len(colours)))], amount)


def box(
    width: float,
    low: float,
    high: float,
    rear: float,
    front: float,
    top_width: float | None = None,
    top_rear: float | None = None,
    top_front: float | None = None,
) -> Box:
    """A box from `rear` to `front` along z and `low` to `high`; the `top_...` values make it a frustum."""
    a, b = width / 2, (width if top_width is None else top_width) / 2
    r, f = rear if top_rear is None else top_rear, front if top_front is None else top_front
    corners = np.array(
        [
            [[-a, low, rear], [a, low, rear], [b, high, r], [-b, high, r]],
            [[a, low, front], [-a, low, front], [-b, high, f], [b, high, f]],
            [[-a, low, front], [-a, low, rear], [-b, high, r], [-b, high, f]],
            [[a, low, rear], [a, low, front], [b, high, f], [b, high, r]],
            [[-b, high, r], [b, high, r], [b, high, f], [-b, high, f]],
        ],
        np.float32,
    )
    return Box(*corners)


NORMALS = Box(*np.array([(0, 0, -1), (0, 0, 1), (-1, 0, 0), (1, 0, 0), (0, 1, 0)], np.float32))


def walls(
    sides: Box, colour: Colour, parts: dict[str, list[Face]] | None = None, material: Material = Material.PLAIN
) -> list[Panel]:
    """The five panels of a box in one colour, with further faces on them by panel name."""
    panels = []
    for name, quad, normal in zip(Box._fields, sides, NORMALS, strict=True):
        faces = [Face(quad[None], colour, material), *(parts or {}).get(name, [])]
        panels.append(Panel(faces, (float(normal[0]), float(normal[1]), float(normal[2]))))
    return panels


def patches(quad: Points, rectangles: Sequence[Rectangle] | NDArray[np.float32]) -> Points:
    """Rectangles (u0, v0, u1, v1) in 0..1 on a quad → "K 4 3"; u runs along the quad, v upwards."""
    if isinstance(rectangles, np.ndarray):
        return _weights(rectangles) @ quad
    return _constant_weights(tuple(rectangles)) @ quad


def _weights(rectangles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear weights "K 4 4" of the quad's corners for the corners of every rectangle."""
    u, v = rectangles[:, (0, 2, 2, 0)], rectangles[:, (1, 1, 3, 3)]
    weights = np.empty((len(rectangles), 4, 4), np.float32)
    np.multiply(u, v, out=weights[..., 2])
    np.subtract(u, weights[..., 2], out=weights[..., 1])
    np.subtract(v, weights[..., 2], out=weights[..., 3])
    np.subtract(1 - u, weights[..., 3], out=weights[..., 0])
    return weights


@lru_cache(maxsize=1024)
def _constant_weights(rectangles: tuple[Rectangle, ...]) -> NDArray[np.float32]:
    return _weights(np.array(rectangles, np.float32))


def grid(columns: int, rows: int, fill: tuple[float, float], area: Rectangle) -> NDArray[np.float32]:
    """Rectangles "K 4" (u0, v0, u1, v1) in a regular grid over `area`, each filling that share of its cell."""
    width, height = (area[2] - area[0]) / columns, (area[3] - area[1]) / rows
    cells = np.empty((rows, columns, 4), np.float32)
    middle = (np.arange(columns) + 0.5) * width + area[0]
    cells[..., 0], cells[..., 2] = middle - fill[0] / 2 * width, middle + fill[0] / 2 * width
    middle = ((np.arange(rows) + 0.5) * height + area[1])[:, None]
    cells[..., 1], cells[..., 3] = middle - fill[1] / 2 * height, middle + fill[1] / 2 * height
    return cells.reshape(-1, 4)


_ANGLES = np.linspace(0.0, 2.0 * math.pi, 16, endpoint=False, dtype=np.float32)
_CIRCLE = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), 1)
_TURNS = np.stack([f(np.linspace(0.1, 2.0 * math.pi + 0.1, 22, endpoint=False)) for f in (np.cos, np.sin)], 1)


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> Points:
    """An upright ellipse facing the viewer, "1 16 3"."""
    points = np.zeros((1, 16, 3), np.float32)
    c, t = math.cos(tilt), math.sin(tilt)
    points[0, :, :2] = _CIRCLE @ np.array(((rx * c, rx * t), (-ry * t, ry * c)), np.float32) + (x, y)
    return points


def ring(x: float, y: float, radius: float, inner: float) -> Points:
    """An upright ring facing the viewer, "2 16 3"."""
    return np.concatenate((ellipse(x, y, radius, radius), ellipse(x, y, inner, inner)))


def outline(*points: tuple[float, float]) -> Points:
    """An upright polygon facing the viewer from (x, y) pairs, "1 N 3"."""
    flat = np.zeros((1, len(points), 3), np.float32)
    flat[0, :, :2] = points
    return flat


def limb(start: tuple[float, float], end: tuple[float, float], thick: float, thin: float | None = None) -> Points:
    """A tapering bar from start to end with that thickness at either end, "1 6 3"."""
    thin = thick if thin is None else thin
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy) or 1.0
    nx, ny, tx, ty = -dy / length / 2, dx / length / 2, dx / length / 3, dy / length / 3
    return outline(
        (start[0] + nx * thick, start[1] + ny * thick),
        (start[0] - tx * thick, start[1] - ty * thick),
        (start[0] - nx * thick, start[1] - ny * thick),
        (end[0] - nx * thin, end[1] - ny * thin),
        (end[0] + tx * thin, end[1] + ty * thin),
        (end[0] + nx * thin, end[1] + ny * thin),
    )


def blob(rng: np.random.Generator, x: float, y: float, rx: float, ry: float, rough: float = 0.16) -> Points:
    """An irregular ellipse such as a crown or a rock, "1 22 3"."""
    radius = rough * rng.uniform(-1.0, 1.0, (22, 1)) + 1.0
    points = np.zeros((1, 22, 3), np.float32)
    points[0, :, :2] = _TURNS * radius * (rx, ry) + (x, y)
    return points


def sideways(points: Points, x: float) -> Points:
    """Turns an upright shape into a side plane: its x runs along z, at distance `x` from the middle."""
    turned = np.empty_like(points)
    turned[..., 0], turned[..., 1], turned[..., 2] = x, points[..., 1], points[..., 0]
    return turned


def flat_thing(faces: list[Face], half_width: float, height: float, half_length: float = 0.2) -> Thing:
    """A thing that is one upright cut-out."""
    return Thing([Solid([Panel(faces)])], half_width, half_length, height)


TYRE: Colour = (30, 30, 33)
RIM: Colour = (150, 152, 158)


_WHEEL = ((1.0, TYRE), (0.62, RIM), (0.42, shade(RIM, 0.6)), (0.16, shade(RIM, 1.2)))


def wheels(places: Sequence[float], radius: float) -> list[Face]:
    """The wheels that cars, trucks, buses and motorcycles share, standing at these x: tyre, rim, disc, hub."""
    faces = []
    for share, colour in _WHEEL:
        points = np.zeros((len(places), 16, 3), np.float32)
        points[..., :2] = _CIRCLE * (radius * share)
        points[..., 0] += np.array(places, np.float32)[:, None]
        points[..., 1] += radius
        faces.append(Face(points, colour, inner=share < 1.0))
    return faces
