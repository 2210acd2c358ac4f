"""Selects what runs the large networks of a world; everything after it reads the same taps.

`torch`: float32, as the world was fitted. `torch-bf16`: bfloat16 but for the first layers. `compile`: torch.compile.
`onnx`: ONNX Runtime. `onnx-int8`: ONNX Runtime in 8 bits.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from ignota.backends.onnx_running import float_runner, int8_runner
from ignota.models.focus_network import FocusNetwork
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.inference import has_bfloat16, in_bfloat16
from ignota.models.onnx_segmenter import OnnxSegmenter
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.perception.networks import Answer, Networks, Runner, run_eagerly
from ignota.perception.tiles import tiled
from ignota.structures import InputError
from ignota.taxonomy import nearest
from ignota.world.model import OpenWorldModel

_LOG = logging.getLogger(__name__)

DEFAULT, BFLOAT16 = "torch", "torch-bf16"
DEVICES = ("auto", "cpu", "cuda")


def with_backend(
    world: OpenWorldModel, name: str, calibration: Sequence[Path] = (), tile: int | None = None
) -> OpenWorldModel:
    """The same world with its networks run by the backend `name`; raises InputError where it cannot run here.

    calibration: training images for `onnx-int8`. tile: see `ignota.perception.tiles.tiled`.
    """
    if name not in BACKENDS:
        raise InputError(f"no backend {name!r}{nearest(name, list(BACKENDS))}")
    networks = world.networks
    if name != DEFAULT and isinstance(networks.segmenter, OnnxSegmenter):
        raise InputError(f"this world's segmenter is an ONNX file, which ONNX Runtime runs: take --backend {DEFAULT}")
    made = BACKENDS[name](networks, calibration)
    images = getattr(made, "calibration", "")
    called = name + (f", calibrated on {images}" if images else "") + ("" if tile is None else f", tiles of {tile}")
    runner = tiled(networks, made, tile)
    _LOG.info("the networks run by %s on %s", called, networks.device)
    objectness = networks.objectness
    # two and a half times as fast, objectness off by 0.02 at most
    if name == BFLOAT16 and isinstance(objectness, FocusNetwork):
        objectness = in_bfloat16(objectness, torch.zeros(1, 3, *objectness.view_size(64, 96), device=networks.device))
    changed = dataclasses.replace(networks, runner=runner, backend=called, objectness=objectness)
    return dataclasses.replace(world, networks=changed)


def _eager(networks: Networks, calibration: Sequence[Path]) -> Runner:
    return run_eagerly


def _bfloat16(networks: Networks, calibration: Sequence[Path]) -> Runner:
    if not has_bfloat16(networks.device):
        raise InputError("this machine has no bfloat16 instructions, so float32 is faster: take --backend torch")
    # Of noise, as zeros are zero after any convolution: a norm folded wrongly would go unnoticed.
    probe = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)).to(networks.device)
    try:
        segmenter = in_bfloat16(networks.segmenter, probe)
        frozen = None if networks.frozen is None else in_bfloat16(networks.frozen, probe)
    except (RuntimeError, TypeError, ValueError) as error:
        cause = _first_line(error)
        raise InputError(f"this segmenter does not run in bfloat16 ({cause}): take another --backend") from None
    return _Twins(segmenter, frozen)


def _compiled(networks: Networks, calibration: Sequence[Path]) -> Runner:
    frozen = networks.frozen
    try:
        import torch._inductor.cpp_builder as builder

        if networks.device.type == "cpu":
            builder.get_cpp_compiler()
    except Exception as error:  # torch raises its own kinds, which differ between versions
        raise InputError(
            f"torch.compile finds no C++ compiler here ({_first_line(error)}): take another --backend"
        ) from None
    compiled: Any = torch.compile(networks.segmenter, dynamic=False)
    return _Twins(compiled, None if frozen is None else torch.compile(frozen.read, dynamic=False))


class _Twins:
    """Runs twins of the networks in their place."""

    def __init__(self, segmenter: ClosedSetSegmenter, frozen: FrozenEncoder | Callable[..., Any] | None) -> None:
        self.segmenter, self.frozen = segmenter, frozen

    def __call__(
        self, networks: Networks, image: UInt8[np.ndarray, "H W 3"], close: UInt8[np.ndarray, "Hc Wc 3"] | None = None
    ) -> Answer:
        return run_eagerly(networks, image, close, self.segmenter, self.frozen)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:120]


BACKENDS: dict[str, Callable[[Networks, Sequence[Path]], Runner]] = {
    DEFAULT: _eager,
    BFLOAT16: _bfloat16,
    "compile": _compiled,
    "onnx": lambda networks, _: float_runner(networks),
    "onnx-int8": int8_runner,
}
"""Each by name: what makes its runner from the networks of a world. Raises InputError where it cannot run here."""


def device_called(name: str, seed: int | None = None) -> torch.device:
    """`cpu`, `cuda`, or `auto` for the GPU if there is one; raises InputError for another name and a missing GPU.

    seed: the start of torch's own random numbers, if they are to be set.
    """
    present = torch.cuda.is_available()
    if name not in DEVICES:
        raise InputError.of_argument("device", f"is one of {', '.join(DEVICES)}, not {name!r}")
    if name == "cuda" and not present:
        raise InputError("no CUDA device can be used here", 'take device="cpu" or "auto"')
    if seed is not None:
        torch.manual_seed(seed)
    return torch.device("cuda" if name != "cpu" and present else "cpu")
