"""Animals with several body plans; they belong to none of the nineteen classes."""

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

_FUR = Material.FUR
_BROWN: list[Colour] = [(126, 84, 50), (92, 62, 42), (164, 118, 74), (70, 54, 46), (190, 160, 120)]
_COWS: list[Colour] = [(232, 228, 220), (120, 74, 48), (50, 44, 42), (206, 170, 130)]
_DOGS: list[Colour] = [(200, 156, 96), (60, 52, 48), (226, 216, 200), (140, 96, 60)]
_GREYS: list[Colour] = [(124, 118, 116), (146, 138, 134), (104, 100, 102)]


def _legs(length: float, high: float, thick: float, colour: Colour, sway: float) -> list[Face]:
    """Four legs, the far pair darker."""
    faces = []
    for x, step, dark in ((-0.4, 0.6, 0.72), (0.42, -0.6, 0.72), (-0.46, -0.5, 1.0), (0.38, 0.7, 1.0)):
        start, foot = (x * length, high), (x * length + step * sway, 0.03)
        faces.append(Face(limb(start, foot, thick * 1.5, thick * 0.8), shade(colour, dark), _FUR))
    return faces


def _trunk(length: float, low: float, high: float, colour: Colour) -> list[Face]:
    """The body from rump to chest with a lighter back and a darker belly."""
    middle, half = (low + high) / 2, length / 2
    hull = outline(
        (-half, middle), (-half * 0.94, low + 0.2 * (high - low)), (-half * 0.5, low), (half * 0.5, low),
        (half * 0.95, low + 0.25 * (high - low)), (half, middle), (half * 0.9, high), (half * 0.2, high * 0.98),
        (-half * 0.5, high), (-half * 0.9, high * 0.97),
    )  # fmt: skip
    belly = outline((-half * 0.8, low + 0.22 * (high - low)), (-half * 0.5, low), (half * 0.5, low),
                    (half * 0.85, low + 0.22 * (high - low)))  # fmt: skip
    return [Face(hull, colour, _FUR), Face(belly, shade(colour, 0.78), _FUR, inner=True)]


def _head(x: float, y: float, size: float, muzzle: float, colour: Colour, ears: float) -> list[Face]:
    return [
        Face(limb((x - size * 0.3, y + size * 0.4), (x - size * 0.5, y + size * (0.4 + ears)), size * 0.4, 0.02),
             shade(colour, 0.8), _FUR),
        Face(ellipse(x, y, size * 0.62, size * 0.5), colour, _FUR),
        Face(limb((x, y - size * 0.05), (x + muzzle, y - size * 0.35), size * 0.72, size * 0.46), colour, _FUR),
        Face(ellipse(x + muzzle, y - size * 0.36, size * 0.16, size * 0.2), shade(colour, 0.45), _FUR),
        Face(ellipse(x + size * 0.12, y + size * 0.12, size * 0.09, size * 0.1), (20, 18, 18), inner=True),
    ]  # fmt: skip


def horse(rng: np.random.Generator) -> Thing:
    """A horse, or a zebra by its stripes."""
    striped = rng.random() < 0.4
    colour = (226, 222, 214) if striped else pick(rng, _BROWN)
    dark = (34, 30, 30) if striped else shade(colour, 0.45)
    faces = _legs(1.7, 0.95, 0.15, colour, 0.22)
    faces.append(Face(limb((-0.85, 1.35), (-1.12, 0.6), 0.1, 0.2), dark, _FUR))
    faces += _trunk(1.85, 0.82, 1.5, colour)
    faces.append(Face(limb((0.7, 1.25), (1.12, 1.95), 0.55, 0.3), colour, _FUR))
    faces.append(Face(limb((0.62, 1.5), (1.0, 2.08), 0.16, 0.12), dark, _FUR))
    faces += _head(1.18, 1.95, 0.32, 0.36, colour, 0.5)
    if striped:
        faces += [Face(limb((x, 0.9 + 0.1 * abs(x)), (x + 0.08, 1.46), 0.07, 0.1), dark, _FUR, inner=True)
                  for x in np.linspace(-0.75, 0.75, 9).tolist()]  # fmt: skip
    return flat_thing(faces, 1.1, 2.2)


def cow(rng: np.random.Generator) -> Thing:
    """A cow with patches and horns."""
    colour = pick(rng, _COWS)
    patch = pick(rng, [(60, 44, 38), (120, 70, 44)]) if colour[0] > 150 else (230, 226, 218)
    faces = _legs(1.8, 0.8, 0.17, colour, 0.12)
    faces.append(Face(limb((-0.98, 1.3), (-1.04, 0.55), 0.06, 0.1), shade(colour, 0.7), _FUR))
    faces += _trunk(2.05, 0.62, 1.42, colour)
    faces += [
        Face(blob(rng, x, y, 0.26, 0.2), patch, _FUR, inner=True) for x, y in ((-0.5, 1.1), (0.2, 1.0), (0.6, 1.2))
    ]
    faces.append(Face(ellipse(-0.5, 0.64, 0.2, 0.14), (220, 170, 160), _FUR))
    faces.append(Face(limb((0.85, 1.2), (1.2, 1.4), 0.5, 0.36), colour, _FUR))
    faces.append(Face(limb((1.22, 1.6), (1.36, 1.82), 0.08, 0.02), (226, 214, 190)))
    faces += _head(1.25, 1.42, 0.36, 0.3, colour, 0.3)
    return flat_thing(faces, 1.1, 1.6)


def dog(rng: np.random.Generator) -> Thing:
    """A big dog, tail up."""
    colour = pick(rng, _DOGS)
    faces = _legs(0.8, 0.42, 0.09, colour, 0.14)
    faces.append(Face(limb((-0.4, 0.7), (-0.72, 1.0), 0.1, 0.04), colour, _FUR))
    faces += _trunk(0.95, 0.4, 0.76, colour)
    faces.append(Face(limb((0.36, 0.68), (0.56, 0.92), 0.28, 0.2), colour, _FUR))
    faces += _head(0.6, 0.95, 0.24, 0.22, colour, 0.45)
    faces.append(Face(limb((0.4, 0.78), (0.5, 0.66), 0.06), (190, 40, 40), inner=True))
    return flat_thing(faces, 0.7, 1.1)


def sheep(rng: np.random.Generator) -> Thing:
    """A ball of wool on dark legs."""
    wool = pick(rng, [(228, 222, 208), (206, 198, 184), (96, 84, 76)])
    face = (52, 46, 46) if wool[0] > 150 else (40, 34, 32)
    faces = _legs(0.8, 0.42, 0.08, face, 0.06)
    faces += [
        Face(blob(rng, 0, 0.68, 0.62, 0.36, 0.1), shade(wool, 0.86), _FUR),
        Face(blob(rng, -0.05, 0.76, 0.5, 0.26, 0.12), wool, _FUR, inner=True),
        Face(limb((0.55, 0.9), (0.78, 0.74), 0.24, 0.16), face, _FUR),
        Face(limb((0.56, 0.94), (0.42, 0.86), 0.1, 0.05), face, _FUR),
        Face(blob(rng, 0.52, 0.98, 0.16, 0.11), wool, _FUR),
    ]
    return flat_thing(faces, 0.75, 1.05)


def elephant(rng: np.random.Generator) -> Thing:
    """Columns of legs, a trunk, ears and tusks."""
    colour = pick(rng, _GREYS)
    faces = _legs(2.2, 1.2, 0.42, colour, 0.12)
    faces.append(Face(limb((-1.4, 1.9), (-1.55, 1.0), 0.09, 0.05), shade(colour, 0.7), _FUR))
    faces += _trunk(2.9, 0.95, 2.5, colour)
    faces += [
        Face(ellipse(1.5, 2.15, 0.58, 0.6), colour, _FUR),
        Face(limb((1.85, 2.0), (2.2, 1.1), 0.46, 0.26), colour, _FUR),
        Face(limb((2.2, 1.15), (2.0, 0.45), 0.26, 0.16), shade(colour, 0.92), _FUR),
        Face(limb((1.8, 1.65), (2.5, 1.45), 0.12, 0.03), (236, 230, 214)),
        Face(blob(rng, 1.15, 2.1, 0.42, 0.56, 0.08), shade(colour, 0.84), _FUR),
        Face(ellipse(1.75, 2.25, 0.06, 0.06), (20, 18, 18), inner=True),
    ]
    return flat_thing(faces, 1.8, 2.8)


def deer(rng: np.random.Generator) -> Thing:
    """A slender deer with antlers."""
    colour = pick(rng, [(168, 112, 66), (146, 100, 66), (186, 138, 90)])
    horn = (112, 86, 62)
    faces = _legs(1.15, 0.8, 0.09, colour, 0.2)
    faces += _trunk(1.3, 0.72, 1.15, colour)
    faces.append(Face(ellipse(-0.62, 0.98, 0.09, 0.13), (236, 228, 214), _FUR))
    faces.append(Face(limb((0.5, 1.05), (0.78, 1.5), 0.34, 0.2), colour, _FUR))
    for lean in (-0.16, 0.1):
        faces.append(Face(limb((0.78, 1.6), (0.78 + lean * 2, 2.15), 0.07, 0.04), horn))
        faces += [Face(limb((0.78 + lean, 1.86), (0.98 + lean, 2.08), 0.05, 0.03), horn)]
    faces += _head(0.84, 1.55, 0.22, 0.24, colour, 0.5)
    return flat_thing(faces, 0.8, 2.1)


def bird(rng: np.random.Generator) -> Thing:
    """A goose, a flamingo or an ostrich: two thin legs, a long neck, a bill."""
    body = pick(rng, [(238, 234, 226), (238, 150, 150), (62, 56, 56), (150, 140, 128)])
    s, neck = rng.uniform(0.7, 1.5), rng.uniform(0.5, 0.8)
    bill = (236, 140, 40)
    top = (0.42 * s, (0.95 + neck) * s)
    faces = [
        Face(limb((-0.04 * s, 0.6 * s), (-0.1 * s, 0.02), 0.06 * s), shade(bill, 0.75)),
        Face(limb((0.08 * s, 0.6 * s), (0.16 * s, 0.02), 0.06 * s), bill),
        Face(limb((-0.3 * s, 0.82 * s), (-0.72 * s, 0.9 * s), 0.3 * s, 0.08 * s), shade(body, 0.8), _FUR),
        Face(ellipse(0, 0.8 * s, 0.46 * s, 0.28 * s, 0.2), body, _FUR),
        Face(blob(rng, -0.1 * s, 0.82 * s, 0.3 * s, 0.16 * s, 0.08), shade(body, 0.8), _FUR, inner=True),
        Face(limb((0.32 * s, 0.9 * s), (0.46 * s, (0.95 + neck / 2) * s), 0.2 * s, 0.12 * s), body, _FUR),
        Face(limb((0.46 * s, (0.93 + neck / 2) * s), top, 0.12 * s, 0.1 * s), body, _FUR),
        Face(limb((top[0] + 0.08 * s, top[1] + 0.02 * s), (top[0] + 0.34 * s, top[1] - 0.06 * s), 0.1 * s, 0.03), bill),
        Face(ellipse(top[0], top[1] + 0.03 * s, 0.13 * s, 0.11 * s), body, _FUR),
        Face(ellipse(top[0] + 0.05 * s, top[1] + 0.06 * s, 0.025 * s, 0.025 * s), (16, 16, 16), inner=True),
    ]
    return flat_thing(faces, 0.6 * s, top[1] + 0.2)
