"""DMLNet's network as a branch of a world: what its methods and scores need of an image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ignota.anomaly.dml import METRIC_SCORES, metric_maps
from ignota.incremental.metric_methods import MetricEncoding
from ignota.structures import InputError
from ignota.world.networks import ImageLike, Networks

METRIC_METHODS = ("npm", "plm_latest", "plm_all", "ft")
"""The incremental methods that run on it; `METRIC_SCORES` are the anomaly scores."""


@dataclass(frozen=True)
class MetricNetwork:
    """The branch `dmlnet`. networks: their segmenter's logits are embeddings f, and the tap `decoder` is kept."""

    networks: Networks

    @torch.inference_mode()
    def encode(self, image: ImageLike, size: int | None = None) -> MetricEncoding:
        """Runs the network once on an image; size: short side of the working image, if not the branch's own."""
        encoding = self.networks.encode(image, size)
        working = (encoding.image.shape[0], encoding.image.shape[1])
        return MetricEncoding(encoding.logits, encoding.features["decoder"], working)

    @torch.inference_mode()
    def scores(self, encoding: MetricEncoding, names: Sequence[str]) -> dict[str, Float[Tensor, "H W"]]:
        """The named scores of `METRIC_SCORES` on the working grid."""
        return metric_maps(encoding.logits, names)


def check_metric_network(network: MetricNetwork | None, names: Collection[str]) -> None:
    """Raises InputError where methods or scores of DMLNet's network are named and there is no such branch."""
    wanted = [name for name in names if name in METRIC_METHODS or name in METRIC_SCORES]
    if wanted and network is None:
        raise InputError(
            f"{wanted[0]!r} runs on the branch `dmlnet`, which this world does not hold: train a world that does by "
            f"`ignota run PRESET --out DIR --branches dmlnet`, or use {wanted[0]}_frozen"
        )
