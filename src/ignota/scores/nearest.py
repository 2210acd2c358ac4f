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

from ignota.data.images import resize_label
from ignota.functional.numbers import evenly_spaced
from ignota.functional.scores import knn_dissimilarity
from ignota.scores.score import AnomalyScore, State, stacked
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX

_STRIDE = 8


class NearestNeighbours(AnomalyScore):
    """1 - mean cosine to the k nearest of a coreset of labelled training pixels, at stride 8.

    The taps stand one under the other, each component standardised over the training pixels.
    """

    citation = "Galesso et al., ICCVW 2023 (cDNP)"

    def __init__(self, taps: tuple[str, ...], coreset: int, neighbours: int, per_image: int = 120) -> None:
        self.taps, self.coreset, self.neighbours, self.per_image = taps, coreset, neighbours, per_image

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        grid = joined_taps(encoding, self.taps)
        coarse = resize_label(label, (grid.shape[1], grid.shape[2])).ravel()
        labelled = np.flatnonzero(coarse != IGNORE_INDEX)
        chosen = rng.choice(labelled, min(self.per_image, len(labelled)), replace=False)
        vectors = grid.flatten(1).T[torch.from_numpy(chosen).to(grid.device)].cpu()
        return {"vectors": vectors, "owner": torch.from_numpy(coarse[chosen].astype(np.uint8))}

    def state(self, observations: Sequence[State]) -> State:
        vectors, owner = stacked(observations, "vectors"), stacked(observations, "owner")
        mean, std = vectors.mean(0), vectors.std(0, correction=0).clamp(min=1e-6)
        # evenly spaced in the order of their bytes, which is as good as random, whatever order the images came in
        raw = np.ascontiguousarray(vectors.numpy())
        order = np.argsort(raw.view(np.dtype((np.void, raw.shape[1] * raw.itemsize)))[:, 0], kind="stable")
        even = evenly_spaced(len(vectors), self.coreset)
        rows = torch.from_numpy(order[even])
        coreset = F.normalize((vectors[rows] - mean) / std, dim=1)
        return {"mean": mean, "std": std, "coreset": coreset, "owner": owner[rows]}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        grid = joined_taps(encoding, self.taps)
        vectors = (grid.flatten(1).T - state["mean"]) / state["std"]
        found = knn_dissimilarity(vectors, state["coreset"].float(), self.neighbours).view(grid.shape[1:])
        size = encoding.logits.shape[-2:]
        return F.interpolate(found[None, None], size=size, mode="bilinear")[0, 0]


def joined_taps(encoding: Encoding, taps: tuple[str, ...]) -> Float[Tensor, "F h w"]:
    """The taps on one grid of stride 8, one under the other: finer ones averaged, coarser ones interpolated."""
    size = (-(-encoding.image.shape[0] // _STRIDE), -(-encoding.image.shape[1] // _STRIDE))
    return torch.cat([_resized(encoding.features[tap].float(), size) for tap in taps])


def _resized(grid: Float[Tensor, "F h w"], size: tuple[int, int]) -> Float[Tensor, "F H W"]:
    if tuple(grid.shape[1:]) == size:
        return grid
    mode = "area" if grid.shape[1] >= size[0] and grid.shape[2] >= size[1] else "bilinear"
    return F.interpolate(grid[None], size=size, mode=mode)[0]
