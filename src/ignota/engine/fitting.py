"""Stage 4, `fit`: no gradients; two passes over training images fill KnownEvidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ignota.engine.configuration import ExperimentConfig
from ignota.engine.harvest import RegionRows, training_label
from ignota.engine.stream import STAGES, Samples
from ignota.functional.prototypes import class_prototypes
from ignota.models.embedder import RegionEmbedder
from ignota.taxonomy import IGNORE_INDEX
from ignota.world.known import KnownEvidence, Recipe
from ignota.world.model import calibrated
from ignota.world.networks import Networks
from ignota.world.reading import join_parts, own_parts
from ignota.world.spaces import MetricSpace

_PIXELS = 4000
"""How many pixels of each held-out image set scales and thresholds."""


def image_generator(seed: int, image: int) -> np.random.Generator:
    return np.random.default_rng([seed, STAGES["fit"], image])


def starting_recipe(config: ExperimentConfig, alpha: float, beta: float, frozen: bool) -> Recipe:
    """The numbers that configuration alone decides."""
    fit = config.fit
    return Recipe(
        alpha,
        beta,
        config.regions.min_area,
        fit.frozen_taps if frozen else (),
        fit.coreset,
        fit.neighbours,
        target_fpr=fit.target_fpr,
        theta=config.incremental.threshold,
        kappa=config.incremental.kappa,
        extra=fit.scores,
    )


def split_images(images: Sequence[int], held_out: float) -> tuple[list[int], list[int]]:
    """The last share is held out: frames of a video resemble their neighbours, so a random share would leak."""
    at = max(1, round(len(images) * (1 - held_out)))
    at = min(at, len(images) - 1) if len(images) > 1 else 1
    return list(images[:at]), list(images[at:]) or list(images)


def metric_space(
    taps: tuple[str, ...], embedder: RegionEmbedder, rows: RegionRows, held_out: set[int], size: int, classes: int
) -> MetricSpace:
    """Prototypes from label regions (Equation 4), references and calibration rows from all kinds of regions."""
    with torch.inference_mode():
        device = embedder.mean.device
        embeddings = embedder(torch.cat([rows.pooled[tap].float() for tap in taps], dim=1).to(device)).cpu()
    outside = torch.tensor([int(i) in held_out for i in rows.image])
    labelled = (rows.source == 0) & ~outside
    # Regions of several classes stay among the references: at test time such regions come up too, and are no novelty.
    reference = _spread(embeddings[~outside], size)
    calibration = (outside & (rows.source != 2)).nonzero()[:, 0]
    calibration = calibration[_even(len(calibration), size)]
    return MetricSpace(
        taps,
        embedder,
        class_prototypes(embeddings[labelled], rows.label[labelled], classes).to(device),
        reference.to(device),
        embeddings[calibration].to(device),
        rows.area[calibration].float().to(device),
    )


def class_means(rows: RegionRows, held_out: set[int], classes: int) -> Tensor:
    """Mean decoder feature of each known class over all its training pixels, "C F"."""
    kept = (rows.source == 0) & torch.tensor([int(i) not in held_out for i in rows.image])
    weight = rows.area[kept].double()
    weight = weight / torch.bincount(rows.label[kept], weight, classes)[rows.label[kept]]
    weighted = rows.pooled["decoder"][kept].double() * weight[:, None]
    means = torch.zeros(classes, weighted.shape[1], dtype=torch.float64).index_add_(0, rows.label[kept], weighted)
    return means.float()


def _even(count: int, most: int) -> Tensor:
    return torch.linspace(0, max(0, count - 1), min(count, most)).round().long()


def _spread(embeddings: Tensor, size: int) -> Tensor:
    return embeddings[_even(len(embeddings), size)]


def fit_states(
    networks: Networks,
    samples: Samples,
    images: Sequence[int],
    recipe: Recipe,
    lut: NDArray[np.uint8],
    seed: int,
    tick: Callable[[], object],
) -> dict[str, dict[str, Tensor]]:
    """The state of every score from one pass over `images`, on their labelled pixels."""
    catalogue = recipe.scores()
    observations: dict[str, list[dict[str, Tensor]]] = {name: [] for name in catalogue}
    for i in images:
        sample = samples[i]
        encoding = networks.encode(sample.image)
        label = training_label(sample, lut, (encoding.logits.shape[1], encoding.logits.shape[2]))
        for name, score in catalogue.items():
            observations[name].append(score.observe(encoding, label, image_generator(seed, i)))
        tick()
    states = {name: score.state(observations[name]) for name, score in catalogue.items()}
    return {name: {k: v.to(networks.device) for k, v in state.items()} for name, state in states.items()}


def calibrate(
    networks: Networks,
    known: KnownEvidence,
    samples: Samples,
    images: Sequence[int],
    lut: NDArray[np.uint8],
    seed: int,
    tick: Callable[[], object],
) -> KnownEvidence:
    """Centres and spreads of the score's parts, then its threshold, on labelled pixels of held-out training images."""
    parts: list[list[Tensor]] = [[], [], []]
    kept = []
    for i in images:
        sample = samples[i]
        encoding = networks.encode(sample.image)
        regions = known.recipe.whole(encoding.image, encoding.logits)
        pieces = own_parts(encoding, known, regions)
        label = training_label(sample, lut, (encoding.image.shape[0], encoding.image.shape[1]))
        rows = np.flatnonzero(label.ravel() != IGNORE_INDEX)
        if len(rows):
            picked = torch.from_numpy(image_generator(seed, i).choice(rows, min(_PIXELS, len(rows)), replace=False))
            region_of = torch.from_numpy(regions.ids.ravel()[picked.numpy()] - 1).long()
            values = (pieces[0].flatten()[picked], pieces[1].flatten()[picked], pieces[2][region_of])
            for part, value in zip(parts, values, strict=True):
                part.append(value.cpu())
            kept.append((i, picked, pieces, regions))
        tick()
    joined = [torch.cat(part) for part in parts]
    known = calibrated(
        known,
        centre=tuple(float(part.mean()) for part in joined),
        spread=tuple(max(1e-6, float(part.std())) for part in joined),
    )
    scores = torch.cat(
        [join_parts(*pieces, regions, known).flatten()[picked].cpu() for _, picked, pieces, regions in kept]
    )
    threshold = float(np.quantile(scores.numpy(), 1 - known.recipe.target_fpr))
    return calibrated(known, threshold=threshold, scale=max(1e-6, float(scores.std()) / 2))
