"""Figure 6: how compact classes are, pixel by pixel, and region by region as in RAML."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ignota.data.images import resize_label
from ignota.functional.regions import region_majority
from ignota.perception.proposals import label_regions
from ignota.reproduce.example import SPLIT
from ignota.reproduce.taught_worlds import SeenImage, TaughtWorld
from ignota.reproduce.workshop import Workshop
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX

_EACH = 40
"""Pixels or regions of each class."""


@dataclass(frozen=True)
class Cloud:
    """Points "N 2" of a t-SNE with their class "N", and the mean silhouette of the vectors they stand for, in -1..1."""

    title: str
    points: NDArray[np.float32]
    owner: NDArray[np.int64]
    silhouette: float


def clouds(workshop: Workshop, taught: TaughtWorld, system: str = "paper") -> tuple[Cloud, Cloud]:
    """Decoder features of the closed set's pixels, and embeddings by the D of a branch of the connected parts of the
    labels, of the same images."""
    images, split = workshop.setting.evaluate(SPLIT), workshop.setting.ground.parsed(SPLIT)
    branch, rng = taught.world.branch(system), np.random.default_rng(0)
    pixels, regions = [], []
    classes = len(split.world_taxonomy)
    for i in range(len(images)):
        sample = images[i]
        seen = SeenImage(taught.world, sample.image)
        features = seen.encoding.features["decoder"]
        assert sample.label is not None
        label = split.world_lut()[sample.label]
        grid = resize_label(label, (features.shape[1], features.shape[2])).ravel()
        for owner in np.unique(grid[grid != IGNORE_INDEX]):
            chosen = rng.permutation(np.flatnonzero(grid == owner))[: max(1, 2 * _EACH // len(images))]
            pixels += [(features.flatten(1)[:, j].cpu(), int(owner)) for j in chosen.tolist()]
        reading = seen.read(branch)
        working = resize_label(label, reading.size)
        found = label_regions(working, taught.world.known.recipe.min_area)
        majority, _ = region_majority(working, found, classes)
        with torch.inference_mode():
            embedded = branch.embedder(reading.pool(found)).cpu()
        regions += list(zip(embedded, majority.tolist(), strict=True))
    return (
        _cloud("pixel by pixel, the closed set's features", pixels, rng),
        _cloud("region by region, D of RAML as printed", regions, rng),
    )


def _cloud(title: str, found: list[tuple[torch.Tensor, int]], rng: np.random.Generator) -> Cloud:
    try:
        from sklearn.manifold import TSNE
        from sklearn.metrics import silhouette_score
    except ImportError:
        raise InputError("figure-6 needs scikit-learn: pip install 'ignota[reproduce]'") from None
    owner = np.array([label for _, label in found])
    kept = np.concatenate([rng.permutation(np.flatnonzero(owner == label))[:_EACH] for label in np.unique(owner)])
    vectors, owner = torch.stack([vector for vector, _ in found]).numpy()[kept], owner[kept]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    near = min(30.0, max(1.0, (len(vectors) - 1) / 3))
    points = TSNE(perplexity=near, init="pca", random_state=0).fit_transform(vectors)
    apart = silhouette_score(vectors, owner, metric="cosine") if 1 < len(np.unique(owner)) < len(owner) else 0.0
    return Cloud(title, points, owner, float(apart))
