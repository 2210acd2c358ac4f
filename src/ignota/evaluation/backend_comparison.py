"""Which backend is fastest on a machine, and how well its labels agree with those of float32."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from ignota.backends.choosing import DEFAULT, with_backend
from ignota.perception.scene import Scene
from ignota.structures import InputError
from ignota.synthetic.streets import SyntheticStreets
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.world.model import OpenWorldModel

ENOUGH = 0.998
"""Share of labels that a backend must leave as they are to be recommended."""

Images = Sequence[UInt8[np.ndarray, "H W 3"]]


def street_images(count: int, size: tuple[int, int] = (720, 1280)) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Synthetic streets with unknown things in them."""
    streets = SyntheticStreets("anomaly", count, size, 0)
    return [streets[i].image for i in range(count)]


def compare_backends(
    world: OpenWorldModel,
    names: Sequence[str],
    images: Images,
    rounds: int,
    calibration: Sequence[Path] = (),
    tile: int | None = None,
    tick: Callable[[int], object] | None = None,
    announce: Callable[[float], object] = lambda _: None,
) -> dict[str, Any]:
    """For each backend median seconds an image and the share of pixels whose labels are those of float32.

    Backends alternate on every image, so other load on the machine affects all equally. float32 is always included, as
    the baseline. A backend that cannot run here has its reason under `fault`. announce: receives the
    estimated seconds, as if every backend were as slow as float32.
    """
    turn = tick or (lambda _: None)
    worlds, faults = _opened(world, names, calibration, tile)
    began = time.perf_counter()
    scenes = {DEFAULT: [_warm(worlds[DEFAULT], image, turn) for image in images]}
    announce((time.perf_counter() - began) * (len(worlds) * (rounds + 1) - 1))
    scenes |= {name: [_warm(worlds[name], image, turn) for image in images] for name in worlds if name != DEFAULT}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in worlds}
    for _ in range(rounds):
        for image in images:
            for name, other in worlds.items():
                times[name].append(_timed(other, image))
                turn(1)
    rows: dict[str, dict[str, Any]] = {name: {"fault": fault} for name, fault in faults.items()}
    for name, taken in times.items():
        networks, whole = (median(column) for column in zip(*taken, strict=True))
        labels, unknown = _agreement(scenes[name], scenes[DEFAULT])
        rows[name] = {"networks": networks, "segment": whole, "labels": labels, "unknown": unknown}
    for row in rows.values():
        if "segment" in row:
            row["speedup"] = rows[DEFAULT]["segment"] / row["segment"]
    order = [DEFAULT, *(name for name in names if name != DEFAULT)]
    seen = scenes[DEFAULT][0].encoding.image.shape
    return {
        "images": len(images), "size": [seen[0], seen[1]], "threads": torch.get_num_threads(),
        "device": str(world.device), "backends": {name: rows[name] for name in order},
    }  # fmt: skip


def fastest(found: dict[str, Any]) -> str | None:
    """The backend with the least time among those that change few enough labels."""
    fit = {name: row for name, row in found["backends"].items() if row.get("labels", 0) >= ENOUGH}
    return min(fit, key=lambda name: fit[name]["segment"]) if fit else None


def _opened(
    world: OpenWorldModel, names: Sequence[str], calibration: Sequence[Path], tile: int | None
) -> tuple[dict[str, OpenWorldModel], dict[str, str]]:
    worlds, faults = {}, {}
    for name in dict.fromkeys((DEFAULT, *names)):
        try:
            worlds[name] = with_backend(world, name, calibration, tile)
        except InputError as error:
            faults[name] = str(error)
    return worlds, faults


def _warm(world: OpenWorldModel, image: UInt8[np.ndarray, "H W 3"], turn: Callable[[int], object]) -> Scene:
    scene = world.segment(image)
    scene.labels_with_unknown()
    turn(1)
    return scene


def _timed(world: OpenWorldModel, image: UInt8[np.ndarray, "H W 3"]) -> tuple[float, float]:
    """Seconds for the networks alone and for all."""
    start = time.perf_counter()
    encoding = world.encode(image)
    _wait(world.device)
    between = time.perf_counter()
    world.segment(encoding).labels_with_unknown()
    return between - start, time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _agreement(scenes: Sequence[Scene], reference: Sequence[Scene]) -> tuple[float, float]:
    """Share of pixels with the same class, and with the same answer to whether they are unknown."""
    labels = [float((a.labels == b.labels).mean()) for a, b in zip(scenes, reference, strict=True)]
    maps = [[scene.labels_with_unknown() == UNKNOWN_INDEX for scene in both] for both in (scenes, reference)]
    unknown = [float((a == b).mean()) for a, b in zip(*maps, strict=True)]
    return sum(labels) / len(labels), sum(unknown) / len(unknown)
