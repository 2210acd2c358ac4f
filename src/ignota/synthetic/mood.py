"""Time of day and weather: the colours of sky and light, the sun's direction, fog, rain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ignota.synthetic.shapes import Colour, Vector, vary


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
