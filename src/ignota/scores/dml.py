"""DMLNet's anomaly scores, from its own network or from a metric head on frozen features.

Cen, Yun, Cai, Wang and Liu, "Deep Metric Learning for Open World Semantic Segmentation", ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ignota.functional import one_hot_metric
from ignota.scores.heads import Heads, HeadScore
from ignota.scores.score import AnomalyScore, State

_VARIANCE = 0.01
"""The weight of the variance loss, as released."""


Reading = Literal["mixed", "eds", "mmsp"]

READINGS: dict[Reading, Callable[[Tensor], Tensor]] = {
    "mixed": one_hot_metric.mixed,
    "eds": one_hot_metric.eds,
    "mmsp": one_hot_metric.mmsp,
}

METRIC_SCORES: dict[str, Reading] = {"dml": "mixed", "dml_eds": "eds", "dml_mmsp": "mmsp"}
"""Scores of the `dmlnet` branch by name. The released code ran EDS alone."""


def metric_maps(logits: Float[Tensor, "C H W"], names: Sequence[str]) -> dict[str, Float[Tensor, "H W"]]:
    """The named scores of one image from metric logits, 0..1 by the image's own range, higher = more anomalous.

    Give the logits at full resolution: the range is taken over the pixels that are given.
    """
    rows = logits.flatten(1).T
    return {name: READINGS[METRIC_SCORES[name]](rows).view(logits.shape[1:]) for name in names}


class MetricHead(HeadScore):
    """A head f into a space with a centre 3·e_c for each class, trained by cross entropy over -‖f - 3 e_c‖² and 0.01
    of the variance loss; `reading` makes a score of f."""

    citation = "Cen et al., ICCV 2021 (DMLNet)"

    def __init__(
        self,
        reading: Reading = "mixed",
        tap: str = "decoder",
        per_image: int = 192,
        hidden: int = 128,
        steps: int = 1000,
    ) -> None:
        super().__init__(tap, per_image, hidden, steps)
        self.reading = reading

    def learns_like(self, other: AnomalyScore) -> bool:
        """All readings stand on one head."""
        return isinstance(other, MetricHead) and {**vars(self), "reading": ""} == {**vars(other), "reading": ""}

    def loss(
        self, heads: Heads, units: Float[Tensor, "M N F"], label: Int[Tensor, "M N"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        f, target = heads(units).flatten(0, 1), label.flatten()
        cross_entropy = F.cross_entropy(one_hot_metric.metric_logits(f), target)
        return cross_entropy + _VARIANCE * one_hot_metric.variance_loss(f, target)

    def read(self, heads: Heads, units: Float[Tensor, "1 N F"], state: State) -> Float[Tensor, " N"]:
        return READINGS[self.reading](one_hot_metric.metric_logits(heads(units)[0]))
