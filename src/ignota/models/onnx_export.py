"""ONNX from a module that takes one image: dynamic sizes, names, metadata, checked by ONNX itself."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ignota.models.portable import SMALLEST_SIDE
from ignota.structures import InputError

OPSET = 20
"""The lowest with everything that the graphs use; ONNX Runtime reads it from 1.17 on."""

LARGEST_SIDE = 16384
_EXAMPLE = (203, 317)  # no multiple of anything, so that nothing about it can be taken for a rule
_NEEDED = "`pip install 'ignota[onnx]'` brings it"


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
