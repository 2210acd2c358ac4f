"""Segmenters from what users have: a folder, a file, a name on a hub, torchvision's, or a factory."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from torch import Tensor

from ignota.models import smp_checkpoint, torchvision_segmenter
from ignota.models.exported import ExportedSegmenter
from ignota.models.names import smp_name
from ignota.models.onnx_segmenter import OnnxSegmenter
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.models.smp_checkpoint import SmpCheckpoint, below_prefix, network_called, smp_preprocessing
from ignota.models.smp_segmenter import ARCHITECTURES, SmpSegmenter, SmpSpec
from ignota.models.tapped import from_factory
from ignota.models.transformers_segmenter import TransformersSegmenter, read_json
from ignota.models.weights import load_strictly, read_checkpoint, read_state_dict
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import nearest

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HUB_FILES = (
    "*config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model.bin",
)
_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
_MARKS = ("segmentation_head.", "classifier.", *torchvision_segmenter.MARKS)
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Hints:
    """What a file does not say of itself. architecture, encoder: of the network that a state dict belongs to.

    mean, std: how images are normalised, R, G, B in 0..1. taps: {tap: node} of an ONNX file. num_classes: how many
    classes the labels of an ONNX file are of.
    """

    architecture: str | None = None
    encoder: str | None = None
    mean: Triple | None = None
    std: Triple | None = None
    taps: Mapping[str, str] = field(default_factory=dict)
    num_classes: int | None = None


def triple(name: str, values: Sequence[float] | None) -> Triple | None:
    """Three numbers for red, green and blue, of pixels in 0..1; raises InputError for others."""
    if values is None:
        return None
    least = 1e-3 if name == "std" else -1e3
    if len(values) != 3 or not all(least <= value <= 1e3 for value in values):
        raise InputError.of_argument(name, f"wants three numbers, for pixels in 0..1, not {','.join(map(str, values))}")
    return float(values[0]), float(values[1]), float(values[2])


def open_segmenter(
    source: str, hints: Hints | None = None, allow_code: bool = False, allow_download: bool = False
) -> ClosedSetSegmenter:
    """The segmenter that somebody already has: what `ignota adapt SEGMENTER` takes.

    source: a folder that transformers' or smp's `save_pretrained` wrote, an exported program (.pt2), an ONNX file, a
    state dict or checkpoint (.safetensors, .pth, .ckpt) of the network that `hints` names, "torchvision:NAME" or
    "OWNER/NAME" of a hub, which are asked for only if `allow_download`, or "package.module:function", whose code runs
    only if `allow_code` or once allowed (see `allowed_code`). Raises InputError.
    """
    hints = hints or Hints()
    if hints.taps and not source.endswith(".onnx"):
        raise InputError(f"{source} is no ONNX file: taps are named for those alone", "no taps=")
    return _normalised(_opened(source, hints, allow_code, allow_download), hints)


def _opened(source: str, hints: Hints, allow_code: bool, allow_download: bool) -> ClosedSetSegmenter:
    path = Path(source)
    if path.is_dir():
        return _open_folder(path)
    if path.is_file():
        if path.suffix == ".pt2":
            return ExportedSegmenter(path)
        if path.suffix == ".onnx":
            return OnnxSegmenter(path, layers=hints.taps, num_classes=hints.num_classes)
        if path.suffix in _WEIGHT_FILES:
            return _open_state_dict(path, hints)
        kinds = ", ".join((".pt2", ".onnx", *_WEIGHT_FILES))
        raise InputError(f"{source} is of no known kind: give a folder with config.json or a file that ends in {kinds}")
    if source.startswith(torchvision_segmenter.PREFIX):
        return torchvision_segmenter.published(source.removeprefix(torchvision_segmenter.PREFIX), allow_download)
    if _FACTORY.fullmatch(source):
        return from_factory(source, allow_code)
    if _HUB.fullmatch(source) and not path.parent.is_dir():
        return _from_hub(source, allow_download)
    siblings = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
    hint = nearest(path.name, siblings) if siblings else ""
    raise InputError(
        f"{source} does not exist{hint if 'did you mean' in hint else ''}: give a segmenter's folder or file"
    )


def _normalised(segmenter: ClosedSetSegmenter, hints: Hints) -> ClosedSetSegmenter:
    """The segmenter with the mean and the std of the hints, where they give one."""
    own = segmenter.preprocessing
    segmenter.preprocessing = Preprocessing(hints.mean or own.mean, hints.std or own.std)
    if isinstance(segmenter, SmpSegmenter):
        segmenter.spec = dataclasses.replace(segmenter.spec, preprocessing=segmenter.preprocessing)
    return segmenter


def _from_hub(name: str, allow_download: bool) -> ClosedSetSegmenter:
    """A folder of a hub, of which only configuration and weights are fetched."""
    if not allow_download:
        raise InputError(
            f"{name} does not exist here, and may be a name on a hub", "pass allow_download=True to ask it"
        )
    try:
        folder = snapshot_download(name, allow_patterns=list(_HUB_FILES))
    except (OSError, RuntimeError, ValueError) as error:  # every hub client derives its errors from these
        raise InputError(
            f"{name} could not be downloaded ({type(error).__name__}): check the name and the network"
        ) from None
    return _open_folder(Path(folder))


def _open_folder(folder: Path) -> ClosedSetSegmenter:
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} holds no config.json: give a folder that save_pretrained wrote")
    config = read_json(folder / "config.json")
    if "_model_class" not in config:
        return TransformersSegmenter(folder)
    if not (folder / "model.safetensors").exists():
        raise InputError(f"{folder} holds no model.safetensors: save the network by its save_pretrained")
    segmenter = SmpCheckpoint(config)
    load_strictly(segmenter.module, read_state_dict(folder / "model.safetensors"), str(folder))
    return segmenter.eval()


def _open_state_dict(path: Path, hints: Hints) -> ClosedSetSegmenter:
    weights, hyper = read_checkpoint(path)
    architecture = hints.architecture or smp_checkpoint.hinted(hyper, "architecture")
    encoder = hints.encoder or smp_checkpoint.hinted(hyper, "encoder")
    if architecture is None and encoder is None:
        line = f"{path} holds weights alone"
        raise InputError(line, "say architecture= and encoder=, or give a save_pretrained folder")
    architecture = architecture or SmpSpec(1).architecture
    weights = below_prefix(weights, _MARKS)
    if architecture in torchvision_segmenter.NAMES:
        return torchvision_segmenter.from_weights(weights, architecture, str(path))
    name, encoder = network_called(architecture), encoder or SmpSpec(1).encoder
    if name is None:
        known = [*smp_checkpoint.NETWORKS, *torchvision_segmenter.NAMES]
        raise InputError(f"no architecture {architecture!r}{nearest(architecture, known)}")
    if "classifier.weight" in weights and name.lower() in ARCHITECTURES:
        return _ours(path, weights, name.lower(), encoder)
    return smp_checkpoint.from_weights(weights, name, encoder, hyper, str(path))


def _ours(path: Path, weights: Mapping[str, Tensor], architecture: str, encoder: str) -> SmpSegmenter:
    """A closed set that this package trained."""
    head, fine = weights["classifier.weight"], weights.get("detail.classifier.weight")
    if head.ndim != 4:
        raise InputError(f"{path}: classifier.weight is no convolution: it is of another network")
    detail: Any = fine.shape[1] if fine is not None and fine.ndim == 4 else 0
    spec = SmpSpec(head.shape[0], architecture, encoder, decoder_channels=head.shape[1], detail=detail,
                   preprocessing=smp_preprocessing(smp_name(encoder)))  # fmt: skip
    segmenter = SmpSegmenter(spec)
    load_strictly(segmenter, weights, str(path))
    return segmenter.eval()
