"""Scores whose state is fitted only when a configuration names them (`fit.scores`), as it takes room in a world."""

from __future__ import annotations

from collections.abc import Callable

from ignota.scores.autoencoder import Reconstruction
from ignota.scores.dml import MetricHead
from ignota.scores.duir import Resynthesis
from ignota.scores.ensembles import Ensemble, MonteCarloDropout
from ignota.scores.mahalanobis import Mahalanobis
from ignota.scores.max_entropy import MaximisedEntropy
from ignota.scores.nearest import NearestNeighbours
from ignota.scores.rbm import RoadMachine
from ignota.scores.react import RectifiedActivations
from ignota.scores.score import AnomalyScore
from ignota.scores.vim import VirtualLogit
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
"""Each from the size of coresets and the number of neighbours."""

RENAMED = {"dml": "dml_frozen", "dml_eds": "dml_eds_frozen", "dml_mmsp": "dml_mmsp_frozen"}
"""Former names, in worlds that were fitted before DMLNet's own network took these."""


def fitted_score(name: str, coreset: int, neighbours: int) -> AnomalyScore:
    """The score without its state; raises InputError for another name, with the nearest one."""
    if name not in FITTED_SCORES:
        raise InputError(f"no score {name!r} can be fitted{nearest(name, list(FITTED_SCORES))}")
    return FITTED_SCORES[name](coreset, neighbours)
