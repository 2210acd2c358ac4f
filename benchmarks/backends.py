"""Measures backends and training steps against contiguous float32; writes figures as JSON, for experiments.render.

    python benchmarks/backends.py times    --calibrate $IGNOTA_DATA/camvid/train     seconds an image, by backend
    python benchmarks/backends.py accuracy --data $IGNOTA_DATA/camvid [--every 2]    what each backend changes, on val
    python benchmarks/backends.py training                                           seconds a step of the closed set

The baseline of every backend is PyTorch in float32 with its default memory layout (contiguous), everything after the
networks alike. Ways take turns within one run.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cpuinfo
import numpy as np
import onnxruntime
import torch
from tqdm import tqdm

from ignota.backends.choosing import BACKENDS, with_backend
from ignota.cli.inputs import image_files
from ignota.data.datasets import open_dataset
from ignota.data.images import resize_label
from ignota.evaluation.backend_comparison import street_images
from ignota.evaluation.evaluation import world_split
from ignota.heap import keep_freed_memory
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.models.depthwise import use_plain_depthwise
from ignota.models.inference import has_bfloat16
from ignota.models.smp_segmenter import to_channels_last
from ignota.perception.networks import Answer, Networks, network_input
from ignota.perception.perception import closed_labels
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.training.configuration import ClosedSetConfig, SegmenterConfig
from ignota.training.segmenters import ClosedSetStage, build_segmenter
from ignota.world.model import OpenWorldModel

BASELINE = "float32, contiguous"
FIGURES = Path(__file__).parents[1] / "experiments" / "measured" / "backends" / "backends.json"
QUICK = tuple(name for name in BACKENDS if name != "compile")


def baseline(world: OpenWorldModel) -> OpenWorldModel:
    """The world with its networks in float32 and PyTorch's default memory layout, one operation after another."""
    segmenter = use_plain_depthwise(copy.deepcopy(world.networks.segmenter)).to(memory_format=torch.contiguous_format)
    frozen = world.networks.frozen

    def run(networks: Networks, image: np.ndarray, close: np.ndarray | None) -> Answer:
        pixels = network_input(image, networks.segmenter.preprocessing, networks.device).contiguous()
        output = segmenter(pixels)
        features = dict(output.features)
        if frozen is not None and close is not None:
            features |= frozen(network_input(close, frozen.preprocessing, networks.device).contiguous())
        return output.logits[0], {tap: grid[0] for tap, grid in features.items()}

    return dataclasses.replace(world, networks=dataclasses.replace(world.networks, runner=run))


def opened(name: str, size: int | None, backends: Sequence[str], calibration: Sequence[Path]) -> dict[str, Any]:
    """The baseline and every backend that runs here, by name; the others with the reason why not."""
    world = bundle.load(name, size=size)
    found: dict[str, Any] = {BASELINE: baseline(world)}
    for backend in backends:
        for images in ((), calibration):  # calibrated once, then from the cache
            try:
                found[backend] = with_backend(world, backend, images, tile=0)
                break
            except InputError as error:
                found[backend] = str(error)
    return found


def timed(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each way; they take turns, and each is run once beforehand."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in taken.items()}


def segment_times(
    name: str, size: int | None, backends: Sequence[str], calibration: Sequence[Path], rounds: int
) -> dict[str, Any]:
    """Seconds for the networks and for `segment` with labels, for one street of 1280×720."""
    (image,) = street_images(1)
    worlds = opened(name, size, backends, calibration)
    running = {backend: world for backend, world in worlds.items() if not isinstance(world, str)}
    whole = timed({key: lambda w=w: w.segment(image).labels_with_unknown() for key, w in running.items()}, rounds)
    networks = timed({key: lambda w=w: w.encode(image) for key, w in running.items()}, rounds)
    seen = running[BASELINE].encode(image).image.shape
    rows = {key: {"networks": networks[key], "segment": whole[key]} for key in running}
    return {"world": name, "seen": [seen[0], seen[1]], "rows": rows} | {
        "faults": {key: world for key, world in worlds.items() if isinstance(world, str)}
    }


def accuracy(
    name: str, root: str, every: int, backends: Sequence[str], calibration: Sequence[Path] = ()
) -> dict[str, Any]:
    """mIoU of the closed set, AUPR of `raml` where val holds novel classes, and what changes, on every n-th image."""
    dataset = open_dataset("camvid", root, "val")
    worlds = opened(name, None, backends, calibration)
    running = {backend: world for backend, world in worlds.items() if not isinstance(world, str)}
    split = world_split(running[BASELINE], dataset.taxonomy)
    closed = {key: SegmentationMetrics(split.known_taxonomy, len(split.known)) for key in running}
    anomaly = {key: AnomalyMetrics("standard") for key in running}
    changed: dict[str, list[tuple[float, float]]] = {key: [] for key in running}
    for i in tqdm(range(0, len(dataset), every), desc=name):
        sample = dataset[i]
        reference: tuple[np.ndarray, np.ndarray] | None = None
        for key, world in running.items():
            encoding = world.encode(sample.image)
            tables = world.tables(encoding)
            labels = closed_labels(encoding)
            unknown = world.scene(encoding, tables).labels_with_unknown() == UNKNOWN_INDEX
            reference = reference or (labels, unknown)
            changed[key].append((float((labels != reference[0]).mean()), float((unknown != reference[1]).mean())))
            closed[key].update(split.training_lut()[sample.label], resize_label(labels, sample.label.shape))
            if split.novel:
                score = torch.nn.functional.interpolate(tables.score[None, None], sample.label.shape, mode="bilinear")
                label = split.anomaly_lut()[sample.label]
                anomaly[key].update(sample.key, {"raml": score[0, 0].numpy()}, label)
    rows = {}
    for key in running:
        labels, unknown = np.mean(changed[key], axis=0).tolist()
        rows[key] = {"miou": closed[key].compute()["miou"]["all"], "labels": labels, "unknown": unknown}
        if split.novel:
            rows[key]["aupr"] = anomaly[key].compute()["scores"]["raml"]["pooled"]["aupr"]
    return {"world": name, "images": len(range(0, len(dataset), every)), "of": len(dataset), "rows": rows}


def training_ways(batch: int = 8, crop: tuple[int, int] = (352, 480)) -> dict[str, Callable[[], object]]:
    """One step of the closed set's training (DeepLabV3+ on EfficientNet-Lite0, detail head, Dice), each way by name."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, *crop, 3), generator=generator, dtype=torch.uint8)
    coarse = torch.randint(0, 11, (batch, crop[0] // 8, crop[1] // 8), generator=generator, dtype=torch.uint8)
    labels = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)

    def way(channels_last: bool, bfloat16: bool) -> Callable[[], object]:
        segmenter = build_segmenter(SegmenterConfig(weights="none", detail=48), 11, 0)
        segmenter = to_channels_last(segmenter) if channels_last else use_plain_depthwise(segmenter)
        stage = ClosedSetStage(segmenter.train(), ClosedSetConfig(dice=1.0), 0)
        optimiser = torch.optim.SGD(stage.parameter_groups(), momentum=0.9, foreach=True)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = stage.training_step((images, labels), 0)["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        return step

    ways = {BASELINE: way(False, False), "float32, channels last": way(True, False)}
    if has_bfloat16(torch.device("cpu")):
        ways["bfloat16, channels last"] = way(True, True)
    return ways


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": cpuinfo.get_cpu_info().get("brand_raw", platform.processor()), "threads": torch.get_num_threads(),
        "bfloat16": has_bfloat16(torch.device("cpu")), "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__, "python": platform.python_version(),
    }  # fmt: skip


def main() -> None:
    keep_freed_memory()  # as every command
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("times", "accuracy", "training"))
    parser.add_argument("--worlds", nargs="+", default=["camvid-11", "camvid-8+3"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[0, 720], help="short sides; 0 is the world's own")
    parser.add_argument("--backends", nargs="+", default=list(QUICK))
    parser.add_argument("--calibrate", help="training images, where 8 bits were not calibrated before")
    parser.add_argument("--data", help="the folder of CamVid")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=FIGURES)
    args = parser.parse_args()
    figures = json.loads(args.out.read_text()) if args.out.exists() else {}
    calibration = image_files([args.calibrate]) if args.calibrate else []
    if args.what == "training":
        figures["training"] = {"machine": machine(), "rows": timed(training_ways(), args.rounds)}
    elif args.what == "accuracy":
        for world in args.worlds:
            found = accuracy(world, args.data, args.every, args.backends, calibration)
            figures.setdefault("accuracy", {})[world] = found
    else:
        for world in args.worlds:
            for size in args.sizes:
                found = segment_times(world, size or None, args.backends, calibration, args.rounds)
                figures.setdefault("times", {})[f"{world} {size}"] = {"machine": machine(), **found}
    args.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
