"""The contract of every closed-set segmenter, and what adapters of other networks share.

An adapter only says how its network turns an image into named grids; strides and channels are measured by one small
forward pass, and afterwards every grid is brought to the shape that the contract promises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ignota.structures import InputError, Preprocessing, SegmenterOutput

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Tap:
    """A place where features can be read: its number of channels and its stride in input pixels."""

    channels: int
    stride: int


class ClosedSetSegmenter(nn.Module, ABC):
    """A network that maps an image to logits of C known classes and to features by named tap.

    forward: images "B 3 H W" float, normalised by `preprocessing` -> SegmenterOutput with logits "B C h w" (not
    normalised) and features {tap: "B F h w"}, each at its own stride. Any H and W at least `multiple` are accepted.
    The tap `decoder` is the paper's feature map F (Section 3.1), the input of the label predictor G.
    """

    num_classes: int
    taps: dict[str, Tap]
    preprocessing: Preprocessing
    multiple: int = 1
    factory: str | None = None  # "package:function", where a factory made it
    class_names: tuple[str, ...] = ()  # in the order of the logits, where its files name them

    @abstractmethod
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> SegmenterOutput: ...

    @abstractmethod
    def encoder_parameters(self) -> list[nn.Parameter]:
        """The parameters that start from pretrained weights and learn at the smaller rate."""

    def output_layers(self) -> list[nn.Module]:
        """The linear layers whose sum is the logits; none where they are not known."""
        return []

    def feature_parameters(self) -> list[nn.Parameter]:
        """The parameters of the paper's F, all below the label predictor G; the encoder's where G is not known."""
        return self.encoder_parameters()

    def head_parameters(self) -> list[nn.Parameter]:
        """All other parameters."""
        encoder = {id(parameter) for parameter in self.encoder_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in encoder]


def pad_to_multiple(images: Float[Tensor, "B 3 H W"], multiple: int) -> Float[Tensor, "B 3 H2 W2"]:
    """Repeats the last row and column until both sides are divisible by `multiple`."""
    bottom, right = -images.shape[-2] % multiple, -images.shape[-1] % multiple
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images


def crop_to_image(grid: Float[Tensor, "B F h w"], height: int, width: int, stride: int) -> Float[Tensor, "B F h2 w2"]:
    """Drops the cells that lie wholly in the padding: ceil(H / stride) by ceil(W / stride) are left."""
    return grid[..., : -(-height // stride), : -(-width // stride)]


def resize_logits(logits: Float[Tensor, "B C h w"], size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    """Bilinear, to the size of the image."""
    return logits if logits.shape[-2:] == torch.Size(size) else F.interpolate(logits, size=size, mode="bilinear")


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every submodule is in the mode it was in, frozen ones too."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


class AdaptedSegmenter(ClosedSetSegmenter):
    """A network of other origin under the contract.

    logits_stride: the stride of the logits, which may be finer than the decoder's. fixed_size: the one (H, W) that
    the network accepts, or None; an image is then resized to it, without regard to its aspect ratio, and every grid
    is resized back to ceil(H / stride) by ceil(W / stride). needs_decoder: whether it must have that tap. origin: how
    error messages name the network.
    """

    logits_stride: int
    fixed_size: tuple[int, int] | None = None
    needs_decoder = True
    origin: str = "the network"

    @abstractmethod
    def grids(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        """The network's own logits under "logits", and its features by tap, for a size that it accepts."""

    def measure(self) -> None:
        """Finds classes, strides and channels by one small forward pass; raises InputError."""
        height, width = self.probe_size()
        parameter = next(self.parameters(), torch.zeros(()))
        with evaluating(self):
            try:
                grids = self.grids(torch.zeros(1, 3, height, width, device=parameter.device))
            except InputError:
                raise
            except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError) as error:
                cause = (str(error).splitlines() or [type(error).__name__])[0]
                raise InputError(f"{self.origin} cannot take an image of {height}×{width}: {cause}") from None
        taps = {name: _tap(grid, name, height, width, self.origin) for name, grid in grids.items()}
        logits = taps.pop("logits")
        self.num_classes, self.logits_stride, self.taps = logits.channels, logits.stride, taps
        if self.needs_decoder and "decoder" not in taps:
            raise InputError(f"{self.origin} has no tap `decoder`: name the layer whose output the classifier reads")

    def probe_size(self) -> tuple[int, int]:
        """A small size whose sides differ, so that a transposed grid shows, and are whole in every usual stride."""
        side = self.multiple * -(-64 // self.multiple)
        return self.fixed_size or (side, 2 * side)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> SegmenterOutput:
        height, width = images.shape[-2:]
        if self.fixed_size is None:
            inputs = pad_to_multiple(images, self.multiple)
        elif (height, width) == self.fixed_size:
            inputs = images
        else:
            inputs = F.interpolate(images, size=self.fixed_size, mode="bilinear", antialias=True)
        size = inputs.shape[-2:] if self.fixed_size is None else images.shape[-2:]
        grids = {
            name: crop_to_image(fit_grid(grid, size[0], size[1], self._stride(name)), height, width, self._stride(name))
            for name, grid in self.grids(inputs).items()
        }
        return SegmenterOutput(grids.pop("logits"), grids)

    def _stride(self, name: str) -> int:
        return self.logits_stride if name == "logits" else self.taps[name].stride


def fit_grid(grid: Float[Tensor, "B F h w"], height: int, width: int, stride: int) -> Float[Tensor, "B F h2 w2"]:
    """Bilinear to ceil(height / stride) by ceil(width / stride), where the grid has another shape."""
    size = (-(-height // stride), -(-width // stride))
    return grid if grid.shape[-2:] == size else F.interpolate(grid, size=size, mode="bilinear")


def _tap(grid: object, name: str, height: int, width: int, origin: str) -> Tap:
    if not isinstance(grid, Tensor) or grid.ndim != 4:
        shape = tuple(grid.shape) if isinstance(grid, Tensor) else type(grid).__name__
        raise InputError(f"{origin}: {name} is no feature map B F h w but {shape}")
    strides = [side / max(1, cells) for side, cells in zip((height, width), grid.shape[-2:], strict=True)]
    # a cell more or less is a border effect; strides twice apart are a pooled vector or swapped axes
    if max(strides) > 1.6 * min(strides):
        raise InputError(f"{origin}: {name} of shape {tuple(grid.shape)} is no grid over an image of {height}×{width}")
    return Tap(grid.shape[1], max(1, round(strides[1])))


def is_resized(small: Tensor, large: Tensor) -> bool:
    """Whether `large` is nothing but `small`, perhaps enlarged bilinearly."""
    if small.ndim != 4 or small.shape[:2] != large.shape[:2]:
        return False
    if small.shape == large.shape:
        return torch.allclose(small, large, atol=1e-5)
    return any(
        torch.allclose(F.interpolate(small, large.shape[-2:], mode="bilinear", align_corners=corners), large, atol=1e-4)
        for corners in (False, True)
    )


def prefixed_parameters(network: nn.Module, prefixes: tuple[str, ...]) -> list[nn.Parameter]:
    """The parameters below the first of the submodules `prefixes` that has any; none if no prefix has."""
    named: Mapping[str, nn.Parameter] = dict(network.named_parameters())
    for prefix in prefixes:
        found = [parameter for name, parameter in named.items() if name.startswith(f"{prefix}.")]
        if found:
            return found
    return []
