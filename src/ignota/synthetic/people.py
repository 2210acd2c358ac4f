"""Persons, riders and their vehicles, as upright cut-outs made of parts."""

from __future__ import annotations

import math

import numpy as np

from ignota.synthetic.shapes import (
    TYRE,
    Colour,
    Face,
    Material,
    Thing,
    ellipse,
    flat_thing,
    limb,
    outline,
    pick,
    ring,
    shade,
    wheels,
)

_SKIN: list[Colour] = [(226, 182, 152), (196, 146, 112), (150, 104, 74), (104, 70, 50)]
_HAIR: list[Colour] = [(40, 30, 26), (84, 56, 36), (160, 122, 70), (120, 120, 120)]
_TOPS: list[Colour] = [
    (190, 60, 60), (60, 90, 150), (220, 214, 200), (70, 110, 80), (230, 170, 70), (60, 60, 66), (140, 90, 140),
    (100, 150, 170),
]  # fmt: skip
_TROUSERS: list[Colour] = [(44, 52, 80), (60, 60, 64), (110, 96, 78), (36, 36, 40), (90, 100, 120)]
_FRAMES: list[Colour] = [(30, 120, 150), (190, 50, 40), (50, 50, 54), (220, 220, 215), (60, 130, 70)]
_MOTOR: list[Colour] = [(180, 30, 30), (30, 60, 150), (40, 40, 44), (230, 120, 20)]
_HELMETS: list[Colour] = [(235, 235, 235), (200, 40, 40), (40, 44, 50), (240, 190, 40)]


def _head(x: float, y: float, skin: Colour, hair: Colour, s: float) -> list[Face]:
    return [
        Face(ellipse(x, y + 0.02 * s, 0.125 * s, 0.15 * s), hair, Material.CLOTH),
        Face(ellipse(x, y - 0.03 * s, 0.1 * s, 0.115 * s), skin, inner=True),
    ]


def person(rng: np.random.Generator) -> Thing:
    """Somebody walking or standing: legs, coat or shirt, arms, head; some carry a bag or wear a skirt."""
    s = rng.uniform(0.9, 1.1) * (0.7 if rng.random() < 0.1 else 1.0)
    skin, hair, top, legs = pick(rng, _SKIN), pick(rng, _HAIR), pick(rng, _TOPS), pick(rng, _TROUSERS)
    stride, swing = rng.uniform(0.0, 0.26) * s, rng.uniform(-0.2, 0.25) * s
    hip, shoulder = 0.88 * s, 1.42 * s
    cloth = Material.CLOTH
    faces = [
        Face(limb((0.07 * s, hip), (0.08 * s + stride, 0.08 * s), 0.19 * s, 0.12 * s), shade(legs, 0.82), cloth),
        Face(limb((0.06 * s + stride, 0.04 * s), (0.2 * s + stride, 0.04 * s), 0.09 * s), (34, 30, 30)),
        Face(limb((-0.07 * s, hip), (-0.08 * s - stride, 0.08 * s), 0.19 * s, 0.12 * s), legs, cloth),
        Face(limb((-0.1 * s - stride, 0.04 * s), (0.04 * s - stride, 0.04 * s), 0.09 * s), (34, 30, 30)),
        Face(limb((0.2 * s, shoulder - 0.06 * s), (0.25 * s + swing, 0.86 * s), 0.12 * s, 0.09 * s),
             shade(top, 0.78), cloth),
    ]  # fmt: skip
    coat = 0.55 if rng.random() < 0.3 else 0.8
    body = outline((-0.19 * s, coat * s), (0.19 * s, coat * s), (0.17 * s, 1.1 * s), (0.23 * s, shoulder),
                   (0.08 * s, 1.5 * s), (-0.08 * s, 1.5 * s), (-0.23 * s, shoulder), (-0.17 * s, 1.1 * s))  # fmt: skip
    faces += [
        Face(body, top, cloth),
        Face(limb((-0.21 * s, shoulder - 0.06 * s), (-0.25 * s - swing, 0.86 * s), 0.12 * s, 0.09 * s),
             shade(top, 0.88), cloth),
        Face(ellipse(-0.25 * s - swing, 0.82 * s, 0.05 * s, 0.06 * s), skin),
        *_head(0.0, 1.63 * s, skin, hair, s),
    ]  # fmt: skip
    if rng.random() < 0.3:
        faces.append(Face(outline((-0.42 * s - swing, 0.5 * s), (-0.12 * s - swing, 0.5 * s),
                                  (-0.14 * s - swing, 0.78 * s), (-0.4 * s - swing, 0.78 * s)),
                          pick(rng, _TOPS), cloth))  # fmt: skip
    return flat_thing(faces, 0.4, 1.8 * s)


def _spokes(x: float, radius: float) -> list[Face]:
    spokes = []
    for k in range(4):
        a = math.pi * k / 4 + 0.3
        dx, dy = math.cos(a) * radius * 0.9, math.sin(a) * radius * 0.9
        spokes.append(
            Face(limb((x - dx, radius - dy), (x + dx, radius + dy), 0.012), (150, 152, 156), inner=True, detail=0.02)
        )
    return spokes


def bicycle(rng: np.random.Generator) -> Thing:
    """Two ringed wheels, a diamond frame, saddle and handlebar; the label covers the wheels' inside."""
    colour, radius, base = pick(rng, _FRAMES), rng.uniform(0.33, 0.36), 0.54
    faces = []
    for x in (-base, base):
        faces += [
            Face(ellipse(x, radius, radius, radius), None),
            Face(ring(x, radius, radius, radius * 0.82), TYRE, inner=True),
            *_spokes(x, radius),
        ]
    seat, crank, head = (-0.2, 0.78), (-0.02, 0.32), (0.38, 0.82)
    bars = [(seat, crank), (crank, head), (seat, head), (seat, (-base, radius)), ((-base, radius), crank),
            (head, (base, radius))]  # fmt: skip
    faces += [Face(limb(a, b, 0.062), colour) for a, b in bars]
    faces += [
        Face(limb((-0.36, 0.9), (-0.08, 0.9), 0.09), (36, 34, 34)),
        Face(limb((-0.22, 0.9), seat, 0.05), colour),
        Face(limb(head, (0.36, 1.02), 0.05), colour),
        Face(limb((0.28, 1.03), (0.5, 1.0), 0.06), (36, 34, 34)),
        Face(ellipse(-0.02, 0.32, 0.09, 0.09), (60, 60, 64)),
    ]
    return flat_thing(faces, 0.9, 1.08)


def motorcycle(rng: np.random.Generator) -> Thing:
    """Two fat wheels shared with cars, an engine, a tank, a seat, a lamp and an exhaust."""
    colour, radius, base = pick(rng, _MOTOR), rng.uniform(0.31, 0.35), 0.7
    faces = wheels([-base, base], radius)
    faces += [
        Face(limb((0.48, 0.95), (base, radius), 0.09), (150, 152, 158)),
        Face(outline((-0.5, 0.34), (0.42, 0.3), (0.5, 0.62), (-0.42, 0.66)), (58, 58, 64)),
        Face(ellipse(0.05, 0.46, 0.19, 0.17), (140, 142, 148), inner=True),
        Face(limb((-0.1, 0.28), (-0.98, 0.36), 0.12), (172, 174, 180)),
        Face(outline((-0.02, 0.66), (0.46, 0.66), (0.52, 0.9), (0.2, 0.98), (0.0, 0.86)), colour),
        Face(outline((-0.98, 0.84), (-0.7, 0.64), (0.02, 0.66), (0.02, 0.86), (-0.5, 0.82), (-0.9, 0.96)),
             (34, 32, 34)),
        Face(outline((-0.98, 0.66), (-0.55, 0.58), (-0.4, 0.7), (-0.9, 0.84)), colour),
        Face(outline((0.42, 0.62), (0.74, 0.78), (0.7, 1.1), (0.5, 1.02)), colour),
        Face(ellipse(0.7, 0.86, 0.09, 0.1), (250, 244, 215)),
        Face(limb((0.34, 1.08), (0.56, 1.04), 0.07), (36, 34, 34)),
        Face(ellipse(-0.96, 0.82, 0.06, 0.06), (205, 32, 30)),
    ]  # fmt: skip
    return flat_thing(faces, 1.05, 1.15)


def rider(rng: np.random.Generator, motor: bool) -> Thing:
    """Somebody seated on a bicycle or (helmet, leather) a motorcycle, leaning forward."""
    skin, top, legs = pick(rng, _SKIN), pick(rng, _TOPS), pick(rng, _TROUSERS)
    hip, shoulder = ((-0.3, 0.9), (0.06, 1.42)) if motor else ((-0.22, 0.98), (0.08, 1.48))
    hand, foot = ((0.44, 1.06), (0.02, 0.3)) if motor else ((0.4, 1.06), (0.02, 0.24))
    knee = (0.26, 0.78) if motor else (0.18, 0.66)
    cloth = Material.CLOTH
    faces = [
        Face(limb(hip, knee, 0.2, 0.15), legs, cloth),
        Face(limb(knee, foot, 0.15, 0.1), shade(legs, 0.9), cloth),
        Face(limb((foot[0] - 0.04, foot[1]), (foot[0] + 0.12, foot[1] - 0.02), 0.09), (34, 30, 30)),
        Face(limb((hip[0], hip[1] - 0.02), shoulder, 0.36, 0.4), top, cloth),
        Face(limb((shoulder[0] + 0.02, shoulder[1] - 0.04), (0.3, 1.16), 0.14, 0.11), shade(top, 0.8), cloth),
        Face(limb((0.3, 1.16), hand, 0.11, 0.08), shade(top, 0.8), cloth),
        Face(ellipse(*hand, 0.05, 0.05), skin),
    ]
    head = (shoulder[0] + 0.1, shoulder[1] + 0.26)
    if motor or rng.random() < 0.5:
        helmet = pick(rng, _HELMETS)
        faces.append(Face(ellipse(*head, 0.155, 0.165), helmet))
        visor = (40, 46, 54) if motor else skin
        faces.append(Face(ellipse(head[0] + 0.07, head[1] - 0.03, 0.075, 0.07), visor, inner=True))
    else:
        faces += _head(*head, skin, pick(rng, _HAIR), 1.0)
    return flat_thing(faces, 0.5, head[1] + 0.17)
