"""The sides of the street, plot by plot: houses, gardens behind walls and fences, parks."""

from __future__ import annotations

import numpy as np

from ignota.synthetic.canvas import Placed
from ignota.synthetic.furniture import bush, tree
from ignota.synthetic.shapes import (
    Colour,
    Face,
    Material,
    Panel,
    Solid,
    Thing,
    box,
    grid,
    patches,
    pick,
    shade,
    walls,
)
from ignota.taxonomy import CITYSCAPES

_FACADES: list[Colour] = [
    (204, 178, 146), (186, 142, 112), (224, 210, 186), (168, 120, 100), (158, 160, 158), (214, 190, 170),
    (176, 184, 186), (200, 160, 126), (146, 110, 96),
]  # fmt: skip
_PANES: list[Colour] = [(74, 88, 102), (94, 112, 126), (58, 66, 78)]
_ROOFS: list[Colour] = [(126, 70, 58), (94, 82, 78), (74, 76, 84)]
_AWNINGS: list[Colour] = [(176, 52, 48), (46, 96, 88), (60, 84, 140), (214, 160, 60)]
_WALLS: list[Colour] = [(150, 142, 150), (172, 162, 160), (160, 128, 116), (138, 138, 146)]
_FENCES: list[Colour] = [(236, 232, 224), (126, 92, 64), (70, 74, 76), (96, 120, 96), (180, 150, 120)]
_BUILDING, _WALL, _FENCE, _VEGETATION = (CITYSCAPES.id_of(n) for n in ("building", "wall", "fence", "vegetation"))


def building(rng: np.random.Generator, length: float, depth: float) -> Thing:
    """A house with rows of windows, shops on some ground floors, cornice or pitched roof."""
    storeys, storey = int(rng.integers(2, 7)), rng.uniform(2.9, 3.4)
    height, colour, pane = storeys * storey, pick(rng, _FACADES), pick(rng, _PANES)
    material = Material.BRICK if colour[0] - colour[2] > 44 else Material.PLASTER
    body = box(depth, 0.0, height, -length / 2, length / 2)
    columns = (max(int(length / 2.6), 1), max(int(depth / 2.6), 1))
    fill = (rng.uniform(0.4, 0.62), rng.uniform(0.5, 0.66))
    shop = rng.random() < 0.45
    awning = pick(rng, _AWNINGS)
    parts = {}
    for name, quad, count in (("left", body.left, columns[0]), ("right", body.right, columns[0]),
                              ("rear", body.rear, columns[1])):  # fmt: skip
        rows = storeys - 1 if shop else storeys
        windows = grid(count, rows, fill, (0.03, (storeys - rows) / storeys, 0.97, 0.985))
        frames = windows + np.array([-0.18 / length, -0.12 / height, 0.18 / length, 0.14 / height], np.float32)
        faces = [
            Face(patches(quad, frames), shade(colour, 1.14), inner=True),
            Face(patches(quad, windows), pane, inner=True),
            Face(patches(quad, [(0, 0.975, 1, 1), (0, 0, 1, 0.5 / height)]), shade(colour, 0.72), inner=True),
        ]
        if shop:
            panes = grid(max(count // 2, 1), 1, (0.86, 0.74), (0.02, 0.0, 0.98, 1.0 / storeys))
            faces.append(Face(patches(quad, panes), shade(pane, 0.72), inner=True))
            top = 1.0 / storeys
            faces.append(Face(patches(quad, [(0.02, top * 0.86, 0.98, top * 1.04)]), awning, inner=True))
        parts[name] = faces
    panels = walls(body, colour, parts, material)
    if storeys <= 4 and rng.random() < 0.6:
        roof = box(depth + 0.6, height, height + 2.6, -length / 2 - 0.2, length / 2 + 0.2, depth * 0.25,
                   -length / 2 + 0.8, length / 2 - 0.8)  # fmt: skip
        panels += walls(roof, pick(rng, _ROOFS), None, Material.BRICK)
    return Thing([Solid(panels)], depth / 2, length / 2, height)


def wall(rng: np.random.Generator, length: float) -> Thing:
    """A free-standing wall with a coping and piers."""
    height, colour = rng.uniform(1.3, 2.7), pick(rng, _WALLS)
    sides = box(0.4, 0.0, height, -length / 2, length / 2)
    piers = grid(max(int(length / 3), 1), 1, (0.1, 1.0), (0.0, 0.0, 1.0, 0.93))
    parts = {}
    for name, quad in (("left", sides.left), ("right", sides.right)):
        parts[name] = [
            Face(patches(quad, piers), shade(colour, 0.86), inner=True),
            Face(patches(quad, [(0, 0.92, 1, 1)]), shade(colour, 1.15), inner=True),
            Face(patches(quad, [(0, 0, 1, 0.08)]), shade(colour, 0.7), inner=True),
        ]
    return Thing([Solid(walls(sides, colour, parts, Material.STONE))], 0.2, length / 2, height)


def fence(rng: np.random.Generator, length: float) -> Thing:
    """Pickets or rails between posts; what lies behind shows through, the label covers it all."""
    height, colour = rng.uniform(1.0, 1.9), pick(rng, _FENCES)
    sides = box(0.06, 0.0, height, -length / 2, length / 2)
    count, width = int(length * rng.uniform(2.6, 4.0)), rng.uniform(0.4, 0.62)
    bars = grid(count, 1, (width, 0.92), (0.0, 0.02, 1.0, 0.98))
    if rng.random() < 0.35:
        bars = grid(1, 4, (1.0, 0.5), (0.0, 0.05, 1.0, 1.0))
    posts = grid(max(int(length / 2.2), 2), 1, (0.09, 1.04), (0.0, 0.0, 1.0, 1.0))
    panels = []
    for quad, normal in (
        (sides.left, (-1.0, 0.0, 0.0)),
        (sides.right, (1.0, 0.0, 0.0)),
        (sides.rear, (0.0, 0.0, -1.0)),
    ):
        faces = [Face(quad[None], None)]
        if normal[0]:
            faces += [
                Face(patches(quad, [(0, 0.2, 1, 0.28), (0, 0.74, 1, 0.82)]), shade(colour, 0.76), inner=True),
                Face(patches(quad, bars), colour, inner=True),
                Face(patches(quad, posts), shade(colour, 0.68)),
            ]
        panels.append(Panel(faces, normal))
    return Thing([Solid(panels)], 0.05, length / 2, height)


def plot(rng: np.random.Generator, side: float, edge: float, near: float, far: float) -> list[Placed]:
    """Everything on one plot, in painting order.

    side: +1 right, -1 left. edge: where the pavement ends, metres from the middle. near, far: the plot along z.
    """
    length, middle = far - near, (near + far) / 2
    garden = float(rng.choice([0.0, 0.0, 1.5, 3.5, 5.0]))
    placed: list[Placed] = []
    open_land = rng.random() < 0.3
    if not open_land:
        depth = rng.uniform(8.0, 13.0)
        house = building(rng, length - rng.choice([0.0, 0.0, 1.5]), depth)
        placed.append(Placed(house, _BUILDING, side * (edge + garden + 0.2 + depth / 2), middle))
    else:
        garden = 12.0
    placed += _planting(rng, side, edge, near, far, garden, open_land)
    if garden > 0:
        border = rng.random()
        at = side * (edge + 0.25)
        if border < 0.36:
            placed.append(Placed(wall(rng, length), _WALL, at, middle))
        elif border < 0.74:
            placed.append(Placed(fence(rng, length), _FENCE, at, middle))
    return placed


def _planting(
    rng: np.random.Generator, side: float, edge: float, near: float, far: float, garden: float, many: bool
) -> list[Placed]:
    if garden < 1.0:
        return []
    spots = []
    for _ in range(int(rng.integers(3, 6)) if many else int(rng.integers(1, 4))):
        at = edge + 0.8 + rng.uniform(0.0, max(garden - 1.2, 0.1))
        z = max(rng.uniform(near + 0.5, far - 0.5), 5.0)
        if at > 1.1 * z + 2.0:  # beside the picture
            continue
        spots.append((z, at, rng.random() < (0.6 if many else 0.35)))
    spots.sort(key=lambda spot: -spot[0])
    return [Placed(tree(rng) if tall else bush(rng), _VEGETATION, side * at, z) for z, at, tall in spots]
