"""Segmenters of segmentation_models_pytorch: PSPNet and DeepLabV3+ on any of its encoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ignota.models.depthwise import use_fast_depthwise
from ignota.models.names import smp_name
from ignota.models.segmenter import ClosedSetSegmenter, Tap, crop_to_image, pad_to_multiple
from ignota.models.weights import imagenet_weights, load_encoder
from ignota.structures import InputError, Preprocessing, SegmenterOutput
from ignota.taxonomy import nearest

ARCHITECTURES = ("deeplabv3plus", "pspnet")


Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class SmpSpec:
    """What it takes to build the network again: kept in world.json beside its weights.

    detail: channels of a second reading at stride 2, added to the logits; 0 for none, as in the paper.
    """

    num_classes: int
    architecture: str = "deeplabv3plus"
    encoder: str = "tf_efficientnet_lite0"
    output_stride: int = 16
    decoder_channels: int = 256
    detail: int = 0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)


def _build(spec: SmpSpec) -> nn.Module:
    name = smp_name(spec.encoder)
    try:
        if spec.architecture == "deeplabv3plus":
            return smp.DeepLabV3Plus(
                name, encoder_weights=None, classes=spec.num_classes, encoder_output_stride=spec.output_stride,
                decoder_channels=spec.decoder_channels,
                decoder_atrous_rates=(6, 12, 18) if spec.output_stride == 16 else (12, 24, 36),
            )  # fmt: skip
        network = smp.PSPNet(
            name, encoder_weights=None, classes=spec.num_classes, encoder_depth=5, upsampling=spec.output_stride,
            psp_out_channels=spec.decoder_channels,
        )  # fmt: skip
        if spec.output_stride < 32:
            network.encoder.make_dilated(spec.output_stride)
        return network
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            f"cannot build {spec.architecture} on encoder {spec.encoder!r}: {error}".splitlines()[0]
        ) from None


class DetailHead(nn.Module):
    """Adds to the logits what the encoder still sees at stride 2: poles and signs are thinner than a cell of stride 4.

    decoded "B F h w", early "B E 2h 2w", logits "B C h w" -> logits "B C 2h 2w".
    """

    def __init__(self, decoder_channels: int, early_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.reduce = _convolution(decoder_channels, channels, 1)
        self.skip = _convolution(early_channels, early_channels, 1)
        self.fuse = _convolution(channels + early_channels, channels, 3)
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(
        self, decoded: Float[Tensor, "B F h w"], early: Float[Tensor, "B E H W"], logits: Float[Tensor, "B C h w"]
    ) -> Float[Tensor, "B C H W"]:
        size = early.shape[-2:]
        context = F.interpolate(self.reduce(decoded), size=size, mode="bilinear")
        fine = self.classifier(self.fuse(torch.cat([context, self.skip(early)], dim=1)))
        return F.interpolate(logits, size=size, mode="bilinear") + fine


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class SmpSegmenter(ClosedSetSegmenter):
    """DeepLabV3+ (Chen et al. 2018) or PSPNet (Zhao et al. 2017), on request with a DetailHead.

    Taps: `decoder`, the input of the last 1×1 convolution (stride 4, or the output stride for PSPNet), and `stageN`,
    the encoder's feature maps from stride 4 on.
    """

    def __init__(self, spec: SmpSpec) -> None:
        super().__init__()
        if spec.architecture not in ARCHITECTURES:
            raise InputError(f"no architecture {spec.architecture!r}{nearest(spec.architecture, ARCHITECTURES)}")
        self.spec = spec
        self.num_classes = spec.num_classes
        self.preprocessing = spec.preprocessing
        network: Any = _build(spec)
        self.encoder: Any = network.encoder
        self.decoder: Any = network.decoder
        self.classifier: Any = network.segmentation_head[0]  # the paper's G without its upsampling
        early = self.encoder.out_channels[1]
        self.detail = DetailHead(spec.decoder_channels, early, spec.detail, spec.num_classes) if spec.detail else None
        use_fast_depthwise(self)
        self.multiple = spec.output_stride
        strides = [min(2**level, spec.output_stride) for level in range(len(self.encoder.out_channels))]
        decoder_stride = 4 if spec.architecture == "deeplabv3plus" else spec.output_stride
        self.logits_stride = decoder_stride if self.detail is None else 2
        self.taps = {"decoder": Tap(spec.decoder_channels, decoder_stride)} | {
            f"stage{level}": Tap(self.encoder.out_channels[level], strides[level]) for level in range(2, len(strides))
        }

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> SegmenterOutput:
        height, width = images.shape[-2:]
        stages = self.encoder(pad_to_multiple(images, self.multiple))
        decoded = self.decoder(stages)
        grids = {"decoder": decoded} | {name: stages[int(name[5:])] for name in self.taps if name != "decoder"}
        logits = self.classifier(decoded)
        if self.detail is not None:
            logits = self.detail(decoded, stages[1], logits)
        logits = crop_to_image(logits, height, width, self.logits_stride)
        features = {name: crop_to_image(grid, height, width, self.taps[name].stride) for name, grid in grids.items()}
        return SegmenterOutput(logits, features)

    def encoder_parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())

    def feature_parameters(self) -> list[nn.Parameter]:
        return [*self.encoder.parameters(), *self.decoder.parameters()]

    def output_layers(self) -> list[nn.Module]:
        return [self.classifier] if self.detail is None else [self.classifier, self.detail.classifier]

    def load_imagenet(self, source: str, allow_download: bool = False) -> None:
        """Starts the encoder from ImageNet weights: "package", "hub" (if allowed) or a file; raises InputError."""
        weights = imagenet_weights(self.spec.encoder.removeprefix("tu-"), source, allow_download)
        load_encoder(getattr(self.encoder, "model", self.encoder), weights, f"weights from {source}")


def to_channels_last(network: Network) -> Network:
    """The memory layout in which CPUs and tensor cores convolve fastest."""
    return network.to(memory_format=torch.channels_last)
