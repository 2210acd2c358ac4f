"""Builds segmenters from world.json, and describes them for it."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ignota.models.description import SegmenterDescription
from ignota.models.exported import ExportedSegmenter, copy_program
from ignota.models.onnx_segmenter import OnnxSegmenter
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.models.smp_checkpoint import SmpCheckpoint
from ignota.models.smp_segmenter import SmpSegmenter
from ignota.models.tapped import TappedModule, from_factory
from ignota.models.timm_levels import Undrawn
from ignota.models.torchvision_segmenter import TorchvisionSegmenter
from ignota.models.transformers_segmenter import TransformersSegmenter
from ignota.models.weights import load_strictly
from ignota.structures import InputError
from ignota.taxonomy import nearest

__all__ = ["SegmenterDescription", "build_segmenter", "describe", "load_strictly"]


def build_segmenter(
    description: SegmenterDescription,
    weights: Mapping[str, Tensor] | None,
    folder: Path | None = None,
    allow_code: bool = False,
) -> ClosedSetSegmenter:
    """The described segmenter with these weights, by the names of its state dict; half precision is widened.

    folder: the bundle, for an exported program. weights None leaves them as built. Nothing is downloaded; any misfit
    raises InputError.
    """
    replaced = weights is not None and description.smp is not None  # others are probed while they are built
    with Undrawn() if replaced else contextlib.nullcontext():
        segmenter = _build(description, folder, allow_code)
    if segmenter.num_classes != description.num_classes:
        raise InputError(
            f"segmenter.num_classes is {description.num_classes}, "
            f"but the {description.kind} network has {segmenter.num_classes}"
        )
    if weights is not None and description.has_weights:
        load_strictly(segmenter, weights, f"weights of the {description.kind} segmenter")
    return segmenter


def _build(description: SegmenterDescription, folder: Path | None, allow_code: bool) -> ClosedSetSegmenter:
    config, preprocessing = description.config, description.preprocessing
    if description.kind == "smp":
        return SmpSegmenter(description.smp) if description.smp else SmpCheckpoint(config or {}, preprocessing)
    if description.kind == "transformers":
        return TransformersSegmenter(config or {}, preprocessing)
    if description.kind == "torchvision":
        return TorchvisionSegmenter(config or {}, preprocessing)
    options = dict(description.options or {})
    known = _ONNX_OPTIONS if description.kind == "onnx" else _OPTIONS
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InputError(f"segmenter.options: unknown field {unknown[0]!r}{nearest(unknown[0], known)}")
    if not description.has_weights:
        path = (folder or Path()) / str(description.file)
        _check_digest(path, str(description.sha256))
        if description.kind == "exported":
            return ExportedSegmenter(path, preprocessing, description.multiple)
        return OnnxSegmenter(path, preprocessing, _layers(options), description.num_classes, description.multiple or 1)
    made = from_factory(str(description.factory), allow_code, preprocessing=preprocessing, **options)
    made.preprocessing = preprocessing
    return made


_OPTIONS = ("layers", "classifier", "encoder", "multiple", "fixed_size")
_ONNX_OPTIONS = ("layers",)


def _layers(options: Mapping[str, Any]) -> dict[str, str]:
    layers = options.get("layers", {})
    if not isinstance(layers, dict) or not all(isinstance(name, str) for name in layers.values()):
        raise InputError("segmenter.options.layers: expected the name of a node for each tap")
    return layers


def describe(segmenter: ClosedSetSegmenter) -> tuple[SegmenterDescription, list[Path]]:
    """The description from which build_segmenter makes this segmenter again, and files to lay beside it.

    Raises InputError for a network that only lives in memory.
    """
    base = SegmenterDescription("", segmenter.num_classes, segmenter.preprocessing)
    if isinstance(segmenter, SmpSegmenter):
        return dataclasses.replace(base, kind="smp", smp=segmenter.spec), []
    if isinstance(segmenter, SmpCheckpoint):
        return dataclasses.replace(base, kind="smp", config=segmenter.config), []
    if isinstance(segmenter, TransformersSegmenter):
        return dataclasses.replace(base, kind="transformers", config=segmenter.configuration()), []
    if isinstance(segmenter, ExportedSegmenter):
        file = _without_pickle(segmenter.path)
        multiple = None if segmenter.fixed_size else segmenter.multiple
        exported = dataclasses.replace(base, kind="exported", file=file.name, sha256=_digest(file), multiple=multiple)
        return exported, [file]
    if isinstance(segmenter, TorchvisionSegmenter):
        return dataclasses.replace(base, kind="torchvision", config=segmenter.config), []
    if isinstance(segmenter, OnnxSegmenter):
        path, named = segmenter.path, {"layers": segmenter.layers}
        onnx = dataclasses.replace(base, kind="onnx", file=path.name, sha256=_digest(path), options=named)
        return dataclasses.replace(onnx, multiple=segmenter.multiple), [path]
    factory = getattr(segmenter, "factory", None)
    if not isinstance(factory, str):
        raise InputError(
            f"{type(segmenter).__name__} cannot be written to a world: build it by from_factory('package:function')"
        )
    options = segmenter.options() if isinstance(segmenter, TappedModule) else None
    return dataclasses.replace(base, kind="module", factory=factory, options=options), []


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path} ({type(error).__name__}): copy the world again") from None


def _check_digest(path: Path, expected: str) -> None:
    if _digest(path) != expected:
        raise InputError(f"{path} is not the program that this world was built with (SHA-256): copy the world again")


def _without_pickle(path: Path) -> Path:
    """The program itself, or, where its archive holds more than is ever read, a copy without that."""
    with zipfile.ZipFile(path) as archive:
        if not any("/data/sample_inputs/" in name for name in archive.namelist()):
            return path
    folder = Path(tempfile.mkdtemp(prefix="ignota-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy_program(path, folder / path.name)
    return folder / path.name
