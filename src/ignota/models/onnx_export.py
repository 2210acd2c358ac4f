"""Exports: the large networks of a world as a module from image bytes to logits and taps, and its ONNX file.

Padding to whole cells is a gather and "same" convolutions pad by constants, so that one graph serves every size.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ignota.models.depthwise import use_plain_depthwise
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.inference import with_fixed_padding
from ignota.models.onnx_segmenter import OnnxSegmenter
from ignota.models.segmenter import ClosedSetSegmenter, Tap
from ignota.structures import InputError, Preprocessing

OPSET = 20
"""The lowest with everything that the graphs use; ONNX Runtime reads it from 1.17 on."""

LARGEST_SIDE = 16384
_EXAMPLE = (203, 317)  # no multiple of anything, so that nothing about it can be taken for a rule
_NEEDED = "`pip install 'ignota[onnx]'` brings it"
SMALLEST_SIDE = 33
"""Of the images that a graph takes: more than one cell of stride 32, as tracers treat sizes of 1 apart."""


def onnx_library() -> Any:
    """onnxruntime; raises InputError where it, onnx or the exporter's onnxscript is missing."""
    try:
        import onnx
        import onnxruntime
        import onnxscript
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: {_NEEDED}") from None
    del onnx, onnxscript
    return onnxruntime


def exported_program(module: nn.Module) -> torch.export.ExportedProgram:
    """The module as a program of ATen operators for an image "H W 3" uint8 of any size; raises InputError."""
    height, width = (torch.export.Dim(name, min=SMALLEST_SIDE, max=LARGEST_SIDE) for name in ("height", "width"))
    image = torch.zeros(*_EXAMPLE, 3, dtype=torch.uint8)
    try:
        with torch.no_grad(), _quietly():
            return torch.export.export(module.eval(), (image,), dynamic_shapes=({0: height, 1: width},))
    except Exception as error:  # torch has dozens of kinds for what it cannot trace
        cause = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"this world's networks cannot be traced for every size: {cause[:160]}") from None


def write_onnx(module: nn.Module, path: Path, names: Sequence[str], metadata: Mapping[str, Any] | None = None) -> None:
    """The module as one ONNX file with input `image` and outputs `names`, all tensors inside.

    metadata: each value as text, what is no text as JSON. Raises InputError.
    """
    onnx_library()
    program = exported_program(module)
    with _quietly():
        found = torch.onnx.export(
            program, dynamo=True, input_names=["image"], output_names=list(names), opset_version=OPSET, verbose=False
        )
    assert found is not None
    for key, value in (metadata or {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        found.model.metadata_props[key] = text
    found.save(path, external_data=False)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what exporter and tracer tell their own developers."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for module in ("torch", "onnx", "onnxscript", "onnx_ir", "copyreg"):
                warnings.filterwarnings("ignore", module=module)
            yield
    finally:
        logging.disable(previous)


class PortableSegmenter(nn.Module):
    """A copy of the segmenter without anything that depends on the size of the image.

    forward: image "H W 3" uint8 -> {"logits": "1 C h w", tap: "1 F h w"}, as the network has them up to rounding; of
    `taps` those that it has. Raises InputError for a segmenter that takes one size alone.
    """

    def __init__(self, segmenter: ClosedSetSegmenter, taps: Sequence[str]) -> None:
        super().__init__()
        if isinstance(segmenter, OnnxSegmenter):
            raise InputError("this world's segmenter is an ONNX file already: take that")
        if getattr(segmenter, "fixed_size", None) is not None:
            raise InputError(f"this segmenter takes images of {segmenter.fixed_size} alone: export it by its own means")
        self.segmenter: Any = _portable(segmenter)
        self.names = ("logits", *(tap for tap in taps if tap in segmenter.taps))
        """The outputs in order."""

    def forward(self, image: UInt8[Tensor, "H W 3"]) -> dict[str, Float[Tensor, "1 F h w"]]:
        height, width = image.shape[:2]
        output = self.segmenter(_grown(_normalised(image, self.segmenter.preprocessing), self.segmenter.multiple))
        stride = self.segmenter.logits_stride
        found = {"logits": _cropped(output.logits, height, width, stride)}
        for name, tap in self.segmenter.taps.items():
            found[name] = _cropped(output.features[name], height, width, tap.stride)
        return {name: found[name] for name in self.names}


class PortableEncoder(nn.Module):
    """The same of the frozen encoder; forward: image "H W 3", values 0..255 -> {tap: "1 F h w"}. Raises the same."""

    def __init__(self, frozen: FrozenEncoder, taps: Sequence[str]) -> None:
        super().__init__()
        if frozen.fixed_size is not None:
            raise InputError(f"{frozen.encoder_name} takes images of {frozen.fixed_size} alone: take --backend torch")
        self.frozen: Any = _portable(frozen)
        self.names = tuple(tap for tap in taps if tap in frozen.taps)
        """The outputs in order."""

    def forward(self, image: Float[Tensor, "H W 3"] | UInt8[Tensor, "H W 3"]) -> dict[str, Float[Tensor, "1 F h w"]]:
        height, width = image.shape[:2]
        grids = self.frozen.grids(_grown(_normalised(image, self.frozen.preprocessing), self.frozen.multiple))
        taps: dict[str, Tap] = self.frozen.taps
        return {name: _cropped(grids[name], height, width, taps[name].stride) for name in self.names}


def _portable(network: nn.Module) -> nn.Module:
    twin = copy.deepcopy(network).cpu().float().eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
    return with_fixed_padding(use_plain_depthwise(twin))


def _normalised(image: Tensor, preprocessing: Preprocessing) -> Float[Tensor, "1 3 H W"]:
    mean, std = (torch.tensor(v) * 255 for v in (preprocessing.mean, preprocessing.std))
    return ((image.float() - mean) / std).permute(2, 0, 1)[None]


def _grown(images: Float[Tensor, "1 3 H W"], multiple: int) -> Float[Tensor, "1 3 H2 W2"]:
    """`pad_to_multiple` without asking whether there is anything to pad: rows and columns are gathered."""
    if multiple == 1:
        return images
    for dim in (2, 3):
        side = images.shape[dim]
        index = torch.arange(multiple * ((side + multiple - 1) // multiple)).clamp(max=side - 1)
        images = images.index_select(dim, index)
    return images


def _cropped(grid: Tensor, height: int, width: int, stride: int) -> Tensor:
    """`crop_to_image` by gathering: a slice would ask whether anything is cut off."""
    for dim, side in ((2, height), (3, width)):
        if stride > 1:
            grid = grid.index_select(dim, torch.arange((side + stride - 1) // stride))
    return grid
