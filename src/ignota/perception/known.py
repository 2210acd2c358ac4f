"""The evidence of the known classes: fitted once, then frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Num
from pydantic import ConfigDict, Field
from torch import Tensor

from ignota.functional.numbers import area_quantile
from ignota.models.heads import RegionEmbedder
from ignota.perception.calibration import Calibration
from ignota.perception.features import FeatureSpace, HeldOut, MetricSpace
from ignota.perception.hierarchy import RegionSettings
from ignota.perception.proposals import UncertaintyRegions
from ignota.scores.feature_scores import NearestNeighbours
from ignota.scores.fitted_scores import RENAMED, held_score, ready_scores
from ignota.scores.logit_scores import LOGIT_SCORES
from ignota.scores.score import AnomalyScore, State
from ignota.structures import InputError

STEALS_HELD = 0.1
"""Of what held-out images show of a known class, a taught one takes no more."""

RecipeName = Literal["light", "full"]
RecipeChoice = Literal["auto", "light", "full"]
"""`auto` is `full` where the world holds it and its packages are installed."""
Real = Annotated[float, Field(ge=-1e6, le=1e6)]
Positive = Annotated[float, Field(ge=1e-9, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
Word = Annotated[str, Field(min_length=1, max_length=64)]


@dataclass(frozen=True)
class Recipe:
    """Numbers that shape reading, set by configuration or from training images, never from test data.

    alpha, beta, min_area: Equation 2. taps: what regions are compared by. weights: of -max logit, of the same in units
    of its class, and of the features; centre, spread: of each of the three on held-out training images. trusted: the
    share of an image, that most like training pixels, whose regions count as known ones for the others. by_class:
    whether the nearest class has a say in the features' evidence beside the nearest pixels. threshold: of the world's
    own score, at the target false positive rate; scale: its spread on held-out images. theta: θ_novel of Equation 12.
    kappa: Equation 13, as printed; kappa_released: as released. `steal`: the share of known area that a new class
    may claim; `steal_class`: of one known class; `steal_counter`: of the class's own counter-examples, each judged by
    the others. lowest_margin: where none of these is exceeded. lowest_similarity: to the class, which each of its
    regions has at least. `surprise`: what a region's anomaly above the threshold, in scales of the score and at most
    `strangest` of them, adds to its similarity to a class of one exemplar. parts: regions of an exemplar that are
    stored at most; inside: the share of a region that must lie in the mask. extra: further scores that are held.
    regions: which regions an image has. objectness: the weight of the objectness map in the world's own score;
    level: how much of the image's median score is taken off before. cutoff: what the score of an unknown object
    must exceed; None: unknown regions are connected pixels above the threshold. component_cutoff: what it must
    exceed where objects are judged as components, `ComponentMetrics`; None: those are connected pixels, too.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    alpha: Real
    beta: Real
    min_area: Share
    taps: Annotated[tuple[Word, ...], Field(min_length=1, max_length=32)]
    coreset: Annotated[int, Field(ge=1, le=10_000_000)]
    neighbours: Annotated[int, Field(ge=1, le=10_000)]
    weights: tuple[Real, Real, Real] = (0.5, 0.5, 1.0)
    centre: tuple[Real, Real, Real] = (0.0, 0.0, 0.0)
    spread: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    trusted: Share = 0.0
    by_class: bool = False
    threshold: Real = 0.0
    scale: Positive = 1.0
    target_fpr: Share = 0.05
    theta: Annotated[float, Field(ge=-1, le=1)] = 0.8
    kappa: Share = 0.1
    kappa_released: Share = 0.15
    steal: Share = 0.01
    steal_class: Share = STEALS_HELD
    steal_counter: Share = 0.1
    lowest_margin: Annotated[float, Field(ge=-2, le=2)] = -0.05
    lowest_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.3
    surprise: Annotated[float, Field(ge=0, le=1e3)] = 0.0
    strangest: Annotated[float, Field(ge=0, le=1e3)] = 1.0
    parts: Annotated[int, Field(ge=0, le=10_000)] = 64
    inside: Share = 0.7
    extra: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    regions: RegionSettings = field(default_factory=RegionSettings)
    objectness: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    level: Share = 0.0
    cutoff: Real | None = None
    component_cutoff: Real | None = None

    def surprised(self, strange: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
        """What an anomaly (in scales above the threshold) adds to the likeness to a taught class of one exemplar."""
        return self.surprise * strange.clamp(0, self.strangest)

    @property
    def urs(self) -> UncertaintyRegions:
        return UncertaintyRegions(self.alpha, self.beta, self.min_area)

    def scores(self) -> dict[str, AnomalyScore]:
        """Every pixel score that this world holds, without its state; raises InputError for a missing plugin."""
        own = {"knn": NearestNeighbours(self.taps, self.coreset, self.neighbours)}
        further = {name: held_score(name, self.coreset, self.neighbours) for name in self.extra}
        return LOGIT_SCORES | own | further

    def readable(self) -> dict[str, AnomalyScore]:
        """The scores that it holds, and those of plugins that need no state."""
        return ready_scores(self.coreset, self.neighbours) | self.scores()


@dataclass(frozen=True)
class KnownEvidence:
    """Metric spaces of D by name ("paper", "released"), score states by score, held-out regions, and the recipe.

    means: "C F", the mean decoder feature of each known class, pixel by pixel: the prototypes of NPM. name: of the
    recipe, `light`, or `full` where it reads an objectness network. others: the recipes by name that are not in use.
    """

    spaces: dict[str, MetricSpace]
    states: dict[str, State]
    held_out: HeldOut
    recipe: Recipe
    means: Tensor
    name: RecipeName = "light"
    others: Mapping[RecipeName, Recipe] = field(default_factory=dict)
    calibration: Calibration | None = None

    def on_camera(self, calibration: Calibration | None) -> KnownEvidence:
        """The same evidence with the threshold of a calibration, and its vectors beside the coreset.

        Raises InputError for vectors or classes of another world.
        """
        if calibration is None:
            return self
        width, classes = len(self.states["knn"]["mean"]), len(self.means)
        owner = calibration.owner
        if calibration.vectors.shape[1] != width or (len(owner) and int(owner.max()) >= classes):
            raise InputError("the calibration is of another world: `ignota undo` takes it back")
        numbers = {name: getattr(calibration, name) for name in ("threshold", "scale", "target_fpr")}
        return replace(self, recipe=replace(self.recipe, **numbers), calibration=calibration)

    @property
    def recipes(self) -> dict[RecipeName, Recipe]:
        """Every recipe by name."""
        return {self.name: self.recipe, **self.others}

    def under(self, name: RecipeName) -> KnownEvidence:
        """The same evidence read by another of its recipes; raises KeyError for one that it has not."""
        recipes = self.recipes
        return replace(self, recipe=recipes.pop(name), name=name, others=recipes)

    @cached_property
    def median_anomaly(self) -> Float[Tensor, ""]:
        """The median anomaly of held-out training images by area, in scales above the threshold."""
        return area_quantile(self.held_out.strange.float(), self.held_out.area, 0.5)

    def surprise(self, anomaly: Float[Tensor, " R"], areas: Num[Tensor, " R"]) -> Float[Tensor, " R"]:
        """What the anomaly of an image's regions adds to their likeness to a taught class of one exemplar.

        Another camera lifts the anomaly of the whole image: by how much its median exceeds that of training images is
        taken off. anomaly: in scales above the threshold.
        """
        lift = (area_quantile(anomaly, areas, 0.5) - self.median_anomaly).clamp(min=0)
        return self.recipe.surprised(anomaly - lift)

    @cached_property
    def held(self) -> tuple[Float[Tensor, "V F"], Float[Tensor, "V k"]]:
        """The held-out regions in the world's own space, and their cosines to the k nearest training pixels."""
        vectors = self.space.unit(self.held_out.vectors.float())
        return vectors, self.space.nearest(vectors)

    @cached_property
    def space(self) -> FeatureSpace:
        """The space of the world's own recipe, on the coreset of its nearest neighbours and what a camera adds."""
        state, added = self.states["knn"], self.calibration
        known, owner = state["coreset"].float(), state["owner"]
        if added is not None:
            vectors, classes = added.on(known.device)
            known, owner = torch.cat([known, vectors]), torch.cat([owner, classes])
        return FeatureSpace(self.recipe.taps, state["mean"], state["std"], known, owner, self.recipe.neighbours)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Everything to be stored, by a flat name."""
        yield "means", self.means
        for score, state in self.states.items():
            for name, value in state.items():
                yield f"score.{score}.{name}", value
        for part in fields(HeldOut):
            yield f"held_out.{part.name}", getattr(self.held_out, part.name)
        for name, space in self.spaces.items():
            yield f"space.{name}.prototypes", space.prototypes
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
                states[RENAMED.get(name, name)][rest] = value
        spaces = {name: _space(tensors, name, names, num_classes) for name, names in taps.items()}
        tensors.setdefault("held_out.strange", torch.zeros_like(tensors["held_out.area"]))  # worlds before it was kept
        held_out = HeldOut(*(tensors[f"held_out.{part.name}"] for part in fields(HeldOut)))
        return cls(spaces, states, held_out, recipe, tensors["means"])


def _space(tensors: dict[str, Tensor], name: str, taps: tuple[str, ...], num_classes: int) -> MetricSpace:
    prefix = f"space.{name}."
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    weights = {key.removeprefix("embedder."): value for key, value in own.items() if key.startswith("embedder.")}
    hidden, features = weights["first.weight"].shape
    with torch.device("meta"):
        embedder = RegionEmbedder(features, num_classes, hidden, weights["second.weight"].shape[0])
    embedder.load_state_dict(weights, assign=True)
    return MetricSpace(taps, embedder.requires_grad_(False).eval(), own["prototypes"])
