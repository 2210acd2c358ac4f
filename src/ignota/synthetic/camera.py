"""The pinhole camera that looks along the street."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAREST = 0.6
"""Points nearer than this (metres) are pushed back to it, so that a projection is always finite."""


@dataclass(frozen=True)
class Camera:
    """World axes in metres: x to the right, y up from the ground, z ahead; the street bends as x + bend·z²."""

    height: int
    width: int
    focal: float
    centre: float
    horizon: float
    eye: float
    bend: float = 0.0
    roll: float = 0.0

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """World points "... 3" → image points "... 2" (column, row), in pixels."""
        z = np.maximum(points[..., 2], NEAREST)
        scale = self.focal / z
        flat = np.empty((*points.shape[:-1], 2), np.float32)
        across = (points[..., 0] + self.bend * z * z) * scale
        down = (self.eye - points[..., 1]) * scale
        flat[..., 0] = across * math.cos(self.roll) - down * math.sin(self.roll) + self.centre
        flat[..., 1] = across * math.sin(self.roll) + down * math.cos(self.roll) + self.horizon
        return flat

    def ground(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """World x and z of the ground under every pixel, "H W" each; above the horizon z is 1000."""
        columns = np.arange(self.width, dtype=np.float32)[None, :] - self.centre
        rows = np.arange(self.height, dtype=np.float32)[:, None] - self.horizon
        down = rows * math.cos(self.roll) - columns * math.sin(self.roll)
        across = columns * math.cos(self.roll) + rows * math.sin(self.roll)
        z = np.minimum(self.eye * self.focal / np.maximum(down, 1e-3), 1000.0).astype(np.float32)
        return across * z / self.focal - self.bend * z * z, z


def street_camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    """A camera on a car or a truck: its horizon, height, heading, roll and the street's bend vary."""
    span = math.sqrt(2.0 * height * width)
    return Camera(
        height,
        width,
        focal=span * rng.uniform(0.78, 1.02),
        centre=width * rng.uniform(0.42, 0.58),
        horizon=height * rng.uniform(0.37, 0.47),
        eye=rng.uniform(1.45, 2.1),
        bend=rng.normal(0.0, 0.0011),
        roll=rng.normal(0.0, 0.008),
    )
