"""A branch of a world as one file for other programs: the paper's own networks up to their pixels.

What needs regions stays with ignota: the choice and union of meta channels (Equations 13 to 15), D over regions
(Equation 3), and taught classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor, nn

from ignota.backends.exporting import about, embedded_cells, pixel_labels, write_graph
from ignota.functional.meta_channels import PRESETS, activate
from ignota.functional.one_hot_metric import metric_logits
from ignota.models.onnx_export import PortableSegmenter
from ignota.perception.branch import Branch, MetricNetwork
from ignota.scores.dml import METRIC_SCORES, metric_maps
from ignota.world.model import OpenWorldModel

MASS = "meta_mass"
_TAP = "decoder"


class PortableBranch(nn.Module):
    """The branch `paper` or `released` as a function of one working image.

    forward: image "H W 3" uint8 RGB -> labels "H W" uint8, the branch's own of the known classes; meta_mass "H W", the
    sum of the meta channels, in 0..1 under softmax; channels "K h w" in 0..1; and with `features` decoder "F h w" and
    embedding "D h w", D of Equation 3 cell by cell.
    """

    def __init__(self, branch: Branch, features: bool) -> None:
        super().__init__()
        self.segmenter = PortableSegmenter(branch.networks.segmenter, (_TAP,))
        self.head, self.embedder = branch.head.cpu(), branch.embedder.cpu()
        self.losses, self.features = PRESETS[branch.system], features

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs in order."""
        return ("labels", MASS, "channels", *((_TAP, "embedding") if self.features else ()))

    def forward(self, image: UInt8[Tensor, "H W 3"]) -> dict[str, Tensor]:
        found, size = self.segmenter(image), [image.shape[0], image.shape[1]]
        raw, classes = self.head(found["logits"]), self.head.num_classes
        known = raw[:, :classes] if self.losses.segmentation == "channels" else found["logits"]
        channels = activate(raw, self.losses)[:, classes:]
        mass = F.interpolate(channels.sum(1, keepdim=True), size=size, mode="bilinear")[0, 0]
        out = {"labels": pixel_labels(known, size), MASS: mass, "channels": channels[0]}
        if self.features:
            grid = found[_TAP]
            out |= {_TAP: grid[0], "embedding": embedded_cells(self.embedder, grid[0].permute(1, 2, 0))}
        return {name: out[name] for name in self.names}


class PortableMetricNetwork(nn.Module):
    """The branch `dmlnet` as a function of one working image.

    forward: image "H W 3" uint8 RGB -> labels "H W" uint8, the class with the nearest centre; score_NAME "H W" in 0..1
    for each of `METRIC_SCORES`, by the image's own range; embedding f "N h w"; and with `features` decoder "F h w".
    """

    def __init__(self, branch: MetricNetwork, features: bool) -> None:
        super().__init__()
        self.segmenter = PortableSegmenter(branch.networks.segmenter, (_TAP,))
        self.features = features

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs in order."""
        scores = (f"score_{name}" for name in METRIC_SCORES)
        return ("labels", *scores, "embedding", *((_TAP,) if self.features else ()))

    def forward(self, image: UInt8[Tensor, "H W 3"]) -> dict[str, Tensor]:
        found, size = self.segmenter(image), [image.shape[0], image.shape[1]]
        f = found["logits"]
        full = F.interpolate(f, size=size, mode="bilinear")[0]
        maps = metric_maps(metric_logits(full, dim=0), tuple(METRIC_SCORES))
        out = {"labels": full.argmax(0).to(torch.uint8), "embedding": f[0], _TAP: found[_TAP][0]}
        out |= {f"score_{name}": value for name, value in maps.items()}
        return {name: out[name] for name in self.names}


def export_branch(world: OpenWorldModel, system: str, form: str, path: Path, features: bool = False) -> None:
    """Writes the branch of a world to `path` as ONNX or as an exported program.

    Raises InputError where the world has no such branch or its network cannot be traced.
    """
    branch: Branch | MetricNetwork = world.branches.get(system, world.networks)
    kind: Any = PortableBranch if isinstance(branch, Branch) else PortableMetricNetwork
    module = kind(branch, features).eval()
    properties = about(world) | {
        "branch": system,
        "card": branch.card,
        "left_out": "regions, the choice of meta channels and taught classes: they need ignota",
    }
    write_graph(module, form, path, properties)
