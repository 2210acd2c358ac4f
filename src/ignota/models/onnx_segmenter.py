"""A segmenter from an ONNX file, run by ONNX Runtime; its weights never become torch tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ignota.models.onnx_file import read_model, session, with_outputs
from ignota.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, AdaptedSegmenter
from ignota.structures import InputError, Preprocessing

LABEL_LOGIT = 10.0
"""The logit of the class that a file which gives labels names; all others have 0."""
_DTYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8,
}  # fmt: skip
_BYTES = Preprocessing((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
_LEAST = 1e-6
"""Of a probability, before its logarithm is taken."""


class OnnxSegmenter(AdaptedSegmenter):
    """The network in an ONNX file that takes one batch of images, "B 3 H W" or "B H W 3".

    Its logits are the output called `logits` or `out`, else the first: "B C h w", or probabilities, whose logarithm is
    taken, or labels "B h w" or "B 1 h w" in whole numbers, which become logits 10 and 0 of `num_classes` classes.
    layers: {tap: node or value}; without a tap `decoder` a world reads the frozen encoder in its place. A file for one
    image size gets images resized to it, else sides are padded to `multiple`. preprocessing: by default ImageNet's; a
    file that takes bytes gets 0..255. Raises InputError for a file that is not whole in itself (see `onnx_file`).
    """

    needs_decoder = False

    def __init__(
        self,
        path: str | Path,
        preprocessing: Preprocessing | None = None,
        layers: Mapping[str, str] | None = None,
        num_classes: int | None = None,
        multiple: int = 32,
    ) -> None:
        super().__init__()
        self.path, self.origin = Path(path), str(path)
        self.preprocessing = preprocessing or Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
        self.layers, self.labels = dict(layers or {}), num_classes
        model = read_model(self.path)
        values = with_outputs(model, self.layers, self.path)
        self._session: Any = session(model, self.path, torch.get_num_threads())
        self._read_input()
        self.multiple = 1 if self.fixed_size else multiple
        names = [output.name for output in self._session.get_outputs()]
        self._outputs = {"logits": next((name for name in ("logits", "out") if name in names), names[0])}
        self._outputs |= dict(zip(self.layers, values, strict=True))
        self._probable = False
        self._probable = self._gives_probabilities()
        self.measure()

    def __deepcopy__(self, memo: object) -> OnnxSegmenter:
        return self  # nothing of it is ever trained

    def _read_input(self) -> None:
        """Settles layout, type and size of the images."""
        inputs = self._session.get_inputs()
        shape: list[Any] = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or inputs[0].type not in _DTYPES:
            told = ", ".join(f"{given.name} {given.type} {given.shape}" for given in inputs)[:160]
            raise InputError(f"{self.path} does not take one batch of images B 3 H W: its input is {told}")
        self._name, self._type = inputs[0].name, _DTYPES[inputs[0].type]
        self._channels_last = shape[1] != 3 and shape[3] == 3
        height, width = shape[1:3] if self._channels_last else shape[2:]
        if isinstance(height, int) != isinstance(width, int):
            raise InputError(f"{self.path} fixes one side of the image alone: export it with both free or both fixed")
        self.fixed_size = (height, width) if isinstance(height, int) else None
        if self._type is np.uint8:
            self.preprocessing = _BYTES

    def _gives_probabilities(self) -> bool:
        """Whether its logits are none, but lie in 0..1 and sum to 1 in every pixel."""
        images = torch.randn(1, 3, *self.probe_size(), generator=torch.Generator().manual_seed(0))
        logits = self.grids(images)["logits"]
        total = logits.sum(1)
        return bool((logits >= 0).all() and torch.allclose(total, torch.ones_like(total), atol=1e-3))

    def grids(self, images: Tensor) -> dict[str, Tensor]:
        pixels = images.detach().cpu()
        pixels = pixels.permute(0, 2, 3, 1) if self._channels_last else pixels
        pixels = pixels.round().clamp(0, 255) if self._type is np.uint8 else pixels
        runs = [self._run(np.ascontiguousarray(image.numpy(), self._type)) for image in pixels.split(1)]
        grids = {name: torch.cat([run[name] for run in runs]).to(images.device) for name in runs[0]}
        if self._probable:
            grids["logits"] = grids["logits"].clamp(min=_LEAST).log()
        return grids

    def _run(self, image: NDArray[Any]) -> dict[str, Tensor]:
        try:
            found = self._session.run(list(self._outputs.values()), {self._name: image})
        except Exception as error:  # of the runtime's own kinds
            line = " ".join(str(error).split())[:160]
            raise InputError(f"{self.path} cannot take an image of shape {image.shape}: {line}") from None
        return {name: self._grid(name, value) for name, value in zip(self._outputs, found, strict=True)}

    def _grid(self, name: str, value: object) -> Tensor:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise InputError(f"{self.path}: {name} is no tensor of numbers: name another output or node")
        if value.dtype.kind == "f":
            grid = torch.from_numpy(value.astype(np.float32))
            return grid.permute(0, 3, 1, 2) if self._channels_last and grid.ndim == 4 else grid
        labels = torch.from_numpy(value.astype(np.int64)).reshape(len(value), *[n for n in value.shape[1:] if n != 1])
        if name != "logits" or labels.ndim != 3:
            raise InputError(f"{self.path}: {name} has shape {value.shape} of whole numbers, which is no grid")
        if self.labels is None:
            raise InputError(f"{self.path} gives labels, not logits", "name its classes by classes=")
        return LABEL_LOGIT * (labels[:, None] == torch.arange(self.labels)[:, None, None]).float()

    def encoder_parameters(self) -> list[nn.Parameter]:
        return []
