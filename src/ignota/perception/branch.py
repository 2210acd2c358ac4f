"""A branch: a copy of the segmenter, trained further by one of the paper's systems, with its heads.

The closed set stays as it is beside it. A branch is built from its file and run only when one of its methods is asked
for. Systems: `paper` and `released` are RAML as printed and as its code is, `dmlnet` is DMLNet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ignota.functional.meta_channels import PRESETS, activate, channel_shares
from ignota.functional.pooling import region_pool
from ignota.incremental.metric_methods import MetricEncoding
from ignota.models.heads import MetaChannelHead, RegionEmbedder
from ignota.perception.networks import ImageLike, Networks, largest_class
from ignota.perception.proposals import mask_region
from ignota.perception.scene import resize_mask
from ignota.scores.dml import METRIC_SCORES, metric_maps
from ignota.structures import Encoding, InputError, RegionSet

SYSTEMS = ("paper", "released", "dmlnet")
Trained = TypeVar("Trained")
DMLNET = "dmlnet"
METRIC_METHODS = ("npm", "plm_latest", "plm_all", "ft")
"""The incremental methods that run on it; `METRIC_SCORES` are the anomaly scores."""


def not_held(name: str, system: str, instead: str = "") -> InputError:
    """The error for a score or method `name` of a system whose branch a world lacks."""
    remedy = f"add it by `ignota fit --branches {system}`" + (f", or take {instead}" if instead else "")
    return InputError(f"{name!r} runs on the branch `{system}`, which this world does not hold: {remedy}")


BRANCH_SCORES = {"meta_mass": "paper"} | dict.fromkeys(METRIC_SCORES, "dmlnet")
"""Anomaly scores that a branch gives. meta_mass is transductive where the unknown classes lie, as void pixels, in the
images that the branch was fine-tuned on."""


@dataclass(frozen=True)
class BranchReading:
    """What a branch makes of one image.

    channels: "K h w" the meta channels in 0..1. features: "F h w" the decoder's. known: "H W" its own labels of the
    known classes, on the working grid.
    """

    channels: Float[Tensor, "K h w"]
    features: Float[Tensor, "F h w"]
    known: UInt8[np.ndarray, "H W"]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the working grid."""
        return self.known.shape[0], self.known.shape[1]

    def mass(self) -> Float[Tensor, "H W"]:
        """Σ_i C_i over the meta channels, in 0..1 under softmax: high where no known class takes the pixel."""
        return F.interpolate(self.channels.sum(0)[None, None], size=self.size, mode="bilinear")[0, 0]

    def pool(self, regions: RegionSet) -> Float[Tensor, "R F"]:
        """The mean feature of each region, the inner part of Equation 3."""
        return region_pool(self.features, regions)


@dataclass(frozen=True)
class Branch:
    """system: `paper` or `released`. networks: its segmenter, without a frozen encoder. head: its meta channels.

    embedder: D of Equation 3 on its features. card: how it was trained, for people and reports.
    """

    system: str
    networks: Networks
    head: MetaChannelHead
    embedder: RegionEmbedder
    card: dict[str, Any]

    @torch.inference_mode()
    def read(self, encoding: Encoding) -> BranchReading:
        """Runs the branch on the working image of an encoding."""
        logits, features = self.networks.runner(self.networks, encoding.image, None)
        logits = logits.float()
        raw = self.head(logits[None].contiguous(memory_format=torch.channels_last))
        losses, classes = PRESETS[self.system], self.head.num_classes
        known = raw[0, :classes] if losses.segmentation == "channels" else logits
        size = (encoding.image.shape[0], encoding.image.shape[1])
        channels = activate(raw, losses)[0, classes:]
        return BranchReading(channels, features["decoder"].float(), largest_class(known, size))

    def score(self, reading: BranchReading, name: str) -> Float[Tensor, "H W"]:
        """The score `meta_mass` on the working grid."""
        return reading.mass()

    def exemplar(self, encoding: Encoding, mask: Bool[np.ndarray, "H W"]) -> dict[str, Tensor]:
        """What a labelled example leaves behind, by the names under which it is stored with the exemplar.

        The mean feature of the mask, "1 F", and the ratio of Equation 13 of each meta channel, "K".
        """
        reading = self.read(encoding)
        grid = (reading.channels.shape[1], reading.channels.shape[2])
        small = torch.from_numpy(resize_mask(mask, grid)).to(reading.channels.device)[None]
        shares = channel_shares(reading.channels[None], small, masked=self.system == "released")[0]
        return {feature_key(self.system): reading.pool(mask_region(mask)), share_key(self.system): shares}


def feature_key(system: str) -> str:
    """Under which a branch's features lie in `Exemplar.whole`."""
    return f"{system}/decoder"


def share_key(system: str) -> str:
    """Under which a branch's channel shares lie in `Exemplar.shares`."""
    return f"{system}/channels"


def built(branch: Trained, networks: Networks) -> Trained:
    """The maker of a branch that exists already, on the device that it was built for."""
    return branch


@dataclass
class Branches:
    """The branches of a world, each built when it is first asked for.

    makers: what builds the branch of a system beside given networks.
    """

    makers: Mapping[str, Callable[[Networks], Any]] = field(default_factory=dict)
    _built: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(self.makers)

    def get(self, system: str, networks: Networks) -> Any:
        """The branch of `system` on the device of `networks`; raises InputError where the world has none."""
        if system not in self.makers:
            there = f"it has {', '.join(self.makers)}" if self.makers else "it has none"
            raise InputError(f"this world has no branch {system!r} ({there}): `ignota fit --branches {system}` adds it")
        key = system, str(networks.device)
        if key not in self._built:
            with torch.inference_mode(False):  # whoever asks: a maker may load weights or train them
                self._built[key] = self.makers[system](networks)
        return self._built[key]

    def metric_network(self, networks: Networks, names: Collection[str]) -> MetricNetwork | None:
        """The branch `dmlnet` where one of the named methods or scores runs on it, otherwise None.

        Raises InputError where it is wanted and the world has none.
        """
        wanted = [name for name in names if name in METRIC_METHODS or name in METRIC_SCORES]
        if not wanted:
            return None
        if DMLNET not in self.systems:
            raise not_held(wanted[0], DMLNET, f"{wanted[0]}_frozen")
        network: MetricNetwork = self.get(DMLNET, networks)
        return network


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
