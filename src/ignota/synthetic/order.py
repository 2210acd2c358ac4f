"""Occlusion: the painter's order of objects that stand apart on the ground."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ignota.synthetic.camera import Camera
from ignota.synthetic.canvas import Placed
from ignota.synthetic.weather import Mood


def footprint(placed: Placed) -> tuple[float, float, float, float]:
    """The upright rectangle of ground that a thing covers: x0, x1, z0, z1 in metres."""
    c, s = abs(math.cos(placed.yaw)), abs(math.sin(placed.yaw))
    across = placed.thing.half_width * c + placed.thing.half_length * s
    along = placed.thing.half_width * s + placed.thing.half_length * c
    return placed.x - across, placed.x + across, placed.z - along, placed.z + along


def painting_order(areas: NDArray[np.float64]) -> list[int]:
    """Rectangles "N 4" (x0, x1, z0, z1) → their order from the hindmost, seen from x = 0, z = 0.

    Two that a line z = c parts: the farther is behind. Else, parted by a line x = c: the one away from the viewer.
    """
    x0, x1, z0, z1 = areas.T
    farther = z0[:, None] >= z1[None, :]
    right = (x0[:, None] >= x1[None, :]) & (x0[:, None] > 0)
    left = (x1[:, None] <= x0[None, :]) & (x1[:, None] < 0)
    behind = farther | ((right | left) & ~farther.T)
    np.fill_diagonal(behind, False)
    waiting = behind.sum(0)
    left_over = np.ones(len(areas), bool)
    middle = (z0 + z1) / 2
    order: list[int] = []
    for _ in range(len(areas)):
        fewest = np.where(left_over, waiting, len(areas) + 1)
        ready = fewest == fewest.min()
        chosen = int(np.argmax(np.where(ready, middle, -np.inf)))
        order.append(chosen)
        left_over[chosen] = False
        waiting = waiting - behind[chosen]
    return order


def cast_shadows(camera: Camera, mood: Mood, things: list[Placed]) -> NDArray[np.float32]:
    """Light on the ground, "H W" float32: 1 in the open, less in shadows and least right under things."""
    mask = np.full((camera.height, camera.width), 255, np.uint8)
    reach = (-mood.sun[0] / mood.sun[1], -mood.sun[2] / mood.sun[1]) if mood.clouds < 0.8 else (0.05, 0.05)
    standing = [p for p in things if p.lift == 0]
    areas = np.array([footprint(p) for p in standing]).reshape(-1, 4)
    heights = np.array([p.thing.height for p in standing])
    corners = np.zeros((len(standing), 8, 3), np.float32)
    corners[:, :4, 0] = areas[:, (0, 1, 1, 0)]
    corners[:, :4, 2] = areas[:, (2, 2, 3, 3)]
    shift = np.clip(heights[:, None] * np.array(reach), -9.0, 9.0)
    corners[:, 4:, 0] = corners[:, :4, 0] + shift[:, :1]
    corners[:, 4:, 2] = corners[:, :4, 2] + shift[:, 1:]
    flat = np.rint(camera.project(corners)).astype(np.int32)
    for polygon in flat:
        cv2.fillConvexPoly(mask, cv2.convexHull(polygon), 255.0 * (1.0 - mood.shadow))
    for polygon in flat:
        cv2.fillConvexPoly(mask, polygon[:4], 255.0 * (1.0 - mood.shadow) * 0.66)
    soft = cv2.GaussianBlur(mask, (0, 0), max(camera.height / 170.0, 0.5))
    return soft.astype(np.float32) / 255.0
