"""ONNX files from outside: what would keep ONNX Runtime busy for ever is refused before it sees the file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ignota.models.onnx_file import checked_model, session
from ignota.structures import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def nested(levels: int, itself: bool = False) -> bytes:
    """A model whose function f_n calls f_(n-1) twice; itself: the lowest calls the highest."""
    from onnx import TensorProto, helper

    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def function(level: int) -> object:
        inner = ("own", f"f{level - 1}") if level else ("own", f"f{levels}") if itself else ("", "Relu")
        nodes = [helper.make_node(inner[1], [a], [b], domain=inner[0]) for a, b in (("x", "t"), ("t", "y"))]
        return helper.make_function("own", f"f{level}", ["x"], ["y"], nodes, versions)

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("in", "out")]
    call = helper.make_node(f"f{levels}", ["in"], ["out"], domain="own")
    graph = helper.make_graph([call], "nested", value[:1], value[1:])
    functions = [function(level) for level in range(levels + 1)]
    return bytes(
        helper.make_model(graph, opset_imports=versions, functions=functions, ir_version=8).SerializeToString()
    )


def test_functions_that_call_functions_are_run_while_they_are_few() -> None:
    model = checked_model(nested(4), Path("a.onnx"))
    assert session(model, Path("a.onnx"), 1).get_outputs()[0].name == "out"


@pytest.mark.parametrize("levels", [18, 60, 3000])
def test_functions_that_grow_without_end_are_refused_at_once(levels: int) -> None:
    data, began = nested(levels), time.process_time()
    with pytest.raises(InputError, match="more than 200,000 nodes where functions call functions"):
        checked_model(data, Path("a.onnx"))
    assert time.process_time() - began < 5


def test_a_function_that_calls_itself_is_refused() -> None:
    with pytest.raises(InputError, match="calls itself"):
        checked_model(nested(3, itself=True), Path("a.onnx"))
