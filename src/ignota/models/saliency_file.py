"""An objectness network from an ONNX file of a saliency model: U²-Net, IS-Net, BiRefNet."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ignota.models.focus_network import IMAGENET, SIZE, Answer, whole_cells
from ignota.models.segmenter import Tap
from ignota.structures import InputError, Preprocessing

_CELL = 32
_SLACK = 1e-3


class SaliencyFile:
    """The model in an ONNX file, run by ONNX Runtime.

    Assumed: one input "1 3 H W", normalised by `preprocessing` (ImageNet's mean and std unless said otherwise; IS-Net
    wants 0.5 and 1); a first output that is the map, "h w" behind axes of one. Values beyond 0..1 are logits, of which
    the sigmoid is taken; all others are objectness already. A model of one size sees each image resized to it, any
    other sees it at the short side `size`, sides in multiples of 32. It has no taps. Raises InputError.
    """

    taps: dict[str, Tap]

    def __init__(self, path: Path, size: int = SIZE, preprocessing: Preprocessing = IMAGENET) -> None:
        self.path, self.size, self.preprocessing, self.taps = path, size, preprocessing, {}
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path} ({error.strerror}): name an ONNX file of a saliency model") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session = _session(content, path)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or inputs[0].type != "tensor(float)":
            raise InputError(f"{path} takes no image 1×3×H×W of floats: give a saliency model such as U²-Net")
        height, width = shape[2:]
        self.fixed_size = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """What an image of that size is to be resized to."""
        return self.fixed_size or whole_cells(height, width, self.size, _CELL)

    def __call__(self, image: Float[Tensor, "1 3 H W"]) -> Answer:
        first = self._session.get_outputs()[0].name
        try:
            found = self._session.run([first], {self._session.get_inputs()[0].name: image.cpu().numpy()})[0]
        except Exception as error:  # ONNX Runtime has its own kinds, without a common base
            raise InputError(f"{self.path} does not run ({str(error).splitlines()[0][:120]})") from None
        grid = torch.from_numpy(found).float()
        if grid.ndim < 2 or grid.numel() != grid.shape[-1] * grid.shape[-2]:
            raise InputError(f"the first output of {self.path} is no map but {tuple(grid.shape)}")
        grid = grid.reshape(grid.shape[-2:])
        if float(grid.min()) < -_SLACK or float(grid.max()) > 1 + _SLACK:
            grid = grid.sigmoid()
        return grid.clamp(0, 1).to(image.device), {}

    def to(self, device: torch.device) -> SaliencyFile:
        """Itself: it runs on the CPU."""
        return self

    def identity(self) -> dict[str, Any]:
        """SHA-256 of the file and size."""
        return {"encoder": "onnx", "size": self.size, "source": "file", "sha256": self.sha256}


def _session(content: bytes, path: Path) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise InputError("onnxruntime is not installed: run `pip install 'ignota[objectness]'`") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # likewise
        cause = str(error).splitlines()[0][:120]
        raise InputError(f"{path} cannot be opened as ONNX ({cause}): give a whole file of one model") from None
