"""Street furniture: lamp posts, traffic lights, signs, trees and bushes."""

from __future__ import annotations

import numpy as np

from ignota.synthetic.shapes import (
    Colour,
    Face,
    Material,
    Thing,
    blob,
    ellipse,
    flat_thing,
    limb,
    outline,
    pick,
    shade,
)

_METAL: list[Colour] = [(128, 132, 136), (96, 100, 104), (150, 152, 150), (70, 84, 80)]
_LEAVES: list[Colour] = [(74, 112, 48), (92, 124, 50), (58, 98, 52), (110, 128, 52), (84, 116, 66)]
_BLUE, _RED, _WHITE, _YELLOW = (30, 84, 168), (200, 32, 36), (242, 242, 238), (246, 196, 30)


def lamp_post(rng: np.random.Generator, height: float, side: float) -> Thing:
    """A street lamp or a bare mast, its arm over the road (side: +1 to the right, -1 to the left)."""
    colour, reach = pick(rng, _METAL), rng.uniform(0.9, 1.8) * side
    faces = [
        Face(limb((0, 0), (0, height), 0.18, 0.11), colour),
        Face(limb((0, 0), (0, 0.9), 0.25, 0.23), shade(colour, 0.85)),
        Face(limb((0, height - 0.1), (reach, height + 0.25), 0.11, 0.09), colour),
        Face(limb((reach * 0.85, height + 0.22), (reach * 1.4, height + 0.3), 0.2, 0.14), shade(colour, 1.2)),
    ]
    return flat_thing(faces, 0.3, height)


def mast(rng: np.random.Generator, height: float) -> Thing:
    """The pole under a traffic light or a sign."""
    return flat_thing([Face(limb((0, 0), (0, height), 0.15, 0.13), pick(rng, _METAL))], 0.2, height)


def traffic_light(rng: np.random.Generator) -> Thing:
    """A dark housing with a rim and three lamps, one of them lit."""
    lit, s = int(rng.integers(3)), rng.uniform(1.05, 1.3)
    housing = outline((-0.21 * s, 0), (0.21 * s, 0), (0.21 * s, 1.1 * s), (-0.21 * s, 1.1 * s))
    inner = outline((-0.16 * s, 0.05), (0.16 * s, 0.05), (0.16 * s, 1.1 * s - 0.05), (-0.16 * s, 1.1 * s - 0.05))
    rim = (226, 200, 60) if rng.random() < 0.4 else (66, 70, 70)
    faces = [Face(housing, rim), Face(inner, (24, 28, 28), inner=True)]
    for k, colour in enumerate([(50, 230, 130), (255, 190, 40), (255, 50, 40)]):
        shown = colour if k == lit else shade(colour, 0.28)
        faces.append(Face(ellipse(0, (0.2 + 0.35 * k) * s, 0.13 * s, 0.13 * s), shown, inner=True))
    return flat_thing(faces, 0.25, 1.1 * s)


def traffic_sign(rng: np.random.Generator) -> Thing:
    """A round, triangular, square, octagonal or long sign; its origin is its lower edge."""
    s, kind = rng.uniform(0.85, 1.15), int(rng.integers(6))
    if kind == 0:
        faces = _disc(s, _RED, _WHITE)
        faces.append(Face(limb((-0.16 * s, 0.42 * s), (0.16 * s, 0.42 * s), 0.12 * s), (40, 40, 44), inner=True))
    elif kind == 1:
        faces = _disc(s, _BLUE, _BLUE)
        faces.append(Face(limb((0, 0.2 * s), (0, 0.62 * s), 0.1 * s, 0.2 * s), _WHITE, inner=True))
    elif kind == 2:
        faces = [
            Face(outline((-0.5 * s, 0), (0.5 * s, 0), (0, 0.88 * s)), _RED),
            Face(outline((-0.33 * s, 0.1 * s), (0.33 * s, 0.1 * s), (0, 0.68 * s)), _WHITE, inner=True),
            Face(limb((0, 0.18 * s), (0, 0.46 * s), 0.07 * s), (30, 30, 32), inner=True),
        ]
    elif kind == 3:
        faces = [
            Face(outline((-0.46 * s, 0.46 * s), (0, 0), (0.46 * s, 0.46 * s), (0, 0.92 * s)), _WHITE),
            Face(
                outline((-0.35 * s, 0.46 * s), (0, 0.11 * s), (0.35 * s, 0.46 * s), (0, 0.81 * s)), _YELLOW, inner=True
            ),
        ]
    elif kind == 4:
        a, b = 0.19 * s, 0.46 * s
        corners = [(-a, 0), (a, 0), (b, b - a), (b, b + a), (a, 2 * b), (-a, 2 * b), (-b, b + a), (-b, b - a)]
        faces = [Face(outline(*corners), _RED)]
        faces.append(Face(limb((-0.26 * s, b), (0.26 * s, b), 0.16 * s), _WHITE, inner=True))
    else:
        w = rng.uniform(0.45, 0.8) * s
        faces = [Face(outline((-w, 0), (w, 0), (w, 0.75 * s), (-w, 0.75 * s)), _BLUE)]
        faces += [Face(limb((-w * 0.7, y * s), (w * 0.5, y * s), 0.1 * s), _WHITE, inner=True) for y in (0.22, 0.5)]
    return flat_thing(faces, 0.5, 0.95 * s)


def _disc(s: float, rim: Colour, fill: Colour) -> list[Face]:
    return [
        Face(ellipse(0, 0.42 * s, 0.43 * s, 0.43 * s), rim),
        Face(ellipse(0, 0.42 * s, 0.32 * s, 0.32 * s), fill, inner=True),
    ]


def tree(rng: np.random.Generator) -> Thing:
    """A broad-leaved tree or a conifer; trunk and crown are both vegetation."""
    height, colour = rng.uniform(4.0, 8.5), pick(rng, _LEAVES, 12)
    trunk = (86, 68, 52)
    if rng.random() < 0.2:
        return _conifer(rng, height, shade(colour, 0.75), trunk)
    crown, spread = height * 0.66, height * rng.uniform(0.26, 0.34)
    faces = [
        Face(limb((0, 0), (0, crown), height * 0.05, height * 0.03), trunk, Material.WOOD),
        Face(limb((0, height * 0.36), (spread * 0.5, crown), height * 0.03, 0.05), trunk, Material.WOOD),
        Face(blob(rng, 0, crown, spread, height * 0.3), shade(colour, 0.72), Material.LEAVES),
    ]
    for k in range(5):
        x, y = rng.uniform(-0.55, 0.55) * spread, crown + rng.uniform(-0.14, 0.16) * height
        size = spread * rng.uniform(0.34, 0.55)
        light = shade(colour, 0.86 + 0.09 * k)
        faces.append(Face(blob(rng, x, y, size, size * 0.8, 0.2), light, Material.LEAVES))
    return flat_thing(faces, spread * 0.7, height, spread * 0.5)


def _conifer(rng: np.random.Generator, height: float, colour: Colour, trunk: Colour) -> Thing:
    faces = [Face(limb((0, 0), (0, height * 0.4), height * 0.05), trunk, Material.WOOD)]
    for k in range(4):
        low, half = height * (0.14 + 0.2 * k), height * (0.24 - 0.05 * k)
        tip = low + height * 0.32
        points = [(-half, low), (-half * 0.4, low + 0.12), (0, low - 0.08), (half * 0.45, low + 0.1), (half, low)]
        faces.append(Face(outline(*points, (0.0, tip)), shade(colour, 0.8 + 0.11 * k), Material.LEAVES))
    return flat_thing(faces, height * 0.2, height * 1.05)


def bush(rng: np.random.Generator) -> Thing:
    """A low round shrub, now and then in flower."""
    height, colour = rng.uniform(0.8, 1.8), pick(rng, _LEAVES, 12)
    half = height * rng.uniform(0.7, 1.1)
    faces = [Face(blob(rng, 0, height * 0.45, half, height * 0.5), shade(colour, 0.74), Material.LEAVES)]
    for k in range(3):
        x, y = rng.uniform(-0.5, 0.5) * half, height * rng.uniform(0.4, 0.65)
        faces.append(
            Face(blob(rng, x, y, half * 0.45, height * 0.3, 0.2), shade(colour, 0.9 + 0.1 * k), Material.LEAVES)
        )
    return flat_thing(faces, half, height, half * 0.5)
