"""Nearest neighbours among training features.

After Galesso et al., "Far Away in the Deep Space: Dense Nearest-Neighbor-Based Out-of-Distribution Detection" (cDNP),
ICCV workshops 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ignota.anomaly.score import AnomalyScore, State, stacked
from ignota.data.images import resize_label
from ignota.functional.scores import knn_dissimilarity
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX


class NearestNeighbours(AnomalyScore):
    """1 - mean cosine to the k nearest of a coreset of training features, at the finest of the taps' strides."""

    citation = "Galesso et al., ICCVW 2023 (cDNP)"

    def __init__(self, taps: tuple[str, ...], coreset: int, neighbours: int, per_image: int = 64) -> None:
        self.taps, self.coreset, self.neighbours, self.per_image = taps, coreset, neighbours, per_image

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        grid = joined(encoding, self.taps)
        seen = np.flatnonzero(resize_label(label, (grid.shape[1], grid.shape[2])) != IGNORE_INDEX)
        vectors = grid.flatten(1).T
        chosen = rng.choice(seen, min(self.per_image, len(seen)), replace=False)
        return {"vectors": vectors[torch.from_numpy(chosen).to(vectors.device)].cpu()}

    def state(self, observations: Sequence[State]) -> State:
        vectors = stacked(observations, "vectors")
        mean, std = vectors.mean(0), vectors.std(0).clamp(min=1e-6)
        # evenly spaced in the order of their bytes, which is as good as random, whatever order the images came in
        raw = np.ascontiguousarray(vectors.numpy())
        order = np.argsort(raw.view(np.dtype((np.void, raw.shape[1] * raw.itemsize)))[:, 0], kind="stable")
        even = np.linspace(0, len(vectors) - 1, min(self.coreset, len(vectors))).round().astype(int)
        rows = torch.from_numpy(order[even])
        return {"mean": mean, "std": std, "coreset": F.normalize((vectors[rows] - mean) / std, dim=1)}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        grid = joined(encoding, self.taps)
        vectors = (grid.flatten(1).T - state["mean"]) / state["std"]
        found = knn_dissimilarity(vectors, state["coreset"].float(), self.neighbours).view(grid.shape[1:])
        size = encoding.logits.shape[-2:]
        return F.interpolate(found[None, None], size=size, mode="bilinear")[0, 0]


def joined(encoding: Encoding, taps: tuple[str, ...]) -> Float[Tensor, "F h w"]:
    """The taps on the finest grid among them, one under the other."""
    grids = [encoding.features[tap].float() for tap in taps]
    size = max((tuple(grid.shape[-2:]) for grid in grids), key=lambda shape: shape[0] * shape[1])
    return torch.cat(
        [
            grid if tuple(grid.shape[-2:]) == size else F.interpolate(grid[None], size=size, mode="bilinear")[0]
            for grid in grids
        ]
    )
