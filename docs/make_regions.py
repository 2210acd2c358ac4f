"""On which scales an image is cut into regions, chosen on held-out training images: what is unknown there is known.

    python docs/make_regions.py RUN ROOT [--images N]

RUN is a folder of `ignota run`, ROOT its data set. For each choice of `RegionSettings.scales` (perception/hierarchy.py)
it prints in Markdown, by the world's own weights, mean AUPR and FPR95 over known classes left out in turn, those of
things pasted in, the mean of both AUPR, by which `fit` chooses weights, and how many regions the levels of an image
have.
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
from tqdm import tqdm

from ignota.functional.curves import binary_curve, curve_metrics
from ignota.functional.spacing import evenly_spaced
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
    return 100 * float(found["aupr"]), 100 * float(found["fpr95"])


def row(known: KnownEvidence, reader: HeldOutReader, images: Sequence[int], scales: tuple[float, ...]) -> str:
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
    return (
        f"| {', '.join(f'{scale:g}' for scale in scales)} | {aupr:.1f} | {fpr95:.1f} | {pasted_aupr:.1f} "
        f"| {pasted_fpr95:.1f} | {(aupr + pasted_aupr) / 2:.1f} | {', '.join(f'{n:.0f}' for n in np.mean(counts, 0))} |"
    )


def main(words: Sequence[str] | None = None) -> str:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--images", type=int, default=10_000, help="held-out images at most")
    args = parser.parse_args(words)
    config = configuration(read_preset(str(args.run / "config.yaml")))
    train = open_split(config.data, args.root, "train", config.seed)
    world = bundle.load(args.run / "world")
    stages = Stages(config, train, args.run, torch.device("cpu"), quiet=True, given=world.networks.segmenter)
    held_out = split_images(stages.images, config.fit.held_out)[1]
    some = evenly_spaced(len(held_out), args.images)
    reader = dataclasses.replace(stages.reader, networks=world.networks)
    lines = [row(world.known, reader, [held_out[i] for i in some], scales) for scales in CHOICES]
    head = "| scales | left out, AUPR | FPR95 | pasted, AUPR | FPR95 | mean AUPR | regions |\n|---|" + "---:|" * 6
    return head + "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(main())
