"""A world calibrated on one half of a camera's images, measured on the other: the figures of docs/calibrate.md.

    python -m experiments.calibration DATA [--draws 20] [--out experiments/measured/calibrate/halves.json]

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
from experiments.figures import save
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from tqdm import tqdm

from ignota.data.datasets import open_dataset
from ignota.evaluation.component_reading import to_size
from ignota.functional.contamination import prior_threshold
from ignota.metrics.bootstrap import (
    ImageHistogram,
    Interval,
    drawn_weights,
    image_histogram,
    interval,
    weighted_aupr,
)
from ignota.metrics.components import ComponentMetrics, Sizes, track_sizes
from ignota.perception.calibrating import Frame, calibration_from, default_target, frame_of
from ignota.perception.known import KnownEvidence, RecipeName
from ignota.storage import bundle
from ignota.world.model import OpenWorldModel

FOLDERS = {"road_anomaly_21": "road_anomaly_21_val", "road_obstacle_21": "road_obstacle_21_val", "camvid": "camvid"}
DUSK = "0001TP"
RECIPES: tuple[RecipeName, ...] = ("full", "light")
RESAMPLED = 1000
"""Draws of the bootstrap over images."""


@dataclass(frozen=True)
class View:
    """An image as the networks read it. label: "H W" 0 normal, 1 anomaly, 255 void, in the label's own size."""

    frame: Frame
    label: UInt8[np.ndarray, "H W"]


@dataclass(frozen=True)
class Scored:
    """An image's score in the label's size."""

    score: Float32[np.ndarray, "H W"]
    label: UInt8[np.ndarray, "H W"]
    histogram: ImageHistogram

    def at(self, threshold: float, sizes: Sizes) -> Seen:
        unknown: Bool[np.ndarray, "H W"] = self.score >= threshold
        components, normal = ComponentMetrics(sizes), self.label == 0
        components.update("", unknown, self.label)
        return Seen(self.histogram, components, int(unknown[normal].sum()), int(normal.sum()))


@dataclass(frozen=True)
class Seen:
    """What one image shows at one threshold. false, normal: normal pixels above it, and all of them."""

    histogram: ImageHistogram
    components: ComponentMetrics
    false: int
    normal: int


@dataclass(frozen=True)
class Half:
    """Images of the half that is measured: fixed, at the target without a camera, calibrated. images: their numbers;
    share: of unknowns, as estimated."""

    images: Int64[np.ndarray, " B"]
    fixed: list[Seen]
    target: list[Seen]
    calibrated: list[Seen]
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


def scored(view: View, known: KnownEvidence, vectors: torch.Tensor) -> Scored:
    with torch.inference_mode():
        score = to_size(view.frame.score(known, vectors).numpy(), view.label.shape)
    return Scored(score, view.label, image_histogram(score, view.label))


def figures(
    images: Sequence[Seen], weights: Int64[np.ndarray, "draws images"]
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Component F1 and false positive rate of some images together, each counted by its weight; F1 is NaN where there
    is no anomaly."""
    found = np.array([image.components.found.sum(0) for image in images])  # over the sizes of true components
    false = np.array([image.components.false for image in images])
    true = weights @ np.array([image.components.true.sum() for image in images])
    pairs = np.maximum(weights @ (found + false) + true[:, None], 1)
    f1 = np.where(true > 0, (2 * (weights @ found) / pairs).mean(1), np.nan)
    false_pixels, pixels = (
        weights @ np.array([getattr(image, key) for image in images]) for key in ("false", "normal")
    )
    rate = np.where(pixels > 0, false_pixels / np.maximum(pixels, 1), np.nan)
    return {"f1": f1, "fpr": rate}


def halves(known: KnownEvidence, found: Sequence[View], sizes: Sizes, draws: int) -> Iterator[Half]:
    """Calibrates on a random half, in the order of the images, and measures on the other."""
    plain = [scored(view, known, torch.zeros(0)) for view in found]
    recipe, target = known.recipe, default_target(known.recipe)
    alone = prior_threshold(recipe.threshold, recipe.scale, recipe.target_fpr, target)
    fixed = [image.at(recipe.threshold, sizes) for image in plain]
    moved = [image.at(alone, sizes) for image in plain]
    for draw in tqdm(range(draws), desc=known.name, unit="half"):
        order = np.random.default_rng(draw).permutation(len(found))
        first, second = sorted(order[: len(found) // 2]), order[len(found) // 2 :]
        calibration = calibration_from(known, [found[i].frame for i in first], target)
        vectors, _ = calibration.on(known.means.device)
        after = [scored(found[i], known, vectors) if len(vectors) else plain[i] for i in second]
        calibrated = [image.at(calibration.threshold, sizes) for image in after]
        yield Half(second, [fixed[i] for i in second], [moved[i] for i in second], calibrated, calibration.unknown)


def gain_over_images(found: Sequence[Half], images: int, key: str) -> Interval:
    """The mean gain over all halves, were other images of the kind measured: a paired bootstrap over images.

    The images that a half was calibrated on stay as they are.
    """
    weights = drawn_weights(images, RESAMPLED, 0)
    gains = [
        figures(half.calibrated, weights[:, half.images])[key] - figures(half.fixed, weights[:, half.images])[key]
        for half in found
    ]
    return interval(np.nanmean(gains, axis=0))


def aupr(images: Sequence[Seen]) -> float:
    """Of some images together; NaN where there is no anomaly."""
    return float(weighted_aupr([image.histogram for image in images], np.ones((1, len(images)), np.int64))[0])


def row(name: str, known: KnownEvidence, found: Sequence[Half], images: int) -> list[str]:
    kinds = {kind: [getattr(half, kind) for half in found] for kind in ("fixed", "target", "calibrated")}
    one = {kind: [figures(seen, np.ones((1, len(seen)), np.int64)) for seen in each] for kind, each in kinds.items()}
    f1, rate = (
        {kind: 100 * np.array([half[key][0] for half in each]) for kind, each in one.items()} for key in ("f1", "fpr")
    )
    cells = [name, f"`{known.name}`"]
    if np.isnan(f1["fixed"]).any():
        cells += ["–"] * 7
    else:
        cells += [f"{f1[kind].mean():.1f}" for kind in kinds]
        cells += [signed(interval(f1["calibrated"] - f1["fixed"])), signed(gain_over_images(found, images, "f1"), 100)]
        cells += [f"{100 * np.mean([aupr(seen) for seen in kinds[kind]]):.1f}" for kind in ("fixed", "calibrated")]
    spread = interval(rate["calibrated"])
    cells += [f"{100 * default_target(known.recipe):g}", *(f"{rate[kind].mean():.2f}" for kind in ("fixed", "target"))]
    cells.append(f"{spread.mean:.2f} ({spread.low:.2f} to {spread.high:.2f})")
    return [*cells, f"{100 * np.mean([half.share for half in found]):.1f}"]


def signed(gain: Interval, times: float = 1) -> str:
    return f"{times * gain.mean:+.1f} ({times * gain.low:+.1f} to {times * gain.high:+.1f})"


def main(data: Path, draws: int, out: Path) -> None:
    torch.set_num_threads(1)
    world, rows = bundle.load("camvid-11", recipe="full"), []
    for name in FOLDERS:
        found = list(views(world, data, name))
        for recipe in RECIPES:
            known = world.fitted if recipe == world.fitted.name else world.fitted.under(recipe)
            title = f"{name}, dusk" if name == "camvid" else name
            rows.append(row(title, known, list(halves(known, found, track_sizes(name), draws)), len(found)))
    save(out, {"draws": draws, "rows": rows})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("experiments/measured/calibrate/halves.json"))
    args = parser.parse_args()
    main(args.data, args.draws, args.out)
