"""ONNX files as segmenters: what they say, what of them is read, and which are refused."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.own_networks import IMAGENET, SmallNetwork, write_onnx

from ignota.models.build import SegmenterDescription, build_segmenter, describe
from ignota.models.onnx_export import PortableSegmenter
from ignota.models.onnx_segmenter import OnnxSegmenter
from ignota.models.opening import Hints, open_segmenter
from ignota.structures import InputError, Preprocessing

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def network() -> SmallNetwork:
    torch.manual_seed(0)
    return SmallNetwork(5).eval()


def one_line(function: Callable[[], object], *words: str) -> None:
    with pytest.raises(InputError) as caught:
        function()
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@torch.no_grad()
def said(network: SmallNetwork, images: torch.Tensor) -> torch.Tensor:
    return network.classifier(network.backbone(images))


@pytest.mark.parametrize("kind", ["logits", "last"])
def test_logits_and_taps_by_node(network: SmallNetwork, tmp_path: Path, kind: str) -> None:
    path = write_onnx(network, tmp_path / "net.onnx", kind)
    taps = {"decoder": "/late/Relu", "stage3": "stem_relu"} if kind == "logits" else {}
    segmenter = open_segmenter(str(path), Hints(taps=taps))
    assert (segmenter.num_classes, segmenter.multiple, segmenter.preprocessing) == (5, 32, IMAGENET)
    assert list(segmenter.taps) == list(taps) and not list(segmenter.parameters())
    images = torch.randn(2, 3, 64, 96)
    output = segmenter(images)
    torch.testing.assert_close(output.logits, said(network, images), atol=1e-4, rtol=1e-3)
    if taps:
        with torch.no_grad():
            late = network.backbone(images)
        torch.testing.assert_close(output.features["decoder"], late, atol=1e-4, rtol=1e-3)
        assert segmenter.taps["stage3"].stride == 2
    assert segmenter(torch.randn(1, 3, 50, 70)).logits.shape == (1, 5, 13, 18)
    assert copy.deepcopy(segmenter) is segmenter


def test_labels_become_logits(network: SmallNetwork, tmp_path: Path) -> None:
    path = write_onnx(network, tmp_path / "net.onnx", "labels")
    one_line(lambda: open_segmenter(str(path)), "gives labels, not logits: name its classes by classes=")
    images = torch.randn(1, 3, 64, 96)
    logits = open_segmenter(str(path), Hints(num_classes=5))(images).logits
    assert torch.equal(logits.argmax(1), said(network, images).argmax(1))
    assert logits.unique().tolist() == [0.0, 10.0]
    few = open_segmenter(str(path), Hints(num_classes=2))(images).logits  # others are none of its classes
    assert few.shape[1] == 2 and few.unique().tolist() in ([0.0, 10.0], [0.0])


def test_probabilities_become_logits(network: SmallNetwork, tmp_path: Path) -> None:
    images = torch.randn(1, 3, 64, 96)
    logits = open_segmenter(str(write_onnx(network, tmp_path / "net.onnx", "probabilities")))(images).logits
    torch.testing.assert_close(logits, said(network, images).log_softmax(1), atol=1e-3, rtol=1e-3)


def test_one_size_alone(network: SmallNetwork, tmp_path: Path) -> None:
    segmenter = open_segmenter(str(write_onnx(network, tmp_path / "net.onnx", "fixed")))
    assert isinstance(segmenter, OnnxSegmenter) and segmenter.fixed_size == (64, 96)
    images = torch.randn(2, 3, 64, 96)
    torch.testing.assert_close(segmenter(images).logits, said(network, images), atol=1e-4, rtol=1e-3)
    assert segmenter(torch.randn(1, 3, 32, 48)).logits.shape == (1, 5, 8, 12)


def test_a_description_brings_it_back(network: SmallNetwork, tmp_path: Path) -> None:
    path = write_onnx(network, tmp_path / "net.onnx", "labels")
    first = open_segmenter(str(path), Hints(num_classes=5, mean=(0.0, 0.0, 0.0), taps={"decoder": "late_relu"}))
    description, files = describe(first)
    assert files == [path] and not description.has_weights
    (tmp_path / "bundle").mkdir()
    shutil.copyfile(path, tmp_path / "bundle" / path.name)
    again = build_segmenter(SegmenterDescription.from_json(description.to_json()), None, tmp_path / "bundle")
    assert again.taps == first.taps and again.preprocessing == Preprocessing((0.0, 0.0, 0.0), IMAGENET.std)
    images = torch.randn(1, 3, 40, 72)
    assert torch.equal(first(images).logits, again(images).logits)
    (tmp_path / "bundle" / path.name).write_bytes(path.read_bytes() + b"\0")
    one_line(lambda: build_segmenter(description, None, tmp_path / "bundle"), "SHA-256")
    strange = SegmenterDescription.from_json(description.to_json() | {"options": {"layers": [3]}})
    one_line(lambda: build_segmenter(strange, None, tmp_path), "segmenter.options.layers")
    strange = SegmenterDescription.from_json(description.to_json() | {"options": {"classifier": "x"}})
    one_line(lambda: build_segmenter(strange, None, tmp_path), "segmenter.options: unknown field")
    one_line(lambda: PortableSegmenter(first, ()), "is an ONNX file already")


def external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def inner_external(model: Any) -> None:
    """In a constant of a branch."""
    tensor = onnx.TensorProto(name="inner", data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    constant = onnx.helper.make_node("Constant", [], ["inner_out"], value=tensor)
    out = onnx.helper.make_tensor_value_info("inner_out", 1, None)
    branch = onnx.helper.make_graph([constant], "branch", [], [out])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))


def custom(model: Any) -> None:
    model.graph.node[0].domain = "com.attacker"


def microsoft(model: Any) -> None:
    model.graph.node.append(
        onnx.helper.make_node("EPContext", [], ["z"], domain="com.microsoft", ep_cache_context="/x")
    )


def endless(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Loop", ["a", "b"], ["z"]))


def inside_a_function(model: Any) -> None:
    node = onnx.helper.make_node("Run", ["x"], ["y"], domain="com.attacker")
    imports = [onnx.helper.make_opsetid("", 17)]
    model.functions.append(onnx.helper.make_function("local", "f", ["x"], ["y"], [node], imports))


def two_inputs(model: Any) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, [1]))


def other_rank(model: Any) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[3]


def half_fixed(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 64


def unknown_operator(model: Any) -> None:
    model.graph.node[0].op_type = "Convolve"


def no_node(model: Any) -> None:
    del model.graph.node[:]


HOSTILE: dict[str, tuple[Callable[[Any], None], str]] = {
    "external data": (external, "keeps the tensor 'stem.weight' in another file"),
    "external data in a branch": (inner_external, "keeps the tensor 'inner' in another file"),
    "custom operator": (custom, "has the operator 'com.attacker.Conv', which is none of ONNX's own"),
    "compiled context": (microsoft, "has the operator 'com.microsoft.EPContext'"),
    "loop": (endless, "has a Loop, which may never end"),
    "custom operator in a function": (inside_a_function, "has the operator 'com.attacker.Run'"),
    "two inputs": (two_inputs, "does not take one batch of images B 3 H W"),
    "three dimensions": (other_rank, "cannot be run by ONNX Runtime"),
    "one side fixed": (half_fixed, "fixes one side of the image alone"),
    "unknown operator": (unknown_operator, "cannot be run by ONNX Runtime"),
    "nothing": (no_node, "computes nothing"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_files_that_are_refused(network: SmallNetwork, tmp_path: Path, case: str) -> None:
    change, words = HOSTILE[case]
    model = onnx.load(write_onnx(network, tmp_path / "net.onnx"))
    change(model)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    one_line(lambda: open_segmenter(str(tmp_path / "net.onnx")), words)


def test_files_that_are_none(network: SmallNetwork, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    for content in (b"", b"hello", b"\xff" * 100):
        path.write_bytes(content)
        one_line(lambda: open_segmenter(str(path)), "is no readable ONNX file")
    write_onnx(network, path)
    one_line(lambda: open_segmenter(str(path), Hints(taps={"decoder": "/lte/Relu"})), "did you mean '/late/Relu'")
    one_line(lambda: open_segmenter(str(path), Hints(taps={"decoder": "3"})), "has no node '3'", "its last are")
