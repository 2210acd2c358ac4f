"""On which scales an image is cut into regions, chosen on held-out training images: what is unknown there is known.

    python -m experiments.region_scales RUN ROOT [--images N] [--out runs/region_scales.json]

RUN is a folder of `ignota run`, ROOT its data set. For each choice of `RegionSettings.scales` (perception/hierarchy.py)
it measures, by the world's own weights, mean AUPR and FPR95 over known classes left out in turn, those of things
pasted in, the mean of both AUPR, by which `fit` chooses weights, and how many regions the levels of an image have.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from experiments.figures import Cell, save_tables
from tqdm import tqdm

from ignota.functional.curves import binary_curve, curve_metrics
from ignota.functional.numbers import evenly_spaced
from ignota.perception.hierarchy import image_hierarchy
from ignota.perception.known import KnownEvidence
from ignota.perception.perception import calibrated
from ignota.perception.reading import joined_parts
from ignota.storage import bundle
from ignota.training.experiment import open_split
from ignota.training.fitting import split_images
from ignota.training.held_out import HeldOutReader
from ignota.training.settings import configuration, read_preset
from ignota.training.stages import Stages
from ignota.training.weighing import PASTED, Trial

CHOICES = ((30.0,), (30.0, 100.0), (30.0, 200.0), (30.0, 300.0), (30.0, 600.0), (30.0, 100.0, 300.0))


def measured(known: KnownEvidence, trials: Sequence[Trial]) -> tuple[float, float]:
    """AUPR and FPR95 of trials of one kind."""
    scores = np.concatenate([joined_parts(trial.parts, known).numpy() for trial in trials])
    found = curve_metrics(binary_curve(scores, np.concatenate([trial.unknown for trial in trials])))
    return float(found["aupr"]), float(found["fpr95"])


def row(
    known: KnownEvidence, reader: HeldOutReader, images: Sequence[int], scales: tuple[float, ...]
) -> dict[str, Cell]:
    """The figures of one choice."""
    kinds: dict[str, list[Trial]] = defaultdict(list)
    settings = dataclasses.replace(known.recipe.regions, scales=scales)
    known = calibrated(known, regions=settings)
    for i in tqdm(images, desc=str(scales), unit="image"):
        rows, pasted = reader.read({0.0: known}, i)[0.0]
        for trial in (*rows.trials, pasted):
            kinds[trial.kind].append(trial)
    counts = [[level.count for level in image_hierarchy(reader.samples[i].image, settings).levels] for i in images[:10]]
    pasted_aupr, pasted_fpr95 = measured(known, kinds.pop(PASTED))
    aupr, fpr95 = np.mean([measured(known, trials) for trials in kinds.values()], 0)
    return {
        "left out, AUPR": float(aupr),
        "left out, FPR95": float(fpr95),
        "pasted, AUPR": pasted_aupr,
        "pasted, FPR95": pasted_fpr95,
        "mean AUPR": float(aupr + pasted_aupr) / 2,
        "regions": ", ".join(f"{n:.0f}" for n in np.mean(counts, 0)),
    }


def main(words: Sequence[str] | None = None) -> str:
    """Writes the figures; gives the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--images", type=int, default=10_000, help="held-out images at most")
    parser.add_argument("--out", type=Path, default=Path("runs/region_scales.json"), help="the figures")
    args = parser.parse_args(words)
    config = configuration(read_preset(str(args.run / "config.yaml")))
    train = open_split(config.data, args.root, "train", config.seed)
    world = bundle.load(args.run / "world")
    stages = Stages(config, train, args.run, torch.device("cpu"), quiet=True, given=world.networks.segmenter)
    held_out = split_images(stages.images, config.fit.held_out)[1]
    some = evenly_spaced(len(held_out), args.images)
    reader = dataclasses.replace(stages.reader, networks=world.networks)
    images = [held_out[i] for i in some]
    rows = {", ".join(f"{scale:g}" for scale in scales): row(world.known, reader, images, scales) for scales in CHOICES}
    return save_tables(args.out, {"scales": rows})


if __name__ == "__main__":
    sys.stdout.write(main())
