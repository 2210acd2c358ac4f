"""Segmenters that know the synthetic streets a little, made in moments: the last layer of any network is solved for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignota.data.datasets import open_dataset
from ignota.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from ignota.perception.networks import network_input
from ignota.structures import Preprocessing
from ignota.taxonomy import ClassSplit

IMAGENET = Preprocessing(IMAGENET_MEAN, IMAGENET_STD)


class SmallNetwork(nn.Module):
    """Images "B 3 H W" to logits "B C H W"."""

    def __init__(self, classes: int = 19) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(48, 64, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Conv2d(64, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(self.classifier(self.backbone(images)), size=images.shape[-2:], mode="bilinear")


@torch.no_grad()
def taught(
    network: nn.Module,
    last: nn.Conv2d,
    root: Path,
    preprocessing: Preprocessing = IMAGENET,
    call: Callable[[Tensor], object] | None = None,
) -> nn.Module:
    """The network with a last layer that fits the training images of `root` best, by least squares.

    last: the convolution that gives the logits, whose middle tap alone is set; its outputs are Cityscapes' classes, or
    the known ones of 16+3. call: the network as it takes images.
    """
    network.eval()
    classes = last.out_channels
    lut = ClassSplit.parse("cityscapes" if classes == 19 else "cityscapes:16+3").training_lut()
    read: list[Tensor] = []
    handle = last.register_forward_hook(lambda _, given, output: read.append(given[0]))
    images, rows, targets = open_dataset("cityscapes", root, "train"), [], []
    for n in range(len(images)):
        sample = images[n]
        (call or network)(network_input(sample.image, preprocessing, torch.device("cpu")).contiguous())
        grid = read.pop()
        label = torch.from_numpy(np.array(sample.label))[None, None].float()
        small = F.interpolate(label, grid.shape[-2:], mode="nearest").flatten().long()
        small = torch.from_numpy(lut)[small].long()
        seen = small < classes
        rows.append(grid[0].flatten(1).T[seen])
        targets.append(F.one_hot(small[seen], classes).float())
    handle.remove()
    features, wanted = torch.cat(rows).double(), torch.cat(targets).double()
    centre, spread = features.mean(0), features.std(0) + 1e-6
    ready = torch.cat([(features - centre) / spread, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    rare = ((wanted / wanted.sum(0).clamp(min=1)).sum(1) ** 0.5)[:, None] * ready  # or small classes would drown
    gram = rare.T @ ready
    gram += 1e-3 * gram.trace() / len(gram) * torch.eye(len(gram), dtype=torch.float64)
    found = torch.linalg.solve(gram, rare.T @ wanted)
    weight = 10 * found[:-1] / spread[:, None]
    last.weight.zero_()
    last.weight[:, :, last.kernel_size[0] // 2, last.kernel_size[1] // 2] = weight.T.float()
    assert last.bias is not None
    last.bias.copy_((10 * found[-1] - centre @ weight).float())
    return network


def write_onnx(network: SmallNetwork, path: Path, kind: str = "logits") -> Path:
    """The network as an ONNX file of free batch and size, by hand, as an exporter takes its time.

    kind: `logits`, `labels`, `probabilities`, `fixed` (logits of 64 by 96), or `last` (channels last).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    free: list[object] = ["batch", "height", "width"]
    sides = [1, 64, 96] if kind == "fixed" else free
    shape = [sides[0], *sides[1:], 3] if kind == "last" else [sides[0], 3, *sides[1:]]
    tensors, nodes, value = [], [], "images"
    if kind == "last":
        nodes.append(helper.make_node("Transpose", [value], ["first"], perm=[0, 3, 1, 2]))
        value = "first"
    layers = [("stem", network.backbone[0]), ("middle", network.backbone[2]), ("late", network.backbone[4]),
              ("head", network.classifier)]  # fmt: skip
    for name, layer in layers:
        for part in ("weight", "bias"):
            tensors.append(numpy_helper.from_array(getattr(layer, part).detach().numpy(), f"{name}.{part}"))
        given = {"strides": list(layer.stride), "pads": [layer.padding[0]] * 4}
        nodes.append(
            helper.make_node("Conv", [value, f"{name}.weight", f"{name}.bias"], [f"{name}_out"], name, **given)
        )
        value = f"{name}_out"
        if name != "head":
            nodes.append(helper.make_node("Relu", [value], [f"{name}_relu"], f"/{name}/Relu"))
            value = f"{name}_relu"
    last = {"labels": ("ArgMax", {"axis": 1, "keepdims": 0}), "probabilities": ("Softmax", {"axis": 1}),
            "last": ("Transpose", {"perm": [0, 2, 3, 1]})}.get(kind, ("Identity", {}))  # fmt: skip
    nodes.append(helper.make_node(last[0], [value], ["said"], **last[1]))
    element = TensorProto.INT64 if kind == "labels" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("said", element, None)], tensors,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def saliency(path: Path, sigmoid: bool, side: int | str, channels: int = 3) -> Path:
    """A model that adds the channels up."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape: list[Any] = [1, channels, side, side]
    nodes = [helper.make_node("ReduceSum", ["image", "axes"], ["total"], keepdims=1)]
    nodes.append(helper.make_node("Sigmoid" if sigmoid else "Identity", ["total"], ["map"]))
    graph = helper.make_graph(
        nodes, "saliency", [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("map", kind, [1, 1, side, side])],
        [helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
