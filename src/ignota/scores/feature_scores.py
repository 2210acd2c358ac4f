"""Scores from features of sampled training pixels: Mahalanobis distance, ReAct, virtual-logit matching, neighbours."""

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
from ignota.scores.score import AnomalyScore, SampledScore, State, linear_head, stacked
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX

_FLOOR = 1e-3
_STRIDE = 8


class Mahalanobis(SampledScore):
    """min_c √((f - μ_c)ᵀ Σ⁻¹ (f - μ_c)) with the means of the classes and one covariance for all (their Eq. 2).

    The root of their squared distance, which keeps the order. Every class weighs the same in Σ, as far as it has
    pixels. Σ's smallest eigenvalues are raised to a thousandth of their mean, so that it can be inverted. f is measured
    in units of its spread, which changes nothing but keeps the state within half precision.
    """

    citation = "Lee et al., NeurIPS 2018"

    def state(self, observations: Sequence[State]) -> State:
        rows = self.rows(observations)
        shift, spread = rows.features.mean(0), rows.features.std(0, correction=0)
        scale = spread.clamp(min=max(1e-6, 0.01 * float(spread.mean())))  # a dead channel must not decide everything
        units = (rows.features - shift) / scale
        present, owner = rows.label.unique(return_inverse=True)
        means = torch.stack([units[owner == i].mean(0) for i in range(len(present))])
        inner = units - means[owner]
        values, axes = torch.linalg.eigh(inner.T @ inner / len(inner))
        values = values.clamp(min=max(1e-6, _FLOOR * float(values.mean())))
        whitening = axes / values.sqrt()
        found = {"shift": shift, "scale": scale, "whitening": whitening, "means": means @ whitening}
        return {name: value.float() for name, value in found.items()}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        units = (self.vectors(encoding) - state["shift"]) / state["scale"]
        whitened = units @ state["whitening"]
        distances = torch.cdist(whitened, state["means"], compute_mode="donot_use_mm_for_euclid_dist")
        return self.on_logits(distances.amin(1, keepdim=True), encoding)[0]


class RectifiedActivations(SampledScore):
    """-log Σ exp(W min(f, c) + b), c the 90th percentile of all training activations (their Eq. 2 and Section 3).

    Computed as U - W max(f - c, 0), which is the same for a linear classifier and a good guess for another.
    """

    citation = "Sun et al., NeurIPS 2021 (ReAct)"

    def __init__(self, tap: str = "decoder", per_image: int = 96, percentile: float = 90.0) -> None:
        super().__init__(tap, per_image)
        self.percentile = percentile

    def state(self, observations: Sequence[State]) -> State:
        rows = self.rows(observations)
        limit = float(np.percentile(rows.features.numpy(), self.percentile))
        return {"weight": linear_head(rows)[0].float(), "limit": torch.tensor(limit)}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        excess = (self.vectors(encoding) - state["limit"]).clamp(min=0) @ state["weight"].T
        return -(encoding.logits - self.on_logits(excess, encoding)).logsumexp(0)


class VirtualLogit(SampledScore):
    """α ‖x^P⊥‖ - log Σ exp U (their Eq. 4 to 6, as a logarithm), x = f - o.

    o = -(Wᵀ)⁺ b is the origin where all logits vanish, P the span of the D largest principal axes of training
    features about o, α the sum of the training pixels' largest logits over that of their residuals ‖x^P⊥‖. D as in
    their Section 5: 1000 of 2048 features and more, 512 of 768 and more, else half of them.
    """

    citation = "Wang et al., CVPR 2022 (ViM)"

    def state(self, observations: Sequence[State]) -> State:
        rows = self.rows(observations)
        weight, bias = linear_head(rows)
        origin = -torch.linalg.pinv(weight) @ bias
        moved = rows.features - origin
        _, axes = torch.linalg.eigh(moved.T @ moved / len(moved))  # the smallest first
        features = moved.shape[1]
        principal = 1000 if features >= 2048 else 512 if features >= 768 else features // 2
        rest = axes[:, : features - principal]
        residual = (moved @ rest).norm(dim=1).mean()
        alpha = rows.logits.amax(1).mean() / residual if residual > 1e-9 else torch.zeros(())
        return {"origin": origin.float(), "rest": rest.float(), "alpha": alpha.clamp(min=0).float()}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        residual = ((self.vectors(encoding) - state["origin"]) @ state["rest"]).norm(dim=1, keepdim=True)
        return state["alpha"] * self.on_logits(residual, encoding)[0] - encoding.logits.logsumexp(0)


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
