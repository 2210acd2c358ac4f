"""Writes docs/calibrate.md: a world calibrated on one half of a camera's images, measured on the other.

    python -m experiments.calibration DATA [--draws 20]

DATA holds road_anomaly_21_val, road_obstacle_21_val and camvid; of CamVid, the dusk sequence 0001TP is read. Each image
passes the networks once, for all halves and both recipes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from experiments.pages.markdown import table
from jaxtyping import Bool, Float32, UInt8
from tqdm import tqdm

from ignota.data.datasets import open_dataset
from ignota.evaluation.component_reading import to_size
from ignota.metrics.bootstrap import ImageHistogram, image_histogram, interval, weighted_aupr
from ignota.metrics.components import ComponentMetrics, Sizes, track_sizes
from ignota.perception.calibrating import Frame, calibration_from, frame_of
from ignota.perception.known import KnownEvidence, RecipeName
from ignota.storage import bundle
from ignota.world.model import OpenWorldModel

PAGE = Path(__file__).resolve().parents[1] / "docs" / "calibrate.md"
FOLDERS = {"road_anomaly_21": "road_anomaly_21_val", "road_obstacle_21": "road_obstacle_21_val", "camvid": "camvid"}
DUSK = "0001TP"
RECIPES: tuple[RecipeName, ...] = ("full", "light")


@dataclass(frozen=True)
class View:
    """An image as the networks read it. label: "H W" 0 normal, 1 anomaly, 255 void, in the label's own size."""

    frame: Frame
    label: UInt8[np.ndarray, "H W"]


@dataclass(frozen=True)
class Seen:
    """What one image shows at one threshold. false, normal: normal pixels above it, and all of them."""

    histogram: ImageHistogram
    components: ComponentMetrics
    false: int
    normal: int


@dataclass(frozen=True)
class Half:
    """The figures of one half, as fixed and as calibrated; share: of unknowns, as estimated."""

    fixed: dict[str, float]
    calibrated: dict[str, float]
    share: float


def views(world: OpenWorldModel, data: Path, name: str) -> Iterator[View]:
    """Every image of a set, of CamVid the dusk sequence alone."""
    images = open_dataset(name, data / FOLDERS[name], "train" if name == "camvid" else None)
    chosen = [i for i, key in enumerate(images.keys) if name != "camvid" or key.startswith(DUSK)]
    for i in tqdm(chosen, desc=name, unit="image"):
        sample = images[i]
        assert sample.label is not None
        label = np.where(sample.label < len(world.taxonomy), 0, 255).astype(np.uint8) if name == "camvid" else None
        yield View(frame_of(world.encode(sample.image), world.fitted), sample.label if label is None else label)


def seen(score: Float32[np.ndarray, "h w"], threshold: float, label: UInt8[np.ndarray, "H W"], sizes: Sizes) -> Seen:
    whole = to_size(score, label.shape)
    unknown: Bool[np.ndarray, "H W"] = whole >= threshold
    components = ComponentMetrics(sizes)
    components.update("", unknown, label)
    return Seen(image_histogram(whole, label), components, int(unknown[label == 0].sum()), int((label == 0).sum()))


def figures(images: Sequence[Seen]) -> dict[str, float]:
    """AUPR, component F1 and false positive rate of some images together; NaN where there is no anomaly."""
    components = ComponentMetrics(images[0].components.sizes)
    for image in images:
        components.merge(image.components)
    histograms = [image.histogram for image in images]
    held = any(histogram.counts[1].any() for histogram in histograms)
    aupr = weighted_aupr(histograms, np.ones((1, len(images)), np.int64))[0] if held else np.nan
    rate = sum(image.false for image in images) / sum(image.normal for image in images)
    f1 = components.compute()["f1"] if components.true else None
    return {"aupr": float(aupr), "f1": np.nan if f1 is None else f1, "fpr": rate}


def halves(known: KnownEvidence, found: Sequence[View], sizes: Sizes, draws: int) -> Iterator[Half]:
    """Calibrates on a random half, in the order of the images, and measures on the other."""
    nothing = torch.zeros(0, known.space.mean.shape[0])

    def read(view: View, threshold: float, vectors: torch.Tensor) -> Seen:
        with torch.inference_mode():
            score = view.frame.score(known, vectors)
        return seen(score.numpy(), threshold, view.label, sizes)

    fixed = [read(view, known.recipe.threshold, nothing) for view in found]
    for draw in tqdm(range(draws), desc=known.name, unit="half"):
        order = np.random.default_rng(draw).permutation(len(found))
        first, second = sorted(order[: len(found) // 2]), order[len(found) // 2 :]
        calibration = calibration_from(known, [found[i].frame for i in first], known.recipe.target_fpr)
        vectors, _ = calibration.on(known.means.device)
        after = [read(found[i], calibration.threshold, vectors) for i in second]
        yield Half(figures([fixed[i] for i in second]), figures(after), calibration.unknown)


def row(name: str, known: KnownEvidence, found: Sequence[Half]) -> list[str]:
    cells = [name, f"`{known.name}`"]
    for key in ("f1", "aupr"):
        pairs = [(half.fixed[key], half.calibrated[key]) for half in found]
        if np.isnan(pairs).any():
            cells += ["–", "–", "–"]
            continue
        gain = interval(np.array([after - before for before, after in pairs]))
        cells += [f"{100 * np.mean(column):.1f}" for column in zip(*pairs, strict=True)]
        cells.append(f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})")
    rate = interval(np.array([half.calibrated["fpr"] for half in found]))
    before = np.mean([half.fixed["fpr"] for half in found])
    cells += [f"{100 * known.recipe.target_fpr:g}", f"{100 * before:.2f}"]
    cells.append(f"{100 * rate.mean:.2f} ({100 * rate.low:.2f} to {100 * rate.high:.2f})")
    return [*cells, f"{100 * np.mean([half.share for half in found]):.1f}"]


HEAD = ["set", "recipe", "F1 fixed", "F1 calibrated", "gain", "AUPR fixed", "AUPR calibrated", "gain", "target FPR",
        "FPR fixed", "FPR calibrated", "unknown, estimated"]  # fmt: skip
TEXT = """# Calibrated on one's own camera

Written by `experiments/calibration.py`. Percent. Over {draws} random halves of each set, `camvid-11` is calibrated on
one half without labels and measured on the other. *Fixed* is the shipped world as it is. F1 is that of components at
the world's own threshold. In brackets lies the middle 95 % of the halves. The FPR counts normal pixels above the
threshold.

## How

1. Each image is read by the world as it was fitted. The regions with the lowest mean score, until they cover 30 % of
   the area of all images, are confident. 1000 of their vectors at most stand beside the coreset from then on.
2. Each fifth of the images, in their order, is scored with the reference of the other four fifths alone.
3. A mixture of known and unknown scores is fitted to these (`functional/contamination.py`). The threshold is where the
   known part has the target rate; the share of the unknown part is reported with it.

`ignota calibrate camera/ --world my-world --target-fpr 0.01` stores all of it as one row; `ignota undo` takes it back.

## What was chosen where

Shape of the tail, grid, prior and the confident share come from CamVid's training images, distorted by three fixed
cameras, with drawn things pasted in or with car, pedestrian and bicyclist unknown. The sets below were read three
times: RoadAnomaly21 with confident regions chosen class by class, both sets with the most likely share alone, and all
as it is now. After each of the first two readings the design changed, by comparisons on CamVid alone.

## What it gives

"""


READING = """
No gain in F1 is beyond chance: halves have 5 and 15 images, and the shipped threshold of `full` is within about twice
its target already. On RoadObstacle21 calibration does harm. There the road alone counts, while the threshold is set for
whole images. The reference costs `full` some AUPR, and its rate is above the target. `light` meets its target of 5 %,
but the shipped threshold lets 0.3 % of the road pass, and F1 is lost with the difference: give a lower target where
false alarms cost more. On CamVid's dusk sequence, with 31 images a half, the rate is met.

Few images leave the share of unknowns uncertain, and with it the rate. Give 100 images of one camera, look at the
result, and take it back by `ignota undo` where it does not serve.
"""


def main(data: Path, draws: int) -> None:
    torch.set_num_threads(1)
    world, rows = bundle.load("camvid-11", recipe="full"), []
    for name in FOLDERS:
        found = list(views(world, data, name))
        for recipe in RECIPES:
            known = world.fitted if recipe == world.fitted.name else world.fitted.under(recipe)
            title = f"{name}, dusk" if name == "camvid" else name
            rows.append(row(title, known, list(halves(known, found, track_sizes(name), draws))))
    PAGE.write_text(TEXT.format(draws=draws) + table(HEAD, rows) + "\n" + READING, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    args = parser.parse_args()
    main(args.data, args.draws)
