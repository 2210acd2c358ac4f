"""What a world knows of its known classes: fitted once, then frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ignota.anomaly.fitted_scores import fitted_score
from ignota.anomaly.logit_scores import LOGIT_SCORES
from ignota.anomaly.nearest import NearestNeighbours
from ignota.anomaly.score import AnomalyScore, State
from ignota.models.embedder import RegionEmbedder
from ignota.regions.proposals import UncertaintyRegions
from ignota.world.spaces import MetricSpace

PARTS = ("pixel", "neighbours", "region")
"""The three pieces of evidence that the world's own score joins: logits, frozen features, D."""


@dataclass(frozen=True)
class Recipe:
    """Numbers that shape reading, set by configuration or from training images, never from test data.

    alpha, beta, min_area: Equation 2. centre, spread: of each part on held-out training images. weights: of each part.
    threshold: of the world's own score, at the target false positive rate; scale: its spread on held-out images.
    theta: θ_novel of Equation 12. kappa: Equation 13. steal: the share of known regions a new class may claim.
    extra: further scores whose states are held.
    """

    alpha: float
    beta: float
    min_area: float
    frozen_taps: tuple[str, ...]
    coreset: int
    neighbours: int
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spread: tuple[float, float, float] = (1.0, 1.0, 1.0)
    threshold: float = 0.0
    scale: float = 1.0
    target_fpr: float = 0.05
    theta: float = 0.8
    kappa: float = 0.1
    steal: float = 0.005
    extra: tuple[str, ...] = ()

    @property
    def urs(self) -> UncertaintyRegions:
        return UncertaintyRegions(self.alpha, self.beta, self.min_area)

    @property
    def whole(self) -> UncertaintyRegions:
        """The same regions with every pixel given to one of them."""
        return UncertaintyRegions(self.alpha, self.beta, self.min_area, whole=True)

    def scores(self) -> dict[str, AnomalyScore]:
        """Every pixel score of this world by name, without its state."""
        found = dict(LOGIT_SCORES)
        if self.frozen_taps:
            found["knn"] = NearestNeighbours(self.frozen_taps, self.coreset, self.neighbours)
        return found | {name: fitted_score(name, self.coreset, self.neighbours) for name in self.extra}


@dataclass(frozen=True)
class KnownEvidence:
    """Metric spaces by name ("paper", "released", "ignota"), score states by score, and the recipe.

    means: "C F", the mean decoder feature of each known class, pixel by pixel: the prototypes of NPM.
    """

    spaces: dict[str, MetricSpace]
    states: dict[str, State]
    recipe: Recipe
    means: Tensor

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Everything to be stored, by a flat name."""
        yield "means", self.means
        for score, state in self.states.items():
            for name, value in state.items():
                yield f"score.{score}.{name}", value
        for name, space in self.spaces.items():
            for field in ("prototypes", "reference", "calibration", "calibration_area"):
                yield f"space.{name}.{field}", getattr(space, field)
            for key, value in space.embedder.state_dict().items():
                yield f"space.{name}.embedder.{key}", value

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], recipe: Recipe, taps: dict[str, tuple[str, ...]], num_classes: int
    ) -> KnownEvidence:
        """The inverse of `tensors`; raises KeyError for a missing tensor and RuntimeError for one of a wrong shape."""
        states: dict[str, State] = {name: {} for name in recipe.scores()}
        for key, value in tensors.items():
            if key.startswith("score."):
                _, name, rest = key.split(".", 2)
                states[name][rest] = value
        spaces = {name: _space(tensors, name, names, num_classes) for name, names in taps.items()}
        return cls(spaces, states, recipe, tensors["means"])


def _space(tensors: dict[str, Tensor], name: str, taps: tuple[str, ...], num_classes: int) -> MetricSpace:
    prefix = f"space.{name}."
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    weights = {key.removeprefix("embedder."): value for key, value in own.items() if key.startswith("embedder.")}
    hidden, features = weights["first.weight"].shape
    with torch.device("meta"):
        embedder = RegionEmbedder(features, num_classes, hidden, weights["second.weight"].shape[0])
    embedder.load_state_dict(weights, assign=True)
    fields = [own[field] for field in ("prototypes", "reference", "calibration", "calibration_area")]
    return MetricSpace(taps, embedder.requires_grad_(False).eval(), *fields)
