"""The ground: road, lanes, pavement, rails, crossings; above it the sky and the far skyline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ignota.synthetic.canvas import Canvas
from ignota.synthetic.shapes import Colour, Material, Points, pick, shade, vary
from ignota.synthetic.weather import Mood, cloud_tile, cut
from ignota.taxonomy import CITYSCAPES

FAR = 260.0
_ROAD, _PAVEMENT, _TERRAIN, _SKY, _VEGETATION, _BUILDING = (
    CITYSCAPES.id_of(n) for n in ("road", "sidewalk", "terrain", "sky", "vegetation", "building")
)
_ASPHALT: list[Colour] = [(98, 98, 102), (110, 108, 108), (86, 88, 94), (120, 118, 116)]
_PAVING: list[Colour] = [(176, 168, 160), (160, 156, 156), (188, 176, 164), (168, 160, 150)]
_GRASS: list[Colour] = [(116, 142, 66), (132, 150, 76), (150, 146, 88), (104, 134, 70)]
_LINE: Colour = (226, 226, 218)


@dataclass(frozen=True)
class Street:
    """The plan, in metres: x of the road's edges, of its lanes and of its median, pavement width, crossing, rails."""

    left: float
    right: float
    lanes: tuple[float, ...]
    median: float
    pavement: float
    verge: float
    crossing: tuple[float, float] | None
    rails: float | None
    parking: float
    zebra: float | None

    def edge(self, side: float) -> float:
        """Where the pavement ends on that side, metres from the middle, without sign."""
        return (self.right if side > 0 else -self.left) + self.pavement + self.verge


def plan_street(rng: np.random.Generator) -> Street:
    """Two to four lanes with the camera in one right of the median; now and then a crossing street and rails."""
    count, width = int(rng.integers(2, 5)), rng.uniform(3.0, 3.5)
    own = count - 1 if count < 4 else int(rng.integers(2, 4))
    first = -own * width
    lanes = tuple(first + k * width for k in range(count))
    parking = float(rng.choice([0.0, 2.3]))
    near = rng.uniform(13.0, 24.0)
    rails = lanes[0] if rng.random() < 0.24 else None
    crossing = (near, near + rng.uniform(6.5, 9.0)) if rng.random() < 0.42 else None
    zebra = None
    if rng.random() < 0.4:
        zebra = crossing[0] - 4.0 if crossing else rng.uniform(9.0, 22.0)
    return Street(
        left=lanes[0] - width / 2 - parking,
        right=lanes[-1] + width / 2 + parking,
        lanes=lanes,
        median=lanes[(count + 1) // 2 - 1] + width / 2 if count != 3 else lanes[0] + width / 2,
        pavement=rng.uniform(2.2, 4.2),
        verge=float(rng.choice([0.0, 0.0, 1.6, 3.0])),
        crossing=crossing,
        rails=rails,
        parking=parking,
        zebra=zebra,
    )


_ALONG = np.array([1.0, 3, 5, 7, 9, 12, 16, 21, 27, 35, 45, 60, 80, 110, 160, FAR], np.float32)


def strip(left: float, right: float, near: float = 1.0, far: float = FAR) -> Points:
    """A band of ground along the street, "1 N 3"."""
    z = np.concatenate(
        ([near], _ALONG[np.searchsorted(_ALONG, near, "right") : np.searchsorted(_ALONG, far)], [far])
    ).astype(np.float32)
    points = np.zeros((1, 2 * len(z), 3), np.float32)
    points[0, : len(z), 0], points[0, len(z) :, 0] = left, right
    points[0, : len(z), 2], points[0, len(z) :, 2] = z, z[::-1]
    return points


def rectangles(x0: float, x1: float, starts: list[float], length: float) -> Points:
    """Rectangles on the ground between x0 and x1, one from each start on, "K 4 3"."""
    points = np.zeros((len(starts), 4, 3), np.float32)
    points[:, (0, 3), 0], points[:, (1, 2), 0] = x0, x1
    z = np.array(starts, np.float32)[:, None]
    points[:, :2, 2], points[:, 2:, 2] = z, z + length
    return points


def paint_sky(canvas: Canvas, mood: Mood, rng: np.random.Generator) -> int:
    """A gradient with clouds over the whole image; returns the entry."""
    height, width = canvas.codes.shape
    entry = canvas.entry(_SKY, depth=0.0)
    canvas.codes[:] = entry * 16 + Material.SKY
    tall = min(int(canvas.camera.horizon + height * 0.05) + 2, height)
    rows = np.arange(tall, dtype=np.float32)[:, None]
    up = np.clip(1.0 - rows / canvas.camera.horizon, 0.0, 1.0) ** 0.8
    cloud = cut(cloud_tile(), rng, tall * 2, width)[::2]
    cover = np.clip((cloud + (mood.clouds - 0.5) * 2.4) * 0.7, 0.0, 1.0)
    cover *= 0.25 + 0.65 * np.clip(up * 1.6, 0.0, 1.0)
    for channel, (zenith, horizon) in enumerate(zip(mood.zenith, mood.horizon, strict=True)):
        clear = horizon + up * (zenith - horizon)
        canvas.image[:tall, :, channel] = clear + cover * (horizon * 0.5 + 124.0 - clear)
    return entry


def paint_skyline(canvas: Canvas, rng: np.random.Generator) -> None:
    """Far trees and houses along the horizon, which close the view."""
    width, horizon = canvas.camera.width, canvas.camera.horizon
    span = canvas.camera.focal
    if rng.random() < 0.75:
        entry = canvas.entry(_BUILDING, depth=170.0)
        colour, x = pick(rng, [(160, 150, 146), (150, 154, 162)]), -20.0
        while x < width + 20:
            w, h = rng.uniform(0.03, 0.1) * span, rng.uniform(0.02, 0.1) * span
            quad = np.array([[[x, horizon + 4], [x + w, horizon + 4], [x + w, horizon - h], [x, horizon - h]]])
            canvas.polygons(quad, shade(colour, rng.uniform(0.88, 1.08)), entry * 16 + Material.PLASTER)
            x += w * rng.uniform(0.7, 1.5)
    entry = canvas.entry(_VEGETATION, depth=150.0)
    columns = np.linspace(-10, width + 10, 60)
    rise = np.convolve(rng.uniform(0.0, 1.0, 64), np.ones(5) / 5, "valid") * 0.07 * span
    top = np.stack((columns, horizon - rise), 1)
    bottom = np.array([[width + 10, horizon + 6], [-10, horizon + 6]])
    canvas.polygons(np.concatenate((top, bottom))[None], vary(rng, (96, 120, 84)), entry * 16 + Material.LEAVES)


def paint_ground(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Terrain, pavements with kerbs, road, crossing street, rails and markings, in that order."""
    terrain, pavement, road = canvas.entry(_TERRAIN), canvas.entry(_PAVEMENT), canvas.entry(_ROAD)
    canvas.ground(strip(-400, 400), pick(rng, _GRASS), terrain, Material.GRASS)
    stones, asphalt = pick(rng, _PAVING), pick(rng, _ASPHALT)
    for inner, outer in ((street.left, street.left - street.pavement), (street.right, street.right + street.pavement)):
        canvas.ground(strip(inner, outer), stones, pavement, Material.PAVING)
        kerb = inner + 0.22 * (1 if outer > inner else -1)
        canvas.ground(strip(inner, kerb), shade(stones, 1.16), pavement, Material.PAVING, inner=True)
    canvas.ground(strip(street.left, street.right), asphalt, road, Material.ASPHALT)
    if street.crossing:
        near, far = street.crossing
        canvas.ground(rectangles(-90, 90, [near - 2.0], far - near + 4.0), stones, pavement, Material.PAVING)
        canvas.ground(rectangles(-90, 90, [near], far - near), asphalt, road, Material.ASPHALT)
        canvas.ground(strip(street.left, street.right, near - 3, far + 3), asphalt, road, Material.ASPHALT)
    _wear(canvas, street, asphalt, road, rng)
    _markings(canvas, street, road, rng)


def _wear(canvas: Canvas, street: Street, asphalt: Colour, road: int, rng: np.random.Generator) -> None:
    """Wheel tracks, patches, manholes and rails."""
    for lane in street.lanes:
        for offset in (-0.75, 0.75):
            canvas.ground(strip(lane + offset - 0.25, lane + offset + 0.25), shade(asphalt, 0.95), road,
                          Material.ASPHALT, inner=True)  # fmt: skip
    for _ in range(int(rng.integers(0, 4))):
        x, z = rng.uniform(street.left, street.right - 1.5), rng.uniform(5, 25)
        patch = rectangles(x, x + rng.uniform(0.6, 1.5), [z], rng.uniform(0.8, 3.0))
        canvas.ground(patch, shade(asphalt, rng.uniform(0.8, 0.9)), road, Material.ASPHALT, inner=True)
    if street.rails is not None:
        canvas.ground(strip(street.rails - 1.5, street.rails + 1.5), shade(asphalt, 1.12), road, Material.ASPHALT,
                      inner=True)  # fmt: skip
        for offset in (-0.72, 0.72):
            rail = street.rails + offset
            canvas.ground(strip(rail - 0.09, rail + 0.09), (66, 62, 60), road, Material.ASPHALT, inner=True)


def _markings(canvas: Canvas, street: Street, road: int, rng: np.random.Generator) -> None:
    period, phase = 7.5, rng.uniform(0.0, 7.5)
    starts = [phase + k * period for k in range(-1, 14)]
    gap = street.crossing or (-9.0, -9.0)
    starts = [s for s in starts if s > 1.0 and not gap[0] - 7 < s < gap[1] + 3]
    between = [(a + b) / 2 for a, b in zip(street.lanes, street.lanes[1:], strict=False)]
    solid = rng.random() < 0.5
    for x in between:
        if abs(x - street.median) < 0.3 and solid:
            bands = [(1.0, FAR)] if not street.crossing else [(1.0, gap[0] - 4.5), (gap[1] + 3, FAR)]
            for near, far in bands:
                canvas.ground(strip(x - 0.08, x + 0.08, near, far), _LINE, road, Material.ASPHALT, inner=True)
        elif starts:
            canvas.ground(rectangles(x - 0.08, x + 0.08, starts, 3.2), _LINE, road, Material.ASPHALT, inner=True)
    if street.zebra is not None:
        count = int((street.right - street.left) / 1.0)
        for k in range(count):
            x = street.left + 0.25 + k
            canvas.ground(rectangles(x, x + 0.5, [street.zebra], 3.0), _LINE, road, Material.ASPHALT, inner=True)
