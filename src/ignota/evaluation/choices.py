"""What a caller chooses to measure: scores, methods, α and β, exemplars; wrong choices are refused at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ignota.data.datasets import LabelledImages
from ignota.data.shots import Shots
from ignota.evaluation.evaluation import anomaly_label_lut, evaluate_anomaly, with_edges
from ignota.evaluation.few_shot_methods import HEAD_METHODS
from ignota.formats.score_maps import MapFolder
from ignota.functional.edges import paper_edges
from ignota.metrics.anomaly import Protocol
from ignota.perception.branch import BRANCH_SCORES, DMLNET, METRIC_METHODS, not_held
from ignota.perception.composing import check_name
from ignota.perception.reading import score_names
from ignota.structures import InputError
from ignota.taxonomy import nearest
from ignota.world.labelling import METHODS, held_methods
from ignota.world.model import OpenWorldModel

Edges = Literal["training", "paper"] | tuple[float, float]
"""α and β of Equation 2: the world's own, the paper's for its test sets, or two numbers."""


def chosen(names: Sequence[str] | None, kind: str, available: Sequence[str]) -> list[str]:
    """The names, each once, or all there are for None; raises InputError with the nearest name."""
    found = list(dict.fromkeys(available if names is None else names))
    for name in found:
        if name not in available:
            raise InputError(f"no {kind} {name!r}{nearest(name, available)}")
    if not found:
        raise InputError(f"no {kind} was named; there are: {', '.join(available)}")
    return found


def chosen_scores(names: Sequence[str] | None, world: OpenWorldModel) -> list[str]:
    """Scores such as `a`, `region:b` and `fuse:a+b`, each once, or all that need no branch; raises InputError."""
    found = list(dict.fromkeys(names or ()))
    for name in found:
        if BRANCH_SCORES.get(name, name) not in (name, *world.branches.systems):
            raise not_held(name, BRANCH_SCORES[name])
        check_name(name, world.score_names(), world.known.states)
    return found or chosen(names, "score", score_names(world.known))


def check_outside(outside: Sequence[MapFolder], scores: Sequence[str], dataset: LabelledImages) -> None:
    """Raises InputError where maps of other methods have the name of a score, or an image has none."""
    names = [maps.name for maps in outside]
    for maps in outside:
        if maps.name in scores or names.count(maps.name) > 1:
            raise InputError.of_argument("maps", f"are called {maps.name!r} as another score is: choose another name")
        maps.check(dataset)


def checked_methods(names: Sequence[str] | None) -> list[str] | None:
    """Names of methods, each once; None stays None; raises InputError for one that no world has."""
    return None if names is None else chosen(names, "method", (*METHODS, *HEAD_METHODS, *METRIC_METHODS))


def default_methods(world: OpenWorldModel) -> list[str]:
    """Every method that the world can follow."""
    return [*held_methods(world), *HEAD_METHODS, *(METRIC_METHODS if DMLNET in world.branches.systems else ())]


def chosen_shots(shots: int, draws: int, min_share: float, seed: int) -> list[Shots]:
    """`draws` random draws of exemplars, or for 0 the images in which a class is largest; raises InputError."""
    if shots < 1:
        raise InputError.of_argument("shots", f"is 1 or more, not {shots}")
    if draws < 0:
        raise InputError.of_argument("draws", f"is 0 or more, not {draws}")
    if not 0 <= min_share <= 1:
        raise InputError.of_argument("min_share", f"is in 0..1, not {min_share:g}")
    return [Shots(shots, seed + n, min_share) for n in range(draws)] or [Shots(shots)]


def edged(world: OpenWorldModel, edges: Edges, dataset: str) -> OpenWorldModel:
    """The world with α and β of Equation 2 as chosen for `dataset`; raises InputError."""
    if edges == "training":
        return world
    if edges == "paper":
        return with_edges(world, paper_edges(dataset))
    if isinstance(edges, str) or len(edges) != 2:
        raise InputError.of_argument("edges", f"is training, paper or two numbers ALPHA,BETA, not {edges!r}")
    alpha, beta = edges
    if not (0 <= alpha < math.inf and 0 <= beta <= 1):
        raise InputError.of_argument("edges", f"takes α from 0 and β in 0..1, not {alpha:g},{beta:g}")
    return with_edges(world, (alpha, beta))


@dataclasses.dataclass(frozen=True)
class AnomalyChoice:
    """What `evaluate anomaly` measures. scores: None for every score of the world. outside: maps of other methods."""

    scores: Sequence[str] | None = None
    protocol: Protocol = "standard"
    edges: Edges = "training"
    outside: Sequence[MapFolder] = ()

    def of(self, world: OpenWorldModel, dataset: LabelledImages) -> tuple[OpenWorldModel, list[str]]:
        """The world with the chosen edges, and the scores; raises InputError for a data set without anomalies."""
        world = edged(world, self.edges, dataset.name)
        scores = chosen_scores(self.scores, world)
        anomaly_label_lut(world, dataset)
        if self.outside and self.protocol == "dmlnet":
            raise InputError.of_argument("maps", "are read at one scale, the protocol dmlnet reads five: leave one out")
        check_outside(self.outside, scores, dataset)
        return world, scores

    def figures(
        self, world: OpenWorldModel, dataset: LabelledImages, tick: Callable[[], object] = lambda: None
    ) -> dict[str, Any]:
        """The figures of all images, components included; tick: called after each image."""
        world, scores = self.of(world, dataset)
        return evaluate_anomaly(
            world, dataset, scores, self.protocol, lambda *_: tick(), components=True, outside=self.outside
        ).figures
