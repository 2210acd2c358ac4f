"""Scores whose state takes room in a world, fitted only if a configuration names them (`fit.scores`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ignota.data.files import one_line
from ignota.scores.dml import MetricHead
from ignota.scores.duir import Resynthesis
from ignota.scores.feature_scores import Mahalanobis, NearestNeighbours, RectifiedActivations, VirtualLogit
from ignota.scores.heads import Ensemble, MaximisedEntropy, MonteCarloDropout
from ignota.scores.rbm import RoadMachine
from ignota.scores.score import AnomalyScore
from ignota.scores.windows import Reconstruction
from ignota.structures import InputError
from ignota.taxonomy import nearest

FITTED_SCORES: dict[str, Callable[[int, int], AnomalyScore]] = {
    "mahalanobis": lambda coreset, neighbours: Mahalanobis(),
    "vim": lambda coreset, neighbours: VirtualLogit(),
    "react": lambda coreset, neighbours: RectifiedActivations(),
    "knn_decoder": lambda coreset, neighbours: NearestNeighbours(("decoder",), coreset, neighbours),
    "dml_frozen": lambda coreset, neighbours: MetricHead("mixed"),
    "dml_eds_frozen": lambda coreset, neighbours: MetricHead("eds"),
    "dml_mmsp_frozen": lambda coreset, neighbours: MetricHead("mmsp"),
    "ensemble": lambda coreset, neighbours: Ensemble(),
    "mc_dropout": lambda coreset, neighbours: MonteCarloDropout(),
    "max_entropy": lambda coreset, neighbours: MaximisedEntropy(),
    "autoencoder": lambda coreset, neighbours: Reconstruction(),
    "rbm": lambda coreset, neighbours: RoadMachine(),
    "duir": lambda coreset, neighbours: Resynthesis(),
}
"""Each from the size of coresets and the number of neighbours. Plugins add entries of their own."""

RENAMED = {"dml": "dml_frozen", "dml_eds": "dml_eds_frozen", "dml_mmsp": "dml_mmsp_frozen"}
"""Former names, in worlds that were fitted before DMLNet's own network took these."""


_OWN = frozenset(FITTED_SCORES)


def fitted_score(name: str, coreset: int, neighbours: int) -> AnomalyScore:
    """The score without its state; raises InputError for another name, with the nearest one, and for one of a plugin
    that cannot be made."""
    if name not in FITTED_SCORES:
        raise InputError(f"no score {name!r} can be fitted{nearest(name, list(FITTED_SCORES))}")
    try:
        score = _made(FITTED_SCORES[name], coreset, neighbours)
    except Exception as error:
        raise InputError(f"the score {name!r} cannot be made ({type(error).__name__}: {error})") from error
    if not isinstance(score, AnomalyScore):
        raise InputError(f"the score {name!r} is made a {type(score).__name__}", "its entry must give an AnomalyScore")
    return score


@lru_cache(maxsize=256)
def _made(make: Callable[[int, int], Any], coreset: int, neighbours: int) -> Any:
    return make(coreset, neighbours)


def held_score(name: str, coreset: int, neighbours: int) -> AnomalyScore:
    """A score that a world holds; raises InputError where it comes from a plugin that was not loaded."""
    if name not in FITTED_SCORES:
        raise InputError(
            f"this world holds the score {one_line(name)!r}, which no package here brings: name the file that does by "
            "--plugin FILE.py, in Python by ignota.load_plugin"
        )
    return fitted_score(name, coreset, neighbours)


def ready_scores(coreset: int, neighbours: int) -> dict[str, AnomalyScore]:
    """Scores of plugins that every world can read, as they need no state."""
    made = {name: fitted_score(name, coreset, neighbours) for name in FITTED_SCORES if name not in _OWN}
    return {name: score for name, score in made.items() if score.ready}


def code_of(name: str) -> str:
    """What tells the code of a plugin's score from other code of that name; empty for scores of the package."""
    make = None if name in _OWN else FITTED_SCORES.get(name)
    return "" if make is None else str(getattr(make, "__module__", ""))
