"""Shared by adapters of other networks: pads inputs, measures the grids once, and aligns them.

An adapter only says how its network turns an image into named grids; strides and channels are measured by one small
forward pass, and afterwards every grid is brought to the shape that the contract promises.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ignota.models.segmenter import ClosedSetSegmenter, Tap, crop_to_image, pad_to_multiple
from ignota.structures import InputError, SegmenterOutput

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
