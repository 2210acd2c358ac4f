"""DMLNet's network as a branch of a world: what its methods and scores read from an image."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ignota.incremental.metric_methods import MetricEncoding
from ignota.perception.branch import not_held
from ignota.perception.networks import ImageLike, Networks
from ignota.perception.perception import Perception
from ignota.scores.dml import METRIC_SCORES, metric_maps
from ignota.structures import Encoding

SYSTEM = "dmlnet"
METRIC_METHODS = ("npm", "plm_latest", "plm_all", "ft")
"""The incremental methods that run on it; `METRIC_SCORES` are the anomaly scores."""


@dataclass(frozen=True)
class MetricNetwork:
    """The branch `dmlnet`. networks: their segmenter's logits are embeddings f, and the tap `decoder` is kept.

    card: how it was trained.
    """

    networks: Networks
    card: dict[str, Any] = field(default_factory=dict)

    @torch.inference_mode()
    def encode(self, image: ImageLike, size: int | None = None) -> MetricEncoding:
        """Runs the network once on an image; size: short side of the working image, if not the branch's own."""
        encoding = self.networks.encode(image, size)
        working = (encoding.image.shape[0], encoding.image.shape[1])
        return MetricEncoding(encoding.logits, encoding.features["decoder"], working)

    @torch.inference_mode()
    def read(self, encoding: Encoding) -> MetricEncoding:
        """Runs the network on the working image of an encoding."""
        embedding, features = self.networks.runner(self.networks, encoding.image, None)
        working = (encoding.image.shape[0], encoding.image.shape[1])
        return MetricEncoding(embedding.float(), features["decoder"].float(), working)

    @torch.inference_mode()
    def score(self, reading: MetricEncoding, name: str) -> Float[Tensor, "H W"]:
        """A score of `METRIC_SCORES` on the working grid."""
        return metric_maps(reading.logits, (name,))[name]


def metric_network_of(world: Perception, names: Collection[str]) -> MetricNetwork | None:
    """The branch `dmlnet` where one of the named methods or scores runs on it, otherwise None.

    Raises InputError where it is wanted and the world has none.
    """
    wanted = [name for name in names if name in METRIC_METHODS or name in METRIC_SCORES]
    if not wanted:
        return None
    if SYSTEM not in world.branches.systems:
        raise not_held(wanted[0], SYSTEM, f"{wanted[0]}_frozen")
    network: MetricNetwork = world.branches.get(SYSTEM, world.networks)
    return network
