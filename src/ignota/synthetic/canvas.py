"""The canvas: colours and class codes are drawn with the same polygons."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ignota.synthetic.camera import NEAREST, Camera
from ignota.synthetic.shapes import Colour, Face, Material, Points, Thing, Vector
from ignota.taxonomy import IGNORE_INDEX

_SHIFT = 4
_MATERIALS = 16
_THINGS = range(11, 19)
"""Train ids of the classes whose objects are counted one by one."""


class Entry(NamedTuple):
    """What a code stands for: a train id (255: none), whether it is an anomaly, its distance in metres."""

    label: int
    anomaly: bool = False
    depth: float = -1.0


class Placed(NamedTuple):
    """A thing at its place in the street."""

    thing: Thing
    label: int
    x: float
    z: float
    yaw: float = 0.0
    lift: float = 0.0
    anomaly: bool = False


@dataclass
class Canvas:
    """image: "H W 3" uint8. codes: "H W" int32, 16 · entry + material. light: the direction to the sun."""

    camera: Camera
    light: Vector
    image: NDArray[np.uint8] = field(init=False)
    codes: NDArray[np.int32] = field(init=False)
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.image = np.zeros((self.camera.height, self.camera.width, 3), np.uint8)
        self.codes = np.zeros((self.camera.height, self.camera.width), np.int32)

    def entry(self, label: int, anomaly: bool = False, depth: float = -1.0) -> int:
        """Announces something to be drawn; depth -1 is the ground's own distance. Returns its number."""
        self.entries.append(Entry(label, anomaly, depth))
        return len(self.entries) - 1

    def polygons(self, contours: NDArray[np.float32], colour: Colour, code: int | None) -> None:
        """Fills contours "K N 2" (column, row) in the image and, unless code is None, in the codes."""
        fixed = list(np.rint(contours * (1 << _SHIFT)).astype(np.int32))
        cv2.fillPoly(self.image, fixed, colour, cv2.LINE_AA, _SHIFT)
        if code is not None:
            cv2.fillPoly(self.codes, fixed, code, cv2.LINE_8, _SHIFT)

    def ground(self, points: Points, colour: Colour, entry: int, material: Material, inner: bool = False) -> None:
        """Fills contours "K N 3" given in world coordinates."""
        self.polygons(self.camera.project(points), colour, None if inner else entry * _MATERIALS + material)

    def place(self, placed: Placed) -> None:
        """Paints a thing, farthest solids first, without the panels that face away."""
        turn = (math.cos(placed.yaw), math.sin(placed.yaw))
        faces: list[Face] = []
        bright: list[float] = []
        for solid in sorted(placed.thing.solids, key=lambda s: -s.z * turn[0]):
            for panel in solid.panels:
                light = 1.0
                if panel.normal is not None:
                    n = _turned(panel.normal, turn)
                    if self._hidden(panel.faces[0].points[0, 0], n, placed, turn):
                        continue
                    light = self._brightness(n)
                faces += panel.faces
                bright += [light] * len(panel.faces)
        entry = self.entry(placed.label, placed.anomaly, placed.z)
        if faces:
            self._faces(faces, bright, placed, turn, entry)

    def _hidden(self, corner: Points, normal: Vector, placed: Placed, turn: tuple[float, float]) -> bool:
        x, y, z = _turned((float(corner[0]), float(corner[1]), float(corner[2])), turn)
        x, y, z = x + placed.x, y + placed.lift - self.camera.eye, z + placed.z
        x += self.camera.bend * z * z
        return normal[0] * x + normal[1] * y + normal[2] * z >= 0

    def _brightness(self, normal: Vector) -> float:
        facing = sum(a * b for a, b in zip(normal, self.light, strict=True))
        return 0.74 + 0.36 * max(facing, 0.0) + 0.06 * normal[1]

    def _faces(
        self, faces: list[Face], bright: list[float], placed: Placed, turn: tuple[float, float], entry: int
    ) -> None:
        points = np.concatenate([face.points.reshape(-1, 3) for face in faces])
        world = np.empty_like(points)
        world[:, 0] = points[:, 0] * turn[0] + points[:, 2] * turn[1] + placed.x
        world[:, 1] = points[:, 1] + placed.lift
        world[:, 2] = points[:, 2] * turn[0] - points[:, 0] * turn[1] + placed.z
        if world[:, 2].max() <= NEAREST:
            return
        fixed = np.rint(self.camera.project(world) * (1 << _SHIFT)).astype(np.int32)
        start, pixel = 0, placed.z / self.camera.focal
        for face, light in zip(faces, bright, strict=True):
            count, corners = face.points.shape[:2]
            contours = list(fixed[start : start + count * corners].reshape(count, corners, 2))
            start += count * corners
            if face.detail < pixel:
                continue
            if face.colour is not None:
                colour = (face.colour[0] * light, face.colour[1] * light, face.colour[2] * light)
                cv2.fillPoly(self.image, contours, colour, cv2.LINE_AA, _SHIFT)
            if not face.inner:
                cv2.fillPoly(self.codes, contours, entry * _MATERIALS + face.material, cv2.LINE_8, _SHIFT)

    def materials(self) -> NDArray[np.uint8]:
        """The material of every pixel, "H W" uint8."""
        return (self.codes & (_MATERIALS - 1)).astype(np.uint8)

    def numbers(self) -> NDArray[np.int32]:
        """The entry of every pixel, "H W" int32."""
        return self.codes >> 4

    def depths(self) -> NDArray[np.float32]:
        """Distance by entry, "E" float32; -1 where it is the ground's own."""
        return np.array([entry.depth for entry in self.entries], np.float32)

    def maps(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int32]]:
        """Label, anomaly and instance map, "H W" each (see `SyntheticScene`)."""
        labels = np.array([IGNORE_INDEX if e.anomaly else e.label for e in self.entries], np.uint8)
        void = np.where(labels == IGNORE_INDEX, IGNORE_INDEX, 0)
        anomalies = np.where([e.anomaly for e in self.entries], 1, void).astype(np.uint8)
        counted = np.array([e.anomaly or e.label in _THINGS for e in self.entries])
        instances = np.where(counted, np.cumsum(counted), 0).astype(np.int32)
        numbers = self.numbers()
        return labels[numbers], anomalies[numbers], instances[numbers]


def _turned(vector: Vector, turn: tuple[float, float]) -> Vector:
    x, y, z = vector
    return (x * turn[0] + z * turn[1], y, z * turn[0] - x * turn[1])
