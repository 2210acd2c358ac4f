"""ONNX Runtime as a backend: each network of a world as a graph, exported once and cached, if asked for in 8 bits."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ignota import __version__
from ignota.backends.artefacts import artefact, built
from ignota.data.files import write_atomically
from ignota.data.images import fit_short_side, read_image, resize_image
from ignota.functional.numbers import evenly_spaced
from ignota.models.onnx_export import OPSET, PortableEncoder, PortableSegmenter, onnx_library, write_onnx
from ignota.perception.networks import Answer, Networks
from ignota.structures import InputError

MOST_IMAGES = 16
"""Ranges settle after about a dozen street images; more cost time alone."""

_FINE = 8
_OPERATORS = ["Conv", "Relu", "Clip", "Add", "Concat"]
RECIPE = (MOST_IMAGES, _FINE, *_OPERATORS)
"""What a quantised graph depends on beside the graph and the images."""


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


def chosen(images: Sequence[Path]) -> list[Path]:
    """Those that the ranges are read from: at most MOST_IMAGES, evenly spaced."""
    return [images[i] for i in evenly_spaced(len(images), MOST_IMAGES)]


def pixels_digest(images: Sequence[Path]) -> str:
    """16 hex digits of what is seen in these images, in order; raises InputError for one that cannot be read."""
    digest = hashlib.sha256()
    for path in images:
        image = read_image(path)
        digest.update(f"{image.shape};".encode() + image.tobytes())
    return digest.hexdigest()[:16]


def quantise(graph: Path, images: Sequence[Path], size: int, target: Path) -> None:
    """Writes `graph` with activations in unsigned and weights in signed 8 bits, weights by output channel (QDQ).

    images: those that are `chosen` are taken, at the short side `size`; their smallest and largest activations
    set the ranges. Some layers stay in float32, see `sensitive_nodes`.
    """
    library = onnx_library()
    from onnxruntime import quantization as q

    if not images:
        raise InputError("8 bits are calibrated on training images: name some by --calibrate")
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises to do beforehand what is done here
    try:
        with tempfile.TemporaryDirectory(prefix="ignota-") as folder:
            plain = Path(folder) / "folded.onnx"
            _fold(library, graph, plain)
            q.quantize_static(
                plain, target, _Reader(chosen(images), size), quant_format=q.QuantFormat.QDQ,
                op_types_to_quantize=_OPERATORS, per_channel=True, activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8, calibrate_method=q.CalibrationMethod.MinMax,
                nodes_to_exclude=sensitive_nodes(plain),
            )  # fmt: skip
    finally:
        logging.disable(previous)


def sensitive_nodes(graph: Path) -> list[str]:
    """Names of the nodes that stay in float32: the first and the last convolutions.

    The first are those before the image is reduced to 1/`_FINE` of its sides: there few channels of very unequal range
    carry everything, and in 8 bits they alone change one label in ten. The last are those that give the logits.
    """
    import onnx

    found = onnx.load(graph).graph
    nodes = list(found.node)
    producer = {name: node for node in nodes for name in node.output}
    return sorted(_first(nodes) | _before(["logits"], producer, stop="Conv"))


def _first(nodes: Sequence[Any]) -> set[str]:
    """The convolutions of the fine grids; nodes in topological order, as ONNX wants them."""
    reduction: dict[str, int] = {}
    kept = set()
    for node in nodes:
        stride = max((reduction.get(name, 1) for name in node.input), default=1)
        if node.op_type == "Conv":
            stride *= next((a.ints[0] for a in node.attribute if a.name == "strides"), 1)
            if stride < _FINE:
                kept.add(node.name)
        reduction |= dict.fromkeys(node.output, stride)
    return kept


def _before(front: list[str], producer: dict[str, Any], stop: str | None = None) -> set[str]:
    """The nodes that the values `front` come from; the walk ends at operators `stop`."""
    kept: set[str] = set()
    while front:
        node = producer.get(front.pop())
        if node is not None and node.name not in kept:
            kept.add(node.name)
            if node.op_type != stop:
                front.extend(node.input)
    return kept


def _fold(library: Any, graph: Path, target: Path) -> None:
    """Normalisations into convolutions, constants computed: ONNX Runtime's own basic optimisation, written down."""
    options = library.SessionOptions()
    options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    library.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class _Reader:
    """Gives one working image after another, as onnxruntime's CalibrationDataReader asks for them."""

    def __init__(self, images: Sequence[Path], size: int) -> None:
        self.images, self.size = images, size
        self.rewind()

    def rewind(self) -> None:
        self._left = iter(self.images)

    def get_next(self) -> dict[str, UInt8[np.ndarray, "H W 3"]] | None:
        path = next(self._left, None)
        if path is None:
            return None
        image = read_image(path)
        return {"image": resize_image(image, fit_short_side(image.shape[0], image.shape[1], self.size))}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        while (found := self.get_next()) is not None:
            yield found
