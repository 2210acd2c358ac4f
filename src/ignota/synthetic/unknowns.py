"""Objects that no class covers, made of parts, some of which (tyres, planks, glass) are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ignota.synthetic.animals import bird, cow, deer, dog, elephant, horse, sheep
from ignota.synthetic.shapes import (
    RIM,
    TYRE,
    Colour,
    Face,
    Material,
    Solid,
    Thing,
    blob,
    box,
    ellipse,
    flat_thing,
    grid,
    limb,
    outline,
    patches,
    pick,
    ring,
    shade,
    walls,
    wheels,
)

_WOODS: list[Colour] = [(176, 132, 82), (150, 108, 66), (200, 162, 108)]
_BRIGHT: list[Colour] = [(214, 60, 60), (50, 110, 190), (240, 180, 40), (70, 160, 100), (170, 80, 160), (240, 120, 50)]


def crate(rng: np.random.Generator) -> Thing:
    """One to three wooden boxes or cartons on top of one another."""
    solids, low = [], 0.0
    for _ in range(int(rng.integers(1, 4))):
        colour, size = pick(rng, _WOODS), rng.uniform(0.6, 1.0)
        sides = box(size, low, low + size * 0.85, -size / 2, size / 2)
        planks = [(0.0, k / 4 - 0.02, 1.0, k / 4 + 0.02) for k in range(1, 4)] + [(0, 0, 0.1, 1), (0.9, 0, 1, 1)]
        parts = {
            name: [Face(patches(quad, [p]), shade(colour, 0.68), inner=True) for p in planks]
            for name, quad in (("left", sides.left), ("right", sides.right), ("rear", sides.rear))
        }
        solids.append(Solid(walls(sides, colour, parts, Material.WOOD)))
        low += size * 0.85
    return Thing(solids, 0.5, 0.5, low)


def tyres(rng: np.random.Generator) -> Thing:
    """Loose tyres: a lying stack, or one upright like the wheel of a car."""
    faces: list[Face] = []
    if rng.random() < 0.4:
        return flat_thing(wheels([0.0], 0.42), 0.42, 0.84)
    count = int(rng.integers(2, 5))
    for k in range(count):
        x, y = rng.uniform(-0.06, 0.06), 0.12 + 0.22 * k
        faces.append(Face(outline((x - 0.5, y - 0.1), (x + 0.5, y - 0.1), (x + 0.54, y), (x + 0.5, y + 0.1),
                                  (x - 0.5, y + 0.1), (x - 0.54, y)), shade(TYRE, 1.0 + 0.5 * (k % 2))))  # fmt: skip
    top = 0.12 + 0.22 * count - 0.1
    faces.append(Face(ellipse(0, top, 0.48, 0.12), shade(TYRE, 1.7)))
    faces.append(Face(ellipse(0, top, 0.27, 0.06), (12, 12, 14), inner=True))
    return flat_thing(faces, 0.55, top + 0.1)


def cone(rng: np.random.Generator) -> Thing:
    """One to three traffic cones."""
    faces, count = [], int(rng.integers(1, 4))
    for k in range(count):
        x, s = (k - (count - 1) / 2) * 0.75, rng.uniform(0.9, 1.15)
        faces += [
            Face(outline((x - 0.28, 0), (x + 0.28, 0), (x + 0.25, 0.07), (x - 0.25, 0.07)), (190, 70, 30)),
            Face(outline((x - 0.2, 0.06), (x + 0.2, 0.06), (x + 0.04, 0.8 * s), (x - 0.04, 0.8 * s)), (240, 98, 36)),
            Face(outline((x - 0.145, 0.26 * s), (x + 0.145, 0.26 * s), (x + 0.11, 0.42 * s), (x - 0.11, 0.42 * s)),
                 (244, 242, 238), inner=True),
        ]  # fmt: skip
    return flat_thing(faces, 0.35 * count, 0.9)


def sofa(rng: np.random.Generator) -> Thing:
    """A sofa: seat, back, arms and cushions."""
    colour, width = pick(rng, _BRIGHT), rng.uniform(1.5, 2.2)
    cloth = Material.CLOTH
    base = box(width, 0.12, 0.5, -0.45, 0.4)
    back = box(width, 0.3, 1.0, 0.15, 0.45, top_rear=0.28)
    left = box(0.24, 0.12, 0.7, -0.45, 0.4)
    shift = np.array([width / 2 - 0.06, 0, 0], np.float32)
    arms = [type(left)(*(quad + sign * shift for quad in left)) for sign in (-1, 1)]
    cushions = [
        Face(patches(back.rear, grid(2, 1, (0.94, 0.8), (0.08, 0.2, 0.92, 1.0))), shade(colour, 1.15), cloth, True)
    ]
    panels = walls(back, shade(colour, 0.92), {"rear": cushions}, cloth) + walls(base, colour, None, cloth)
    for arm in arms:
        panels += walls(arm, shade(colour, 0.85), None, cloth)
    return Thing([Solid(panels)], width / 2 + 0.1, 0.5, 1.0)


def rock(rng: np.random.Generator) -> Thing:
    """A boulder or a few stones."""
    colour, faces = pick(rng, [(134, 126, 118), (112, 110, 112), (150, 134, 114)]), []
    for _ in range(int(rng.integers(1, 4))):
        x, half = rng.uniform(-0.7, 0.7), rng.uniform(0.4, 0.9)
        tall = half * rng.uniform(0.6, 0.9)
        faces.append(Face(blob(rng, x, tall * 0.75, half, tall * 0.8, 0.18), shade(colour, 0.8), Material.STONE))
        faces.append(Face(blob(rng, x - 0.1 * half, tall, half * 0.62, tall * 0.4, 0.25), shade(colour, 1.12),
                          Material.STONE))  # fmt: skip
    return flat_thing(faces, 1.0, 1.2)


def boat(rng: np.random.Generator) -> Thing:
    """A boat on dry land: hull, stripe, cabin, mast."""
    colour, s = pick(rng, [(240, 238, 232), *_BRIGHT]), rng.uniform(0.85, 1.3)
    hull = [(-1.7, 0.85), (-1.4, 0.12), (1.1, 0.12), (2.1, 1.0), (1.2, 0.9)]
    keel = [(-1.53, 0.42), (-1.4, 0.12), (1.1, 0.12), (1.42, 0.42)]
    faces = [
        Face(limb((0.2, 0.8), (0.25, 3.0), 0.09, 0.05), (150, 110, 70), Material.WOOD),
        Face(outline((-1.0, 0.85), (0.6, 0.85), (0.4, 1.5), (-0.9, 1.5)), (236, 232, 224)),
        Face(outline((-0.75, 1.02), (0.3, 1.02), (0.24, 1.36), (-0.7, 1.36)), (60, 76, 92), inner=True),
        Face(outline(*hull), colour),
        Face(outline(*keel), shade(pick(rng, _BRIGHT), 0.8), inner=True),
        Face(limb((-1.66, 0.78), (1.3, 0.84), 0.1), shade(colour, 0.7), inner=True),
    ]
    faces = [f._replace(points=f.points * np.float32(s)) for f in faces]
    return flat_thing(faces, 1.9 * s, 1.6 * s)


def barrel(rng: np.random.Generator) -> Thing:
    """Drums side by side with hoops."""
    faces, count = [], int(rng.integers(1, 4))
    for k in range(count):
        colour, x = pick(rng, _BRIGHT), (k - (count - 1) / 2) * 0.72
        faces.append(Face(outline((x - 0.32, 0), (x + 0.32, 0), (x + 0.35, 0.5), (x + 0.32, 1.0), (x - 0.32, 1.0),
                                  (x - 0.35, 0.5)), colour))  # fmt: skip
        faces.append(Face(outline((x + 0.12, 0), (x + 0.32, 0), (x + 0.35, 0.5), (x + 0.32, 1.0), (x + 0.12, 1.0)),
                          shade(colour, 0.75), inner=True))  # fmt: skip
        faces += [Face(limb((x - 0.33, y), (x + 0.33, y), 0.06), shade(colour, 0.5), inner=True) for y in (0.3, 0.7)]
        faces.append(Face(ellipse(x, 1.0, 0.32, 0.07), shade(colour, 1.2)))
    return flat_thing(faces, 0.36 * count, 1.05)


def ladder(rng: np.random.Generator) -> Thing:
    """A stepladder; the label leaves the gaps between its rungs out."""
    colour, tall = pick(rng, [(190, 194, 198), (226, 180, 60), (176, 132, 82)]), rng.uniform(1.5, 2.3)
    rails = [
        ((-0.5, 0.0), (-0.14, tall)),
        ((0.5, 0.0), (0.14, tall)),
        ((-0.8, 0.0), (-0.1, tall)),
        ((0.85, 0), (0.1, tall)),
    ]
    faces = [Face(limb(a, b, 0.11, 0.09), shade(colour, 0.75 if k > 1 else 1.0)) for k, (a, b) in enumerate(rails)][
        ::-1
    ]
    for k in range(1, 7):
        half = 0.5 - 0.36 * k / 7
        faces.append(Face(limb((-half, tall * k / 7), (half, tall * k / 7), 0.1), shade(colour, 0.9)))
    return flat_thing(faces, 0.8, tall)


def branch(rng: np.random.Generator) -> Thing:
    """A fallen branch, twigs and some leaves across the road."""
    bark, leaf = (104, 80, 58), pick(rng, [(110, 120, 50), (150, 120, 50), (80, 104, 52)])
    length = rng.uniform(1.3, 2.2)
    faces = [Face(limb((-length, 0.16), (length * 0.7, 0.3), 0.3, 0.14), bark, Material.WOOD)]
    for _ in range(6):
        x, rise = rng.uniform(-0.4, 0.9) * length, rng.uniform(0.4, 1.0)
        tip = (x + rng.uniform(0.2, 0.7), 0.25 + rise)
        faces.append(Face(limb((x, 0.25), tip, 0.12, 0.04), shade(bark, 0.85), Material.WOOD))
        if rng.random() < 0.6:
            faces.append(Face(blob(rng, *tip, 0.3, 0.22, 0.3), leaf, Material.LEAVES))
    return flat_thing(faces, length, 1.1)


def ball(rng: np.random.Generator) -> Thing:
    """A large beach ball."""
    colour, r = pick(rng, _BRIGHT), rng.uniform(0.4, 0.75)
    faces = [
        Face(ellipse(0, r, r, r), colour),
        Face(ellipse(0, r, r * 0.62, r), (240, 238, 234), inner=True),
        Face(ellipse(0, r, r * 0.26, r), pick(rng, _BRIGHT), inner=True),
        Face(ellipse(-r * 0.34, r * 1.42, r * 0.2, r * 0.14), (255, 255, 250), inner=True),
    ]
    return flat_thing(faces, r, 2 * r)


def trolley(rng: np.random.Generator) -> Thing:
    """A shopping trolley: a wire basket on small wheels."""
    colour = pick(rng, [(170, 174, 180), (190, 60, 50), (60, 110, 170)])
    basket = [(-0.5, 0.95), (-0.38, 0.45), (0.42, 0.5), (0.55, 1.05)]
    faces = [Face(outline(*basket), shade(colour, 0.5))]
    for k in range(6):
        t = k / 5
        faces.append(Face(limb((-0.5 + 1.05 * t, 0.96 + 0.1 * t), (-0.38 + 0.8 * t, 0.46), 0.04), colour))
    for k in range(4):
        start, end = (-0.48 + 0.03 * k, 0.88 - 0.14 * k), (0.53 - 0.03 * k, 0.95 - 0.14 * k)
        faces.append(Face(limb(start, end, 0.035), colour))
    faces += [
        Face(limb((-0.5, 0.95), (-0.72, 1.1), 0.06), colour),
        Face(limb((-0.38, 0.46), (-0.42, 0.14), 0.06), colour),
        Face(limb((0.42, 0.5), (0.4, 0.14), 0.06), colour),
        Face(limb((-0.42, 0.2), (0.42, 0.2), 0.06), colour),
    ]
    for x in (-0.42, 0.42):
        faces += [Face(ring(x, 0.09, 0.09, 0.04), TYRE), Face(ellipse(x, 0.09, 0.04, 0.04), RIM)]
    return flat_thing(faces, 0.65, 1.1)


def tent(rng: np.random.Generator) -> Thing:
    """A ridge tent with an open door."""
    colour, half = pick(rng, _BRIGHT), rng.uniform(0.9, 1.4)
    tall = half * rng.uniform(1.0, 1.25)
    faces = [
        Face(outline((-half, 0), (half, 0), (0.0, tall)), colour, Material.CLOTH),
        Face(outline((half * 0.1, tall * 0.97), (half, 0), (half * 1.7, 0.1), (half * 0.9, tall * 0.94)),
             shade(colour, 0.72), Material.CLOTH),
        Face(outline((-half * 0.3, 0), (half * 0.3, 0), (0.0, tall * 0.7)), shade(colour, 0.3), Material.CLOTH, True),
        Face(limb((0, tall), (half * 0.95, tall * 0.95), 0.06), shade(colour, 1.2), Material.CLOTH),
    ]  # fmt: skip
    return flat_thing(faces, half * 1.3, tall)


def fridge(rng: np.random.Generator) -> Thing:
    """A refrigerator or a washing machine left on the street."""
    colour, tall = pick(rng, [(236, 236, 232), (190, 194, 198), (150, 60, 56)]), rng.uniform(0.9, 1.8)
    sides = box(0.7, 0.0, tall, -0.33, 0.33)
    parts = {
        "rear": [
            Face(patches(sides.rear, [(0.0, 0.62, 1.0, 0.635), (0.86, 0.3, 0.92, 0.55)]), (90, 92, 96), inner=True)
        ]
    }
    if tall < 1.2:
        door = ellipse(0, tall * 0.45, 0.24, 0.24)
        glass = ellipse(0, tall * 0.45, 0.17, 0.17)
        for points in (door, glass):
            points[..., 2] = -0.33
        parts["rear"] = [Face(door, (150, 152, 156), inner=True), Face(glass, (44, 54, 66), inner=True)]
    return Thing([Solid(walls(sides, colour, parts))], 0.36, 0.36, tall)


UNKNOWNS: dict[str, Callable[[np.random.Generator], Thing]] = {
    "horse": horse,
    "cow": cow,
    "dog": dog,
    "sheep": sheep,
    "elephant": elephant,
    "deer": deer,
    "bird": bird,
    "crate": crate,
    "tyres": tyres,
    "cone": cone,
    "sofa": sofa,
    "rock": rock,
    "boat": boat,
    "barrel": barrel,
    "ladder": ladder,
    "branch": branch,
    "ball": ball,
    "trolley": trolley,
    "tent": tent,
    "fridge": fridge,
}
"""Every kind of unknown thing by name."""
