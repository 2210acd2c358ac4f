"""Cars, trucks, buses and trains: different shapes with the same wheels, lamps and glass."""

from __future__ import annotations

import numpy as np

from ignota.synthetic.shapes import (
    Box,
    Colour,
    Face,
    Panel,
    Points,
    Solid,
    Thing,
    box,
    grid,
    patches,
    pick,
    shade,
    sideways,
    walls,
    wheels,
)

GLASS: Colour = (52, 66, 80)
_REAR_LAMP: Colour = (205, 32, 30)
_HEAD_LAMP: Colour = (250, 244, 215)
_BUMPER: Colour = (48, 48, 52)
_PLATE: Colour = (232, 232, 226)

_CAR_COLOURS = [
    (176, 24, 30), (40, 66, 130), (210, 212, 214), (120, 124, 128), (44, 46, 50), (238, 238, 236),
    (34, 96, 84), (150, 160, 172), (190, 120, 40), (90, 26, 40),
]  # fmt: skip
_CAB_COLOURS = [(230, 232, 232), (28, 84, 160), (190, 40, 36), (40, 120, 70), (236, 150, 30)]
_CARGO_COLOURS = [(226, 226, 220), (204, 206, 206), (150, 158, 168), (190, 176, 150), (120, 140, 120)]
_BUS_COLOURS = [(240, 190, 24), (236, 120, 26), (214, 44, 40), (60, 160, 80), (245, 205, 80)]
_TRAIN_COLOURS = [(236, 238, 240), (222, 228, 232), (244, 236, 214)]
_STRIPES = [(196, 26, 50), (30, 110, 170), (20, 140, 120)]


def _lamps(quad: Points, colour: Colour, low: float, high: float, width: float = 0.17) -> Face:
    return Face(patches(quad, [(0.03, low, 0.03 + width, high), (0.97 - width, low, 0.97, high)]), colour, inner=True)


def _tyres_below(quad: Points, drop: float) -> Face:
    """The lower edge of the tyres as seen from the front or the rear."""
    return Face(patches(quad, [(0.05, -drop, 0.22, 0.06), (0.78, -drop, 0.95, 0.06)]), (26, 26, 28))


def _side_wheels(sides: Box, places: list[float], radius: float) -> dict[str, list[Face]]:
    """Wheels on both side panels."""
    faces = wheels(places, radius)
    parts: dict[str, list[Face]] = {}
    for name, quad in (("left", sides.left), ("right", sides.right)):
        parts[name] = [face._replace(points=sideways(face.points, float(quad[0, 0]))) for face in faces]
    return parts


def _ends(sides: Box, drop: float, colour: Colour) -> dict[str, list[Face]]:
    """Bumpers, lamps, number plates and tyres of a low body's front and rear."""
    rear, front = sides.rear, sides.front
    return {
        "rear": [
            _tyres_below(rear, drop),
            Face(patches(rear, [(0, 0, 1, 0.3)]), _BUMPER, inner=True),
            _lamps(rear, _REAR_LAMP, 0.56, 0.86),
            Face(patches(rear, [(0.36, 0.4, 0.64, 0.6)]), _PLATE, inner=True),
        ],
        "front": [
            _tyres_below(front, drop),
            Face(patches(front, [(0, 0, 1, 0.24)]), _BUMPER, inner=True),
            Face(patches(front, [(0.26, 0.36, 0.74, 0.66)]), shade(colour, 0.35), inner=True),
            _lamps(front, _HEAD_LAMP, 0.5, 0.84),
            Face(patches(front, [(0.38, 0.08, 0.62, 0.24)]), _PLATE, inner=True),
        ],
    }


def car(rng: np.random.Generator) -> Thing:
    """A hatchback, saloon or estate: a low body with a glass cabin on it."""
    colour = pick(rng, _CAR_COLOURS)
    width, length, height = rng.uniform(1.7, 1.9), rng.uniform(3.7, 4.8), rng.uniform(1.42, 1.62)
    belt, half, radius = height * 0.6, length / 2, rng.uniform(0.3, 0.36)
    lower = box(width, 0.24, belt, -half, half, top_width=width * 0.97)
    parts = _side_wheels(lower, [-half * 0.62, half * 0.64], radius)
    for name, faces in _ends(lower, 0.35, colour).items():
        parts[name] = faces
    for name, quad in (("left", lower.left), ("right", lower.right)):
        door = [(0.34, 0.2, 0.345, 0.96), (0.6, 0.2, 0.605, 0.96), (0.1, 0.06, 0.9, 0.14)]
        parts[name].insert(0, Face(patches(quad, door), shade(colour, 0.62), inner=True))
    tail = rng.uniform(0.72, 0.98)
    upper = box(width * 0.93, belt, height, -half * tail, half * 0.5, width * 0.76, -half * (tail - 0.2), half * 0.16)
    glass = {
        "rear": [Face(patches(upper.rear, [(0.08, 0.1, 0.92, 0.86)]), GLASS, inner=True)],
        "front": [Face(patches(upper.front, [(0.06, 0.06, 0.94, 0.9)]), GLASS, inner=True)],
        "left": [Face(patches(upper.left, [(0.08, 0.1, 0.48, 0.86), (0.52, 0.1, 0.93, 0.86)]), GLASS, inner=True)],
        "right": [Face(patches(upper.right, [(0.07, 0.1, 0.48, 0.86), (0.52, 0.1, 0.92, 0.86)]), GLASS, inner=True)],
    }
    panels = walls(lower, colour, parts) + walls(upper, colour, glass)
    return Thing([Solid(panels)], width / 2, half, height)


def truck(rng: np.random.Generator) -> Thing:
    """A coloured cab before a plain, windowless cargo box or an open load."""
    cab_colour, cargo_colour = pick(rng, _CAB_COLOURS), pick(rng, _CARGO_COLOURS)
    width, length = rng.uniform(2.3, 2.5), rng.uniform(6.2, 9.0)
    half, radius, cab_length = length / 2, 0.48, rng.uniform(1.6, 2.0)
    top, cab_top = rng.uniform(3.1, 3.8), rng.uniform(2.5, 2.9)
    split = half - cab_length
    cargo = box(width, 1.0, top, -half, split - 0.25)
    stripes = [(k / 6 - 0.004, 0.02, k / 6 + 0.004, 0.98) for k in range(1, 6)]
    doors = [(0.49, 0.03, 0.51, 0.97), (0.02, 0.04, 0.035, 0.97), (0.965, 0.04, 0.98, 0.97)]
    bars = [(0.3, 0.08, 0.33, 0.92), (0.67, 0.08, 0.7, 0.92)]
    logo = (rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.45), 0.75, 0.72)
    mark = [Face(patches(cargo.left, [logo]), cab_colour, inner=True)] if rng.random() < 0.45 else []
    cargo_parts = {
        "left": [Face(patches(cargo.left, stripes), shade(cargo_colour, 0.8), inner=True), *mark],
        "right": [Face(patches(cargo.right, stripes), shade(cargo_colour, 0.8), inner=True)],
        "rear": [Face(patches(cargo.rear, doors + bars), shade(cargo_colour, 0.62), inner=True)],
    }
    frame = box(width * 0.92, 0.5, 1.0, -half, split)
    frame_parts = _side_wheels(frame, [-half * 0.72, -half * 0.72 + 1.05], radius)
    frame_parts["rear"] = [
        _tyres_below(frame.rear, 1.0),
        _lamps(frame.rear, _REAR_LAMP, 0.35, 0.8),
        Face(patches(frame.rear, [(0.38, 0.3, 0.62, 0.7)]), _PLATE, inner=True),
    ]
    bed = Solid(walls(frame, (62, 62, 66), frame_parts) + walls(cargo, cargo_colour, cargo_parts), -1.0)
    return Thing([bed, Solid(_cab(width, cab_top, split, half, cab_colour, radius), split)], width / 2, half, top)


def _cab(width: float, top: float, rear: float, front: float, colour: Colour, radius: float) -> list[Panel]:
    cab = box(width * 0.97, 0.36, top, rear, front, top_front=front - 0.18)
    parts = _side_wheels(cab, [(rear + front) / 2], radius)
    parts["left"].insert(0, Face(patches(cab.left, [(0.12, 0.55, 0.62, 0.86)]), GLASS, inner=True))
    parts["right"].insert(0, Face(patches(cab.right, [(0.38, 0.55, 0.88, 0.86)]), GLASS, inner=True))
    parts["front"] = [
        _tyres_below(cab.front, 0.15),
        Face(patches(cab.front, [(0.06, 0.52, 0.94, 0.88)]), GLASS, inner=True),
        Face(patches(cab.front, [(0.2, 0.18, 0.8, 0.24), (0.2, 0.28, 0.8, 0.34), (0.2, 0.38, 0.8, 0.44)]),
             shade(colour, 0.4), inner=True),
        _lamps(cab.front, _HEAD_LAMP, 0.08, 0.2),
    ]  # fmt: skip
    return walls(cab, colour, parts)


def bus(rng: np.random.Generator) -> Thing:
    """One tall bright box with a band of large windows, doors and a destination board."""
    colour = pick(rng, _BUS_COLOURS)
    width, length, top = rng.uniform(2.45, 2.6), rng.uniform(8.5, 11.5), rng.uniform(2.95, 3.25)
    half, radius = length / 2, 0.48
    hull = box(width, 0.32, top, -half, half)
    parts = _side_wheels(hull, [-half * 0.55, half * 0.58], radius)
    count = int(rng.integers(5, 8))
    for name, quad in (("left", hull.left), ("right", hull.right)):
        windows = patches(quad, grid(count, 1, (0.88, 1.0), (0.03, 0.46, 0.97, 0.84)))
        parts[name].insert(0, Face(windows, GLASS, inner=True))
        parts[name].insert(0, Face(patches(quad, [(0, 0.22, 1, 0.3)]), shade(colour, 0.62), inner=True))
    doors = patches(hull.right, [(0.86, 0.06, 0.95, 0.84), (0.46, 0.06, 0.56, 0.84)])
    parts["right"].insert(2, Face(doors, shade(GLASS, 0.8), inner=True))
    board = (250, 176, 40) if rng.random() < 0.7 else (235, 235, 225)
    parts["rear"] = [
        _tyres_below(hull.rear, 0.11),
        Face(patches(hull.rear, [(0.1, 0.52, 0.9, 0.86)]), GLASS, inner=True),
        Face(patches(hull.rear, [(0.24, 0.16, 0.76, 0.36)]), shade(colour, 0.5), inner=True),
        _lamps(hull.rear, _REAR_LAMP, 0.1, 0.34, 0.1),
        Face(patches(hull.rear, [(0.4, 0.05, 0.6, 0.12)]), _PLATE, inner=True),
    ]
    parts["front"] = [
        _tyres_below(hull.front, 0.11),
        Face(patches(hull.front, [(0.04, 0.32, 0.96, 0.82)]), GLASS, inner=True),
        Face(patches(hull.front, [(0.12, 0.86, 0.88, 0.97)]), (24, 24, 26), inner=True),
        Face(patches(hull.front, [(0.2, 0.885, 0.66, 0.945)]), board, inner=True),
        _lamps(hull.front, _HEAD_LAMP, 0.08, 0.2, 0.14),
    ]
    return Thing([Solid(walls(hull, colour, parts))], width / 2, half, top)


def train(rng: np.random.Generator) -> Thing:
    """A tram of two or three long pale cars with a coloured stripe, dark skirts and bogies."""
    colour, stripe = pick(rng, _TRAIN_COLOURS, 4), pick(rng, _STRIPES)
    count, length, top = int(rng.integers(2, 4)), rng.uniform(8.0, 9.5), rng.uniform(3.4, 3.7)
    solids = []
    for k in range(count):
        middle = (k - (count - 1) / 2) * (length + 0.5)
        solids.append(Solid(_tram_car(middle, length, top, colour, stripe), middle))
    return Thing(solids, 1.3, count * (length + 0.5) / 2, top)


def _tram_car(middle: float, length: float, top: float, colour: Colour, stripe: Colour) -> list[Panel]:
    rear, front = middle - length / 2, middle + length / 2
    skirt = box(2.3, 0.08, 0.6, rear + 0.2, front - 0.2)
    hull = box(2.55, 0.5, top, rear, front, 2.4, rear + 0.25, front - 0.25)
    parts: dict[str, list[Face]] = {}
    for name, quad in (("left", hull.left), ("right", hull.right)):
        parts[name] = [
            Face(patches(quad, [(0, 0.0, 1, 0.22), (0, 0.9, 1, 0.95)]), stripe, inner=True),
            Face(patches(quad, [(0.01, 0.42, 0.99, 0.84)]), (34, 40, 48), inner=True),
            Face(patches(quad, grid(6, 1, (0.9, 0.86), (0.02, 0.42, 0.98, 0.84))), GLASS, inner=True),
            Face(patches(quad, [(0.3, 0.04, 0.4, 0.84), (0.66, 0.04, 0.76, 0.84)]), shade(stripe, 0.75), inner=True),
        ]
    for name, quad, lamp in (("rear", hull.rear, _REAR_LAMP), ("front", hull.front, _HEAD_LAMP)):
        parts[name] = [
            Face(patches(quad, [(0, 0, 1, 0.2)]), stripe, inner=True),
            Face(patches(quad, [(0.1, 0.42, 0.9, 0.84)]), GLASS, inner=True),
            Face(patches(quad, [(0.3, 0.87, 0.7, 0.95)]), (240, 170, 40), inner=True),
            _lamps(quad, lamp, 0.24, 0.33, 0.12),
        ]
    return walls(skirt, (44, 44, 48)) + walls(hull, colour, parts)
