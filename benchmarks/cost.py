"""What each part of `segment` costs, in milliseconds and as a ratio of the closed set's own pass.

    python -m benchmarks.cost [--sizes 450 720] [--backends torch onnx …] [--threads N] [--rounds N]

One image of 1280×720 pixels (a drawn street), at each short side that the networks see, by both recipes of a shipped
world. Recipes and backends take turns within one run, so that ratios hold on a laden machine. Figures go to
experiments/measured/performance/cost.json, from where `python -m experiments.render performance` takes them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from benchmarks.racing import machine

from ignota.backends.choosing import with_backend
from ignota.cli.inputs import Picture
from ignota.cli.pictures import write_scene
from ignota.evaluation.backend_comparison import street_images
from ignota.heap import keep_freed_memory
from ignota.perception.hierarchy import image_hierarchy
from ignota.perception.networks import seen_objects
from ignota.perception.perception import closed_labels
from ignota.perception.reading import own_score, read_on
from ignota.perception.scene import Scene, Tables
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

OUT = Path(__file__).parents[1] / "experiments" / "measured" / "performance" / "cost.json"
WORLD, RECIPES, BACKENDS = "camvid-11", ("light", "full"), ("torch", "torch-bf16", "onnx")
CLOSED, BOTH = "closed set", "closed set and frozen encoder"


class Watch:
    """Seconds of parts, from the end of the one before: of the process where one thread works, so that others on the
    machine do not count, else those that passed."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}
        self._clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        self._last = self._clock()

    def __call__(self, part: str) -> None:
        self.found[part] = self._clock() - self._last
        self._last = self._clock()


@torch.inference_mode()
def parts(world: OpenWorldModel, image: np.ndarray, folder: Path) -> dict[str, float]:
    """Seconds of each network alone, then of each part of one `segment`, one after another, and of writing it."""
    networks, known, watch = world.networks, world.known, Watch()
    working, close = networks.views(image)
    watch("resizing")
    networks.runner(networks, working, None)
    watch(CLOSED)
    networks.runner(networks, working, close)
    watch(BOTH)
    if networks.objectness is not None:
        hook = networks.objectness.decoder.register_forward_pre_hook(lambda *_: watch("ViT"))
        seen_objects(networks.objectness, image, networks.device)
        hook.remove()
        watch("objectness from it")
    encoding = world.encode(image)
    watch("networks")
    hierarchy = image_hierarchy(encoding.image, known.recipe.regions)
    watch("regions")
    reading = read_on(encoding, known, hierarchy)
    score = own_score(encoding, known, reading)
    watch("score")
    scene = world.scene(encoding, Tables(encoding.size, closed_labels(encoding), score, reading))
    scene.labels_with_unknown()
    watch("labels")
    scene.unknown  # noqa: B018  # a cached property
    watch("objects")
    write_scene(folder, Picture("street", Path("street.png"), None, image), cast(Any, Seen(scene)), {})
    watch("writing")
    watch.found["segment"] = sum(watch.found[part] for part in ("networks", "regions", "score", "labels", "objects"))
    return watch.found


@dataclass(frozen=True)
class Seen:
    """A world that has segmented the image already."""

    scene: Scene

    def segment(self, image: object) -> Scene:
        return self.scene


def opened(recipe: str, size: int, backends: Sequence[str]) -> dict[str, OpenWorldModel | str]:
    """The world by every backend that runs here; the others with the reason why not."""
    world, found = bundle.load(WORLD, size=size, recipe=recipe), dict[str, OpenWorldModel | str]()
    for backend in backends:
        try:
            found[backend] = with_backend(world, backend, tile=0)
        except InputError as error:
            found[backend] = str(error)
    return found


def measured(size: int, backends: Sequence[str], rounds: int) -> dict[str, Any]:
    """Medians of `parts` in seconds by recipe and backend, which take turns; each runs once beforehand."""
    (image,) = street_images(1)
    worlds = {(recipe, name): one for recipe in RECIPES for name, one in opened(recipe, size, backends).items()}
    running = {key: one for key, one in worlds.items() if not isinstance(one, str)}
    taken: dict[Any, list[dict[str, float]]] = {key: [] for key in running}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            for key, world in running.items():
                found = parts(world, image, Path(folder))
                taken[key] += [found] if turn else []
    seen = next(iter(running.values())).networks.views(image)[0].shape
    rows = [
        {"recipe": recipe, "backend": name}
        | {"seconds": {part: median(one[part] for one in turns) for part in turns[0]}}
        for (recipe, name), turns in taken.items()
    ]
    faults = {name: one for (_, name), one in worlds.items() if isinstance(one, str)}
    return {"seen": [seen[0], seen[1]], "rows": rows, "faults": faults}


def main() -> None:
    keep_freed_memory()  # as every command
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[450, 720], help="short sides that the networks see")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    head = {"machine": machine(), "threads": args.threads, "rounds": args.rounds, "world": WORLD}
    head |= {"clock": "processor time" if args.threads == 1 else "time passed", "date": f"{datetime.now(UTC).date()}"}
    found: dict[str, Any] = {}
    for size in args.sizes:
        found[str(size)] = measured(size, args.backends, args.rounds)
        text = json.dumps(head | {"sizes": found}, indent=1, ensure_ascii=False)
        args.out.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
