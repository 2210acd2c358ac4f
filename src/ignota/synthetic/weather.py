"""Time of day and weather: from flat colours to a photograph by texture, shadows, light, fog, rain, lens and sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ignota.synthetic.canvas import Canvas
from ignota.synthetic.shapes import Colour, Material, Vector, vary

# material: strength of fine grain, of tufts of some pixels, of large stains, of ground texture
GRAIN: dict[Material, tuple[float, float, float, float]] = {
    Material.PLAIN: (0.015, 0.015, 0.02, 0.0),
    Material.ASPHALT: (0.03, 0.01, 0.025, 0.07),
    Material.PAVING: (0.02, 0.01, 0.025, 0.05),
    Material.GRASS: (0.05, 0.05, 0.05, 0.13),
    Material.LEAVES: (0.09, 0.17, 0.05, 0.0),
    Material.PLASTER: (0.02, 0.015, 0.045, 0.0),
    Material.BRICK: (0.045, 0.03, 0.04, 0.0),
    Material.FUR: (0.04, 0.045, 0.04, 0.0),
    Material.STONE: (0.045, 0.07, 0.06, 0.0),
    Material.WOOD: (0.05, 0.06, 0.03, 0.0),
    Material.CLOTH: (0.025, 0.04, 0.02, 0.0),
    Material.SKY: (0.0, 0.0, 0.0, 0.0),
}
_GRAIN = np.zeros((4, 256), np.float32)
for _material, _strengths in GRAIN.items():
    _GRAIN[:, _material] = _strengths

Image = NDArray[np.float32]
_SIDE = 512
_SEED = 20220715


@dataclass(frozen=True)
class Mood:
    """zenith, horizon: sky colours. light: factors on red, green, blue. sun: direction to it. shadow: 0..1.

    fog: loss per metre. clouds: cover 0..1. rain: strength 0..1.
    """

    name: str
    zenith: Colour
    horizon: Colour
    light: Vector
    sun: Vector
    shadow: float
    fog: float
    clouds: float
    rain: float


# name: (chance, zenith, horizon, light, shadow, sun's height 0..1, clouds)
_MOODS: dict[str, tuple[float, Colour, Colour, Vector, float, float, float]] = {
    "day": (0.42, (84, 142, 208), (204, 224, 238), (1.03, 1.01, 0.97), 0.44, 0.75, 0.35),
    "morning": (0.16, (120, 166, 214), (248, 226, 200), (1.06, 0.99, 0.9), 0.4, 0.45, 0.3),
    "overcast": (0.26, (176, 186, 196), (222, 226, 228), (0.93, 0.95, 0.97), 0.2, 0.9, 0.75),
    "dusk": (0.16, (84, 98, 150), (244, 190, 150), (0.9, 0.82, 0.79), 0.3, 0.35, 0.45),
}


def draw_mood(rng: np.random.Generator) -> Mood:
    """One of the moods with its own variation; fog and rain now and then."""
    names = list(_MOODS)
    name = names[int(rng.choice(len(names), p=[_MOODS[n][0] for n in names]))]
    _, zenith, horizon, light, shadow, height, clouds = _MOODS[name]
    turn = rng.uniform(0.0, 2.0 * math.pi)
    flat = math.sqrt(1.0 - height * height)
    sun = (math.cos(turn) * flat, height, math.sin(turn) * flat)
    foggy, rainy = rng.random() < 0.12, rng.random() < (0.3 if name == "overcast" else 0.05)
    bright = rng.uniform(0.9, 1.08)
    return Mood(
        name,
        vary(rng, zenith, 6),
        vary(rng, horizon, 5),
        (light[0] * bright, light[1] * bright, light[2] * bright),
        sun,
        shadow * rng.uniform(0.8, 1.15),
        fog=rng.uniform(0.012, 0.028) if foggy else rng.uniform(0.0012, 0.004),
        clouds=min(max(rng.normal(clouds, 0.15), 0.0), 1.0),
        rain=rng.uniform(0.4, 1.0) if rainy else 0.0,
    )


def finish(canvas: Canvas, mood: Mood, shadow: Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The final image "H W 3" uint8. shadow: "H W", 1 in full light, less where the ground lies in shadow."""
    x, z = canvas.camera.ground()
    materials = canvas.materials()
    depth = canvas.depths()[canvas.numbers()]
    ground = depth < 0
    gain = _texture(materials, x, z, rng)
    gain *= np.where(ground, shadow, np.float32(1.0))
    planes = np.ascontiguousarray(canvas.image.transpose(2, 0, 1)).astype(np.float32)
    planes *= gain
    planes *= np.array(mood.light, np.float32)[:, None, None]
    _fog(planes, np.where(ground, z, depth), materials == Material.SKY, canvas, mood)
    if mood.rain > 0:
        _rain(planes, mood, rng)
    return _lens(planes, rng)


def _texture(materials: NDArray[np.uint8], x: Image, z: Image, rng: np.random.Generator) -> Image:
    """A factor per pixel from four noises, each as strong as the pixel's material asks for."""
    height, width = materials.shape
    fine, tufts, stains = (np.asarray(cv2.LUT(materials, _GRAIN[k])) for k in range(3))
    gain = fine * cut(noise_tile(0.0), rng, height, width)
    gain += tufts * cut(noise_tile(1.2), rng, height, width)
    gain += stains * cut(cloud_tile(), rng, height, width)
    gain += 1.0
    start = int(np.argmax(z.min(1) < 900.0))
    x, z, below = x[start:], z[start:], materials[start:]
    fade = np.minimum(9.0 / z, 1.0) * np.asarray(cv2.LUT(below, _GRAIN[3]))
    rows, columns = (z * 24.0).astype(np.int32) & 511, (x * 24.0).astype(np.int32) & 511
    gain[start:] += noise_tile(1.2).ravel()[rows * 512 + columns] * fade
    joints = ((x * 44.0).astype(np.int32) & 31 < 2) | ((z * 44.0).astype(np.int32) & 31 < 2)
    gain[start:] -= 3.0 * fade * (joints & (below == Material.PAVING))
    return np.maximum(gain, 0.25, out=gain)


def _fog(planes: Image, depth: Image, sky: NDArray[np.bool_], canvas: Canvas, mood: Mood) -> None:
    """Blends towards a greyed horizon: kept = exp(-fog · distance); the sky most near the horizon."""
    height = canvas.camera.height
    rows = np.arange(height, dtype=np.float32)[:, None]
    above = np.maximum(canvas.camera.horizon - rows, 0.0) / height
    depth = np.where(sky, 160.0 * np.exp(-above * 5.0), np.minimum(depth, 400.0))
    kept = np.exp(-mood.fog * depth)
    colour = np.array(mood.horizon, np.float32) * np.array(mood.light, np.float32)
    colour += (colour.mean() - colour) * min(mood.fog * 30.0, 0.75)
    for plane, level in zip(planes, colour, strict=True):
        plane -= level
        plane *= kept
        plane += level


def _rain(planes: Image, mood: Mood, rng: np.random.Generator) -> None:
    """Slanting light streaks and a duller picture."""
    height, width = planes.shape[1:]
    seeds = cut(noise_tile(0.0), rng, height, width)
    drops = (seeds > 2.3).astype(np.float32)
    length = max(height // 18, 5)
    kernel = np.zeros((length, length), np.float32)
    tilt = int(rng.integers(0, max(length // 3, 1)))
    cv2.line(kernel, (length // 2 - tilt // 2, 0), (length // 2 + tilt // 2, length - 1), 1.0, 1)
    streaks = cv2.filter2D(drops, -1, kernel / kernel.sum() * 3.0)
    planes *= np.float32(1.0 - 0.12 * mood.rain)
    planes += np.minimum(streaks, 1.0) * np.float32(75.0 * mood.rain)


def _lens(planes: Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Vignette, a touch of blur, sensor noise."""
    height, width = planes.shape[1:]
    down = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None] ** 2
    across = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :] ** 2
    planes *= 1.0 - 0.09 * (down + across)
    blur = rng.uniform(0.0, 0.75) * height / 256
    if blur > 0.3:
        for plane in planes:
            cv2.GaussianBlur(plane, (0, 0), blur, dst=plane)
    noise = cut(noise_tile(0.0), rng, 3 * height, width).reshape(3, height, width)
    planes += noise * np.float32(rng.uniform(0.8, 3.0))
    return np.ascontiguousarray(np.clip(planes, 0.0, 255.0).astype(np.uint8).transpose(1, 2, 0))


@cache
def noise_tile(blur: float) -> NDArray[np.float32]:
    """A seamless tile "512 512" float32 of noise with standard deviation 1, smooth over about `blur` pixels."""
    white = np.random.Generator(np.random.PCG64(_SEED + int(blur * 8))).standard_normal((_SIDE, _SIDE))
    margin = min(int(blur * 4) + 1, _SIDE)
    wide = np.pad(white, margin, mode="wrap")
    smooth = cv2.GaussianBlur(wide, (0, 0), blur) if blur > 0 else wide
    window = np.asarray(smooth)[margin:-margin, margin:-margin]
    tile = np.ascontiguousarray((window - window.mean()) / window.std(), np.float32)
    tile.setflags(write=False)
    return tile


@cache
def cloud_tile() -> NDArray[np.float32]:
    """Fractal noise "512 512": octaves of `noise_tile`, standard deviation about 1."""
    tile = 0.62 * noise_tile(40.0) + 0.45 * noise_tile(16.0) + 0.28 * noise_tile(6.0) + 0.15 * noise_tile(2.0)
    return np.ascontiguousarray(tile, np.float32)


def cut(tile: NDArray[np.float32], rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A random window "height width" of the endlessly repeated tile."""
    top, left = int(rng.integers(_SIDE)), int(rng.integers(_SIDE))
    if top + height <= _SIDE and left + width <= _SIDE:
        return tile[top : top + height, left : left + width]
    rows = np.arange(top, top + height) % _SIDE
    columns = np.arange(left, left + width) % _SIDE
    return np.take(np.take(tile, rows, 0), columns, 1)
