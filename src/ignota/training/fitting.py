"""Stage 4, `fit`: a world's own recipe from held-out training images, without gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ignota.functional.prototypes import class_prototypes
from ignota.functional.regions import region_areas, region_majority, region_mean
from ignota.models.heads import RegionEmbedder
from ignota.perception.features import HeldOut, MetricSpace, pool_taps
from ignota.perception.known import KnownEvidence, Recipe
from ignota.perception.perception import calibrated
from ignota.perception.reading import RegionReading, joined_parts, own_parts
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.configuration import EmbedderConfig, ExperimentConfig, FitConfig
from ignota.training.embedder_run import RegionRows
from ignota.training.stream import STAGES
from ignota.training.weighing import WEIGHTS, Trial, WeightTable, left_out_trials, weigh

_PIXELS = 4000
"""How many pixels of each held-out image set scales and thresholds."""


def image_generator(seed: int, image: int) -> np.random.Generator:
    return np.random.default_rng([seed, STAGES["fit"], image])


def starting_recipe(config: ExperimentConfig, alpha: float, beta: float) -> Recipe:
    """The numbers that configuration alone decides."""
    fit, incremental = config.fit, config.incremental
    return Recipe(
        alpha, beta, config.regions.min_area, fit.taps, fit.coreset, fit.neighbours,
        by_class=fit.by_class, target_fpr=fit.target_fpr, theta=incremental.threshold,
        kappa=incremental.kappa, steal=fit.steal, surprise=fit.surprise, extra=fit.scores,
    )  # fmt: skip


def split_images(images: Sequence[int], held_out: float) -> tuple[list[int], list[int]]:
    """The last share is held out: frames of a video resemble their neighbours, so a random share would leak."""
    at = max(1, round(len(images) * (1 - held_out)))
    at = min(at, len(images) - 1) if len(images) > 1 else 1
    return list(images[:at]), list(images[at:]) or list(images)


def metric_space(
    config: EmbedderConfig, embedder: RegionEmbedder, rows: RegionRows, held_out: set[int], classes: int
) -> MetricSpace:
    """D with the prototypes of Equation 4, from the label regions of all images that are not held out.

    The fixed centres of `config.one_hot` are the prototypes themselves.
    """
    taps = config.taps
    if config.one_hot:
        return MetricSpace(taps, embedder, torch.eye(classes, device=embedder.mean.device))
    with torch.inference_mode():
        device = embedder.mean.device
        embeddings = embedder(torch.cat([rows.pooled[tap].float() for tap in taps], dim=1).to(device)).cpu()
    labelled = (rows.source == 0) & torch.tensor([int(i) not in held_out for i in rows.image])
    return MetricSpace(taps, embedder, class_prototypes(embeddings[labelled], rows.label[labelled], classes).to(device))


def class_means(rows: RegionRows, held_out: set[int], classes: int) -> Tensor:
    """Mean decoder feature of each known class over all its training pixels, "C F"."""
    kept = (rows.source == 0) & torch.tensor([int(i) not in held_out for i in rows.image])
    weight = rows.area[kept].double()
    weight = weight / torch.bincount(rows.label[kept], weight, classes)[rows.label[kept]]
    weighted = rows.pooled["decoder"][kept].double() * weight[:, None]
    means = torch.zeros(classes, weighted.shape[1], dtype=torch.float64).index_add_(0, rows.label[kept], weighted)
    return means.float()


@dataclass(frozen=True)
class HeldOutRows:
    """What one held-out image shows.

    raw, smooth: "3 N" the evidence of some labelled pixels before and after it is averaged over regions. vectors: "V F"
    pooled features of regions that are labelled for the most part, with their label "V", share of the image "V" and
    averaged evidence "3 V". trials: what it tells of the weights.
    """

    raw: Float[Tensor, "3 N"]
    smooth: Float[Tensor, "3 N"]
    vectors: Float[Tensor, "V F"]
    label: Int[Tensor, " V"]
    area: Float[Tensor, " V"]
    parts: Float[Tensor, "3 V"]
    trials: Sequence[Trial]


def held_out_rows(
    encoding: Encoding,
    known: KnownEvidence,
    reading: RegionReading,
    label: NDArray[np.uint8],
    names: Sequence[str],
    rng: np.random.Generator,
) -> HeldOutRows:
    """Reads one held-out image as a new one is read. label: "H W" training ids on the working grid."""
    parts = own_parts(encoding, known, reading)
    labelled = np.flatnonzero(label.ravel() != IGNORE_INDEX)
    picked = torch.from_numpy(rng.choice(labelled, min(_PIXELS, len(labelled)), replace=False)).to(parts.device)
    averaged = [reading.hierarchy.smooth(part) for part in parts]
    smooth = torch.stack([part.flatten()[picked] for part in averaged])
    regions = reading.hierarchy.finest
    owner, _ = region_majority(label, regions, len(names))
    kept = region_mean(torch.from_numpy((label != IGNORE_INDEX).astype(np.float32)), regions) > 0.5
    pooled = pool_taps(encoding, regions, known.space.taps)
    vectors = torch.cat([pooled[tap].float() for tap in known.space.taps], dim=1).cpu()
    area = region_areas(regions) / label.size
    return HeldOutRows(
        parts.flatten(1)[:, picked].cpu(), smooth.cpu(), vectors[kept], owner[kept], area[kept].float(),
        torch.stack([region_mean(part, regions) for part in averaged]).cpu()[:, kept],
        left_out_trials(encoding, known, reading, label, names, rng),
    )  # fmt: skip


def calibrate(
    known: KnownEvidence, rows: Sequence[HeldOutRows], pasted: Sequence[Trial], config: FitConfig, seed: int
) -> tuple[KnownEvidence, WeightTable]:
    """Centres, spreads and weights of the evidence, the threshold, and the regions that margins are set on.

    Also returns how all weights did.
    """
    raw, smooth = (torch.cat([getattr(row, name) for row in rows], dim=1).double() for name in ("raw", "smooth"))
    centre, spread = raw.mean(1), raw.std(1).clamp(min=1e-6)
    known = calibrated(known, centre=tuple(centre.tolist()), spread=tuple(spread.tolist()))
    choices = (config.weights,) if config.weights else WEIGHTS
    weights, table = weigh(known, [*(trial for row in rows for trial in row.trials), *pasted], choices)
    known = calibrated(known, weights=config.weights or weights)
    if config.distort:  # what is known, as another camera might take it
        smooth = torch.cat([trial.parts[:, torch.from_numpy(~trial.unknown)] for trial in pasted], dim=1).double()
    scores = joined_parts(smooth, known).numpy()  # averaging over regions leaves centres and spreads alone
    threshold = float(np.quantile(scores, 1 - known.recipe.target_fpr))
    known = calibrated(known, threshold=threshold, scale=max(1e-6, float(scores.std()) / 2))
    return dataclasses.replace(known, held_out=_held_out(rows, known, config.reference, seed)), table


def _held_out(rows: Sequence[HeldOutRows], known: KnownEvidence, count: int, seed: int) -> HeldOut:
    """`count` of the regions, with the area that each stands for."""
    vectors, label, area = (torch.cat([getattr(row, name) for row in rows]) for name in ("vectors", "label", "area"))
    parts, recipe, device = torch.cat([row.parts for row in rows], dim=1), known.recipe, known.means.device
    kept, area = sample(area, _telling(vectors, area, known), count, torch.Generator().manual_seed(seed))
    strange = (joined_parts(parts[:, kept].to(device), known) - recipe.threshold) / recipe.scale
    return HeldOut(vectors[kept].to(device), label[kept].to(device), area.to(device), strange)


def _telling(vectors: Float[Tensor, "V F"], area: Float[Tensor, " V"], known: KnownEvidence) -> Float[Tensor, " V"]:
    """How much a region tells of margins: area^0.7 exp(-similarity / 0.2).

    They are decided by the little area that is least like what is known, large regions first, yet rare classes have
    none but small ones.
    """
    space, found = known.space, []
    for some in vectors.split(4096):
        units = space.unit(some.to(known.means.device))
        found.append(((space.known_similarity(units) + space.class_similarity(units)) / 2).cpu())
    return area.double() ** 0.7 * (-torch.cat(found).double() / 0.2).exp()


def sample(
    area: Float[Tensor, " V"], chance: Float[Tensor, " V"], count: int, generator: torch.Generator
) -> tuple[Int[Tensor, " S"], Float[Tensor, " S"]]:
    """Indices of at most `count` regions, drawn at even steps of Σ chance, and the area that each stands for.

    A region that is drawn twice stands for twice as much.
    """
    if len(area) <= count:
        return torch.arange(len(area)), area
    chance = chance.double()
    steps = (torch.arange(count) + torch.rand(1, generator=generator, dtype=torch.float64)) / count
    drawn = torch.searchsorted(chance.cumsum(0) / chance.sum(), steps).clamp(max=len(area) - 1)
    kept, times = drawn.unique(return_counts=True)
    return kept, (times * chance.sum() / (count * chance[kept]) * area[kept]).float()


def no_regions(width: int, device: torch.device) -> HeldOut:
    """Before any image was held out."""
    empty = torch.zeros(0, device=device)
    return HeldOut(torch.zeros(0, width, device=device), empty.long(), empty, empty)
