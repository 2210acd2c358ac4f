"""ONNX Runtime as a backend: the networks of a world as a graph, exported once and kept in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from ignota import __version__
from ignota.data.files import write_atomically
from ignota.models.onnx_export import OPSET, onnx_library, write_onnx
from ignota.models.portable import PortableNetworks
from ignota.structures import InputError
from ignota.world.artefacts import artefact, built
from ignota.world.networks import Answer, Networks
from ignota.world.quantising import RECIPE, chosen, pixels_digest, quantise


class OnnxRunner:
    """Runs a graph whose outputs are `logits` and the taps, "1 C h w" each, on as many threads as torch has.

    calibration: digest of the images that an 8-bit graph was calibrated on.
    """

    def __init__(self, path: Path, calibration: str = "") -> None:
        self.calibration = calibration
        library = onnx_library()
        options = library.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session: Any = library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of the runtime's own kinds, all derived from RuntimeError or not at all
            cause = str(error).splitlines()[0][:120]
            raise InputError(f"{path} cannot be run ({cause}): remove its folder, it is built anew") from None
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, networks: Networks, image: UInt8[np.ndarray, "H W 3"]) -> Answer:
        found = dict(zip(self.names, self.session.run(None, {"image": image}), strict=True))
        logits = torch.from_numpy(found.pop("logits"))[0]
        return logits, {name: torch.from_numpy(grid)[0] for name, grid in found.items()}


def float_runner(networks: Networks) -> OnnxRunner:
    """ONNX Runtime in float32."""
    return OnnxRunner(_float_graph(networks))


def int8_runner(networks: Networks, calibration: Sequence[Path] = ()) -> OnnxRunner:
    """ONNX Runtime in 8 bits. calibration: training images; needed once, then the quantised graph is in the cache.

    Other images make another graph; without any, the one of the last images is taken. Raises InputError where it is
    not there.
    """
    versions = (__version__, torch.__version__, _checked(networks).__version__, OPSET, networks.size, RECIPE)
    last = artefact(networks, "calibration", *versions)
    images = chosen(calibration)
    told = last.read_text("ascii", "replace") if last.exists() else ""
    seen = pixels_digest(images) if images else told
    path = artefact(networks, "int8.onnx", *versions, seen)
    if not images and not path.exists():
        raise InputError("8 bits are calibrated on training images once: name some by --calibrate 'train/*.png'")
    built(path, lambda draft: quantise(_float_graph(networks), images, networks.size, draft))
    runner = OnnxRunner(path, seen)
    if seen != told:
        last.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(last, seen.encode())
    return runner


def _float_graph(networks: Networks) -> Path:
    library = _checked(networks)
    path = artefact(networks, "float32.onnx", __version__, torch.__version__, library.__version__, OPSET)

    def build(draft: Path) -> None:
        module = PortableNetworks(networks.segmenter, networks.frozen, networks.taps)
        write_onnx(module, draft, module.names)

    return built(path, build)


def _checked(networks: Networks) -> Any:
    if networks.device.type != "cpu":
        raise InputError("the onnx backends run on the CPU: add --device cpu, or take --backend torch-bf16")
    return onnx_library()
