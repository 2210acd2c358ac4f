"""One seed, one street scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ignota.synthetic.camera import street_camera
from ignota.synthetic.canvas import Canvas, Placed
from ignota.synthetic.furniture import lamp_post, mast, traffic_light, traffic_sign, tree
from ignota.synthetic.order import cast_shadows, footprint, painting_order
from ignota.synthetic.plots import plot
from ignota.synthetic.street import Street, paint_ground, paint_sky, paint_skyline, plan_street
from ignota.synthetic.traffic import Crowd, Group, add_riders, add_unknowns, add_vehicles, add_walkers
from ignota.synthetic.weather import draw_mood, finish
from ignota.taxonomy import CITYSCAPES, IGNORE_INDEX

_POLE, _LIGHT, _SIGN, _VEGETATION = (
    CITYSCAPES.id_of(n) for n in ("pole", "traffic light", "traffic sign", "vegetation")
)


@dataclass(frozen=True)
class SyntheticScene:
    """A drawn street.

    image: "H W 3" uint8 RGB. label: "H W" uint8 Cityscapes train ids, 255 void and on anomalies. anomaly: "H W" uint8,
    1 anomaly, 0 normal, 255 void. instance: "H W" int32, 0 in no countable object (person … bicycle, anomalies).
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    anomaly: NDArray[np.uint8]
    instance: NDArray[np.int32]


def draw_scene(seed: int, height: int = 256, width: int = 512, anomalies: int | None = 0) -> SyntheticScene:
    """Draws the scene of a seed; the same arguments give the same bytes.

    anomalies: how many unknown things stand in it; None lets the seed choose one to three.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    pixels = np.random.Generator(np.random.PCG64((seed, 1)))
    mood, camera, street = draw_mood(rng), street_camera(rng, height, width), plan_street(rng)
    canvas = Canvas(camera, mood.sun)
    paint_sky(canvas, mood, rng)
    paint_skyline(canvas, rng)
    paint_ground(canvas, street, rng)
    wanted = int(rng.integers(1, 4))
    groups, areas = _populate(canvas, street, rng, wanted if anomalies is None else anomalies)
    shadow = cast_shadows(camera, mood, [placed for group in groups for placed in group])
    for index in painting_order(np.array(areas)):
        for placed in groups[index]:
            canvas.place(placed)
    if rng.random() < 0.2:
        _hood(canvas, rng)
    image = finish(canvas, mood, shadow, pixels)
    return SyntheticScene(image, *canvas.maps())


def _populate(
    canvas: Canvas, street: Street, rng: np.random.Generator, anomalies: int
) -> tuple[list[Group], list[tuple[float, float, float, float]]]:
    crowd = Crowd(canvas.camera)
    add_unknowns(crowd, street, rng, anomalies)
    add_riders(crowd, street, rng)
    add_vehicles(crowd, street, rng)
    _furnish(crowd, street, rng)
    add_walkers(crowd, street, rng)
    groups, areas = crowd.groups, crowd.areas
    for side in (-1.0, 1.0):
        for group in _line(street, side, rng):
            near = min(footprint(p)[2] for p in group)
            far = max(footprint(p)[3] for p in group)
            edge = street.edge(side) - 0.01
            groups.append(group)
            areas.append((edge, edge + 30.0, near, far) if side > 0 else (-edge - 30.0, -edge, near, far))
    return groups, areas


def _line(street: Street, side: float, rng: np.random.Generator) -> list[Group]:
    """The plots along one side, with a gap where a street crosses."""
    groups, z = [], rng.uniform(1.0, 5.0)
    while z < 85.0:
        length = rng.uniform(8.0, 17.0)
        if street.crossing and z < street.crossing[1] + 2.2 and z + length > street.crossing[0] - 2.2:
            length = street.crossing[0] - 2.2 - z
            if length < 4.0:
                z = street.crossing[1] + 2.2
                continue
        group = plot(rng, side, street.edge(side), z, z + length)
        if group:
            groups.append(group)
        z += length
    return groups


def _furnish(crowd: Crowd, street: Street, rng: np.random.Generator) -> None:
    """Lamp posts, traffic lights, signs and trees at the kerbs."""
    has_trees = rng.random() < 0.45
    for side in (-1.0, 1.0):
        x = side * ((street.right if side > 0 else -street.left) + 0.45)
        for z in np.arange(rng.uniform(8.0, 20.0), 75.0, rng.uniform(16.0, 24.0)).tolist():
            crowd.add([Placed(lamp_post(rng, rng.uniform(5.5, 8.0), -side), _POLE, x, z)], 0.0)
        for _ in range(int(rng.integers(0, 3))):
            height = rng.uniform(2.7, 3.5)
            x_sign, z = x + side * rng.uniform(0.0, 0.6), rng.uniform(6.0, 22.0)
            group = [Placed(mast(rng, height), _POLE, x_sign, z)]
            group.append(Placed(traffic_sign(rng), _SIGN, x_sign, z, rng.normal(0.0, 0.1), height - 0.95))
            crowd.add(group, 0.0)
        if street.crossing or street.zebra or rng.random() < 0.45:
            stop = street.crossing[0] - 1.0 if street.crossing else (street.zebra or rng.uniform(8.0, 14.0))
            _light(crowd, x, stop + rng.uniform(-4.0, 0.0), rng)
        if has_trees:
            for z in np.arange(rng.uniform(8.0, 14.0), 60.0, rng.uniform(8.0, 14.0)).tolist():
                crowd.add([Placed(tree(rng), _VEGETATION, x + side * 0.4, z)], 0.0)


def _light(crowd: Crowd, x: float, z: float, rng: np.random.Generator) -> None:
    height = rng.uniform(3.0, 3.8)
    light = Placed(traffic_light(rng), _LIGHT, x, z, rng.normal(0.0, 0.1), height - 1.0)
    crowd.add([Placed(mast(rng, height), _POLE, x, z), light], 0.0)


def _hood(canvas: Canvas, rng: np.random.Generator) -> None:
    """The front of the car that carries the camera: void."""
    height, width = canvas.codes.shape
    entry = canvas.entry(IGNORE_INDEX, depth=1.0)
    axes = (int(width * rng.uniform(0.36, 0.5)), int(height * rng.uniform(0.06, 0.11)))
    centre = (int(canvas.camera.centre), height + 1)
    points = np.array(cv2.ellipse2Poly(centre, axes, 0, 180, 360, 6), np.float32)[None]
    grey = rng.uniform(30.0, 90.0)
    canvas.polygons(points, (grey, grey, grey * 1.05), entry * 16)
    inner = cv2.ellipse2Poly((centre[0], height + 3), (int(axes[0] * 0.9), int(axes[1] * 0.82)), 0, 180, 360, 6)
    canvas.polygons(np.array(inner, np.float32)[None], (grey * 1.25, grey * 1.25, grey * 1.3), None)
