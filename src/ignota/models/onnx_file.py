"""ONNX files from outside: their contents are checked before ONNX Runtime sees them.

An ONNX file can name other files (external data, compiled contexts), operators that a library must be loaded for, and
loops that never end. No network for images needs them, so they are refused; what runs is the bytes that were checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from ignota.models.names import shown
from ignota.structures import InputError
from ignota.taxonomy import nearest

_STANDARD = ("", "ai.onnx")
_ENDLESS = ("Loop", "Scan")
_LARGEST = 2 * 2**30
"""No protobuf message is larger."""
_MOST_NODES = 200_000
_NEEDED = "`pip install 'ignota[onnx]'` brings it"


def is_installed() -> bool:
    """Whether this environment has both libraries."""
    try:
        libraries()
    except InputError:
        return False
    return True


def libraries() -> tuple[Any, Any]:
    """onnx and onnxruntime; raises InputError where one is missing."""
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed, and an ONNX file needs it: {_NEEDED}") from None
    return onnx, onnxruntime


def read_model(path: Path) -> Any:
    """The model in a file; raises InputError unless it is whole in itself and made of standard operators alone."""
    return checked_model(model_bytes(path), path)


def model_bytes(path: Path) -> bytes:
    """The contents of a regular file that is no larger than an ONNX file can be; raises InputError."""
    libraries()
    try:
        if not path.is_file() and path.exists():
            raise InputError(f"{path} is no regular file: name an ONNX file")
        if path.stat().st_size >= _LARGEST:
            raise InputError(f"{path} is larger than an ONNX file can be")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions") from None


def checked_model(data: bytes, path: Path) -> Any:
    """The model in the contents of the file `path`; raises as `read_model`."""
    onnx, _ = libraries()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own kinds, which differ between its versions
        raise InputError(f"{path} is no readable ONNX file ({type(error).__name__}): export it again") from None
    if not model.graph.node:
        raise InputError(f"{path} is no readable ONNX file (it computes nothing): export it again")
    own = {(function.domain, function.name) for function in model.functions}
    for function in model.functions:
        _check_nodes(path, function.node, own)
    _check_graph(path, model.graph, own)
    _check_nesting(path, model)
    return model


def with_outputs(model: Any, taps: dict[str, str], path: Path) -> list[str]:
    """Makes the values that `taps` name, by node or by value, outputs of the model; returns the names of the values.

    Raises InputError for a name that the graph lacks.
    """
    onnx, _ = libraries()
    made = {name: name for node in model.graph.node for name in node.output if name}
    made |= {node.name: node.output[0] for node in model.graph.node if node.name and node.output}
    values = []
    for tap, name in taps.items():
        if name not in made:
            hint = nearest(name, list(made))
            hint = hint if "did you mean" in hint else f"; its last are: {', '.join(list(made)[-3:])}"
            raise InputError(f"{path} has no node {shown(name)} for the tap {tap!r}{hint}")
        values.append(made[name])
    present = {output.name for output in model.graph.output}
    for value in dict.fromkeys(values):
        if value not in present:
            model.graph.output.append(onnx.ValueInfoProto(name=value))
    return values


def session(model: Any, path: Path, threads: int) -> Any:
    """ONNX Runtime over the checked model, on the CPU; raises InputError."""
    _, runtime = libraries()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of the runtime's own kinds, some without a common base class
        raise InputError(f"{path} cannot be run by ONNX Runtime: {' '.join(str(error).split())[:200]}") from None


def _check_nesting(path: Path, model: Any) -> None:
    """Raises InputError for functions that call functions until there are too many nodes, or that call themselves."""
    calls = {(f.domain, f.name): _kinds(f.node) for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def expanded(kinds: Counter[tuple[str, str]]) -> int:
        return min(_MOST_NODES + 1, sum(count * sizes.get(kind, 1) for kind, count in kinds.items()))

    try:
        for name in TopologicalSorter({name: kinds.keys() & calls for name, kinds in calls.items()}).static_order():
            sizes[name] = expanded(calls[name])
    except CycleError:
        raise InputError(f"{path} has a function that calls itself, which may never end: export it without") from None
    if expanded(_kinds(model.graph.node)) > _MOST_NODES:
        raise InputError(
            f"{path} has more than {_MOST_NODES:,} nodes where functions call functions: export it without"
        )


def _kinds(nodes: Any) -> Counter[tuple[str, str]]:
    """How many nodes of each kind there are, those of inner graphs included."""
    return Counter((node.domain, node.op_type) for node in _all_nodes(nodes))


def _all_nodes(nodes: Any) -> Iterator[Any]:
    """The nodes and those of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _all_nodes(graph.node)


def _check_graph(path: Path, graph: Any, own: set[tuple[str, str]]) -> None:
    for tensor in (*graph.initializer, *(part for s in graph.sparse_initializer for part in (s.values, s.indices))):
        _check_tensor(path, tensor)
    _check_nodes(path, graph.node, own)


def _check_nodes(path: Path, nodes: Any, own: set[tuple[str, str]]) -> None:
    for node in nodes:
        if node.domain not in _STANDARD and (node.domain, node.op_type) not in own:
            kind = shown(f"{node.domain}.{node.op_type}")
            raise InputError(f"{path} has the operator {kind}, which is none of ONNX's own: export it without")
        if node.op_type in _ENDLESS and node.domain in _STANDARD:
            raise InputError(f"{path} has a {node.op_type}, which may never end: export it without loops")
        for attribute in node.attribute:
            for tensor in _tensors(attribute):
                _check_tensor(path, tensor)
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _check_graph(path, graph, own)


def _tensors(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors]
    for found in sparse:
        yield from (found.values, found.indices)


def _check_tensor(path: Path, tensor: Any) -> None:
    if tensor.external_data or tensor.data_location == 1:  # TensorProto.EXTERNAL
        raise InputError(f"{path} keeps the tensor {shown(tensor.name)} in another file: export it as one file")
