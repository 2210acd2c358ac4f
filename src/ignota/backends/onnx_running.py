"""ONNX Runtime as a backend: each network of a world as a graph, exported once and cached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ignota import __version__
from ignota.backends.artefacts import artefact, built
from ignota.backends.quantising import RECIPE, chosen, pixels_digest, quantise
from ignota.data.files import write_atomically
from ignota.models.onnx_export import OPSET, PortableEncoder, PortableSegmenter, onnx_library, write_onnx
from ignota.perception.networks import Answer, Networks
from ignota.structures import InputError


class Graph:
    """A graph that takes an `image`, its outputs "1 F h w" each by name, on as many threads as torch has."""

    def __init__(self, path: Path) -> None:
        library = onnx_library()
        options = library.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session: Any = library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of the runtime's own kinds, some without a common base class
            cause = str(error).splitlines()[0][:120]
            raise InputError(f"{path} cannot be run ({cause}): remove its folder, it is built again") from None
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> dict[str, Tensor]:
        found = self.session.run(None, {"image": image})
        return {name: torch.from_numpy(grid)[0] for name, grid in zip(self.names, found, strict=True)}


class OnnxRunner:
    """Runs a graph of the segmenter, whose outputs are `logits` and its taps, and one of the frozen encoder.

    calibration: digest of the images that an 8-bit graph was calibrated on.
    """

    def __init__(self, segmenter: Path, frozen: Path | None, calibration: str = "") -> None:
        self.calibration = calibration
        self.segmenter = Graph(segmenter)
        self.frozen = None if frozen is None else Graph(frozen)

    def __call__(
        self, networks: Networks, image: UInt8[np.ndarray, "H W 3"], close: UInt8[np.ndarray, "Hc Wc 3"] | None = None
    ) -> Answer:
        found = self.segmenter(image)
        logits = found.pop("logits")
        return logits, found if close is None or self.frozen is None else found | self.frozen(close)


def float_runner(networks: Networks) -> OnnxRunner:
    """ONNX Runtime in float32."""
    return OnnxRunner(_segmenter_graph(networks), _encoder_graph(networks))


def int8_runner(networks: Networks, calibration: Sequence[Path] = ()) -> OnnxRunner:
    """ONNX Runtime with the segmenter in 8 bits.

    calibration: training images; needed once, then the quantised graph is in the cache. Other images make another
    graph; without any, the one of the last images is taken. Raises InputError where it is not there.
    """
    versions = (__version__, torch.__version__, _checked(networks).__version__, OPSET, networks.size, RECIPE)
    last = artefact(networks, "calibration", *versions)
    images = chosen(calibration)
    told = last.read_text("ascii", "replace") if last.exists() else ""
    seen = pixels_digest(images) if images else told
    path = artefact(networks, "int8.onnx", *versions, seen)
    if not images and not path.exists():
        raise InputError("8 bits are calibrated on training images once: name some by --calibrate 'train/*.png'")
    built(path, lambda draft: quantise(_segmenter_graph(networks), images, networks.size, draft))
    runner = OnnxRunner(path, _encoder_graph(networks), seen)
    if seen != told:
        last.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(last, seen.encode())
    return runner


def _segmenter_graph(networks: Networks) -> Path:
    return _graph(networks, "segmenter", lambda: PortableSegmenter(networks.segmenter, networks.taps))


def _encoder_graph(networks: Networks) -> Path | None:
    """None where nobody reads it. In 8 bits its features come out off by two thirds of their mean size, whichever of
    its convolutions stay in float32, so it always has 32; why is not known."""
    frozen = networks.frozen
    if frozen is None or not networks.reads_frozen:
        return None
    return _graph(networks, "frozen", lambda: PortableEncoder(frozen, networks.taps))


def _graph(networks: Networks, name: str, module: Callable[[], PortableSegmenter | PortableEncoder]) -> Path:
    library = _checked(networks)
    path = artefact(networks, f"{name}.onnx", __version__, torch.__version__, library.__version__, OPSET)

    def build(draft: Path) -> None:
        portable = module()
        write_onnx(portable, draft, portable.names)

    return built(path, build)


def _checked(networks: Networks) -> Any:
    if networks.device.type != "cpu":
        raise InputError("the onnx backends run on the CPU: add --device cpu, or take --backend torch-bf16")
    return onnx_library()
