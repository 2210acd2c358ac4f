"""How often the networks run, and how much memory a measurement holds, as images grow in number; prints both.

    python benchmarks/evaluation_memory.py --world WORLD --data $IGNOTA_DATA [--scores a,b,…] [--images N] [--json FILE]

The images are the validation sets of RoadAnomaly21 (10) and RoadObstacle21 (30), one of the former before every three
of the latter, so that any ten hold both sizes; after the forty they come round again, and every image is read anew. The
measurement is that of `ignota evaluate anomaly`, components included. Passes are counted by hooks on the segmenter and
the frozen encoder; memory is the resident set of this process from /proc, read after each image.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.data.files import write_atomically
from ignota.engine.evaluation import evaluate_anomaly
from ignota.heap import keep_freed_memory
from ignota.structures import Sample
from ignota.world import bundle
from ignota.world.model import OpenWorldModel
from ignota.world.reading import score_names

STOPS = (10, 40, 100)


class Alternating:
    """One image of the first set, then three of the second, round and round; a `LabelledImages`."""

    name, split, taxonomy = "road_anomaly_21 and road_obstacle_21", "val", None
    expected_size, expected_length = None, None
    image_paths: tuple[Path, ...] = ()
    label_paths: tuple[Path, ...] = ()

    def __init__(self, first: LabelledImages, second: LabelledImages, length: int) -> None:
        self.parts, self.length = (first, second), length
        self.keys = tuple(f"{i}" for i in range(length))

    def __len__(self) -> int:
        return self.length

    def _place(self, index: int) -> tuple[LabelledImages, int]:
        turn, step = divmod(index, 4)
        part, number = (self.parts[0], turn) if step == 0 else (self.parts[1], 3 * turn + step - 1)
        return part, number % len(part)

    def __getitem__(self, index: int) -> Sample:
        part, number = self._place(index)
        return part[number]

    def load_label(self, index: int) -> np.ndarray:
        part, number = self._place(index)
        return part.load_label(number)


def resident(kind: str = "VmRSS") -> float:
    """MiB of this process now; VmHWM: the most it ever was."""
    return int(re.findall(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def counted(module: nn.Module | None) -> list[int]:
    """Grows by one with every forward pass of a network."""
    passes: list[int] = []
    if module is not None:
        module.register_forward_hook(lambda *_: passes.append(1))
    return passes


def measure(world: OpenWorldModel, images: LabelledImages, scores: list[str]) -> dict[str, Any]:
    """Passes and memory at each stop, and after all figures were computed."""
    passes = {"segmenter": counted(world.networks.segmenter), "frozen encoder": counted(world.networks.frozen)}
    rows: list[dict[str, Any]] = []
    memory: list[float] = []
    started = time.monotonic()

    def row(images: int | str) -> dict[str, Any]:
        counts = {name: len(found) for name, found in passes.items()}
        held = {"MiB now": resident(), "MiB at most": resident("VmHWM")}
        return {"images": images, **counts, **held, "seconds": time.monotonic() - started}

    def watch(*_: object) -> None:
        memory.append(resident())
        if len(memory) in STOPS:
            rows.append(row(len(memory)))
            print(rows[-1], flush=True)

    evaluate_anomaly(world, images, scores, watch=watch, components=True)
    rows.append(row("all figures"))
    print(rows[-1], flush=True)
    tail = memory[9:]
    slope = float(np.polyfit(range(len(tail)), tail, 1)[0]) if len(tail) > 1 else 0.0
    return {"scores": scores, "rows": rows, "MiB an image from the tenth on": slope, "memory": memory}


def main() -> None:
    keep_freed_memory()  # as every command
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scores")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    world = bundle.load(args.world)
    scores = args.scores.split(",") if args.scores else list(score_names(world.known))
    sets = (open_dataset(name, args.data / f"{name}_val", "val") for name in ("road_anomaly_21", "road_obstacle_21"))
    found = measure(world, Alternating(*sets, args.images), scores)
    print(f"{len(scores)} scores; {found['MiB an image from the tenth on']:+.2f} MiB an image from the tenth on")
    if args.json is not None:
        write_atomically(args.json, (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
