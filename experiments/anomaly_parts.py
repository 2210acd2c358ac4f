"""Which part of RAML's anomaly stage helps and which costs: each part replaced alone, on three data sets.

    python -m experiments.anomaly_parts DATA [--images N] [--out FILE]

DATA holds camvid, road_anomaly_21_val and road_obstacle_21_val. The worlds are camvid-11, and camvid-8+3 on CamVid's
validation images. Each row is Q = -max U · P (Equation 5) with one part other than in RAML as printed. Rows named
`oracle` read the labels that are measured: they say how much a part could bring, and no method may use them. Nothing
is chosen here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from experiments.figures import Rows, save_tables
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.data.images import resize_label
from ignota.evaluation.component_reading import to_size
from ignota.evaluation.evaluation import anomaly_label_lut
from ignota.functional import scores
from ignota.functional.edges import EDGE_THRESHOLDS
from ignota.functional.prototypes import known_similarity
from ignota.functional.regions import region_mean
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.perception.features import pool_taps
from ignota.perception.hierarchy import image_hierarchy
from ignota.perception.proposals import UncertaintyRegions, fill_gaps
from ignota.perception.reading import to_image
from ignota.storage import bundle
from ignota.structures import Encoding, RegionSet
from ignota.world.model import OpenWorldModel

SETS = {
    "CamVid 8+3": ("camvid-8+3", "camvid", "camvid", "road_anomaly"),
    "RoadAnomaly21": ("camvid-11", "road_anomaly_21", "road_anomaly_21_val", "road_anomaly"),
    "RoadObstacle21": ("camvid-11", "road_obstacle_21", "road_obstacle_21_val", "lost_and_found"),
}
"""World, data set, folder, and the test set of the paper whose α and β are tried."""
LOGIT, PRINTED = "MaxLogit", "**RAML as printed**"


def variants(
    world: OpenWorldModel, encoding: Encoding, label: UInt8[np.ndarray, "H W"], edges: tuple[float, float]
) -> Iterator[tuple[str, Float[Tensor, "H W"]]]:
    """Every row's score of one image; label: 1 where anomalous, on the working grid."""
    known = world.known
    urs, best = known.recipe.urs(encoding.image, encoding.logits), to_image(encoding.logits.amax(0), encoding)
    printed = likeness(world, encoding, urs, "paper")

    def q(regions: RegionSet, similarity: Float[Tensor, " R"], outside: float | None = None) -> Tensor:
        return scores.uncertainty_intensity(best, similarity, regions, outside, sign="printed")

    yield LOGIT, -best
    yield PRINTED, q(urs, printed)
    yield "logits: none, -P alone", scores.uncertainty_intensity(torch.ones_like(best), printed, urs, sign="printed")
    yield "product: of positive numbers", scores.uncertainty_intensity(best, printed, urs, sign="safe")
    yield "pixels of no region: P = 1", q(urs, printed, 1.0)
    yield "pixels of no region: the nearest region's P", q(fill_gaps(urs), printed)
    graph = image_hierarchy(encoding.image, known.recipe.regions).finest
    yield "regions: of the image's graph", q(graph, likeness(world, encoding, graph, "paper"))
    for name, proposed in other_edges(world, encoding, edges).items():
        yield f"regions: {name}", q(proposed, likeness(world, encoding, proposed, "paper"))
    true = with_objects(urs, label)
    yield "regions: true objects (oracle)", q(true, likeness(world, encoding, true, "paper"))
    yield "D: as released", q(urs, likeness(world, encoding, urs, "released"))
    yield "D: none, F itself", q(urs, likeness(world, encoding, urs, "decoder"))
    yield "D and F: nearest training pixels, frozen encoder", q(urs, likeness(world, encoding, urs, "own"))
    share = region_mean(torch.from_numpy(label == 1).float(), urs)
    yield "P: 0 where a region is anomalous (oracle)", q(urs, (share < 0.5).float())
    yield (
        "P and regions: both true (oracle)",
        q(true, (region_mean(torch.from_numpy(label == 1).float(), true) < 0.5).float()),
    )


def likeness(world: OpenWorldModel, encoding: Encoding, regions: RegionSet, kind: str) -> Float[Tensor, " R"]:
    """P of Equation 4 by D as printed or released, by the decoder's features alone, or in the world's own space."""
    known = world.known
    if kind == "decoder":
        return known_similarity(pool_taps(encoding, regions, ("decoder",))["decoder"].float(), known.means)
    if kind == "own":
        return known.space.known_similarity(known.space.embed(pool_taps(encoding, regions, known.space.taps)))
    space = known.spaces[kind]
    return space.known_similarity(space.embed(pool_taps(encoding, regions, space.taps)))


def with_objects(regions: RegionSet, label: UInt8[np.ndarray, "H W"]) -> RegionSet:
    """The regions with each connected anomalous object as a region of its own."""
    _, objects = cv2.connectedComponents((label == 1).astype(np.uint8), connectivity=8)
    ids = np.where(objects > 0, objects + regions.count, regions.ids)
    _, ids = np.unique(np.r_[0, ids.ravel()], return_inverse=True)
    return RegionSet(ids[1:].reshape(label.shape).astype(np.int32), int(ids.max()))


def other_edges(world: OpenWorldModel, encoding: Encoding, edges: tuple[float, float]) -> dict[str, RegionSet]:
    """URS's regions by other thresholds of Equation 2."""
    recipe = world.known.recipe
    thresholds = {
        "α and β as the paper sets them": edges,
        "α alone": (recipe.alpha, None),
        "β alone": (None, recipe.beta),
    }
    return {
        name: UncertaintyRegions(alpha, beta, recipe.min_area)(encoding.image, encoding.logits)
        for name, (alpha, beta) in thresholds.items()
    }


def geometry(regions: RegionSet, label: UInt8[np.ndarray, "H W"]) -> dict[str, float]:
    """Where the anomalous pixels of an image lie, in shares, and the number of its regions."""
    anomalous = label == 1
    share = np.r_[0.0, region_mean(torch.from_numpy(anomalous).float(), regions).numpy()]
    owner = regions.ids[anomalous]
    return {
        "anomalous pixels in no region": float((owner == 0).mean()),
        "in regions mainly anomalous": float((share[owner] >= 0.5).mean()),
        "regions an image": float(regions.count),
    }


def measured(
    world: OpenWorldModel, dataset: LabelledImages, edges: tuple[float, float], images: int | None
) -> tuple[Rows, Rows]:
    """The rows of one data set, and how its anomalies lie in URS's regions, the mean over its images."""
    metrics, lut = AnomalyMetrics(), anomaly_label_lut(world, dataset)
    found: dict[str, list[dict[str, float]]] = {}
    for i in tqdm(range(len(dataset) if images is None else min(images, len(dataset))), desc=dataset.name):
        sample = dataset[i]
        assert sample.label is not None
        label = lut[sample.label]
        with torch.inference_mode():
            encoding = world.encode(sample.image)
            small = resize_label(label, encoding.image.shape[:2])
            maps = dict(variants(world, encoding, small, edges))
            recipe = world.known.recipe
            sets = {"α and β from training images": recipe.urs(encoding.image, encoding.logits)}
            for name, regions in (sets | other_edges(world, encoding, edges)).items():
                if (small == 1).any():
                    found.setdefault(name, []).append(geometry(regions, small))
        metrics.update(sample.key, {n: to_size(m.numpy(), label.shape) for n, m in maps.items()}, label)
    rows = {}
    figures = metrics.compute()["scores"]
    for name, one in figures.items():
        own, base = one["per_image"]["aupr"], figures[LOGIT]["per_image"]["aupr"]
        rows[name] = {
            "AUPR, per image": own,
            "AUPR, pooled": one["pooled"]["aupr"],
            "times MaxLogit": f"{own / base:.2f}",
        }
    means = {n: {key: float(np.mean([one[key] for one in all_])) for key in all_[0]} for n, all_ in found.items()}
    for row in means.values():
        row["regions an image"] = f"{row['regions an image']:.1f}"
    return rows, means


def main(words: Sequence[str] | None = None) -> str:
    """Writes the figures; gives the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, help="of each data set, for a trial")
    parser.add_argument("--out", type=Path, default=Path("experiments/measured/anomaly_parts/parts.json"))
    args = parser.parse_args(words)
    tables: dict[str, Rows] = {}
    for title, (name, dataset, folder, test) in SETS.items():
        world = bundle.load(name, recipe="light")
        images = open_dataset(dataset, args.data / folder, "val")
        rows, regions = measured(world, images, EDGE_THRESHOLDS[test], args.images)
        tables |= {title: rows, f"{title}, regions": regions}
    return save_tables(args.out, tables)


if __name__ == "__main__":
    sys.stdout.write(main())
