"""The tensors of a branch by flat names, and the branch rebuilt from them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from ignota.models.heads import MetaChannelHead, RegionEmbedder
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.perception.branch import Branch, MetricNetwork
from ignota.perception.networks import Networks, run_eagerly
from ignota.perception.tiles import tiled_unasked


def branch_tensors(branch: Branch | MetricNetwork) -> dict[str, Tensor]:
    """Everything to be stored: `segmenter.…`, and of RAML's branches `head.…` and `embedder.…`."""
    parts: dict[str, nn.Module] = {"segmenter": branch.networks.segmenter}
    if isinstance(branch, Branch):
        parts |= {"head": branch.head, "embedder": branch.embedder}
    return {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def branch_from_tensors(
    system: str, segmenter: ClosedSetSegmenter, tensors: dict[str, Tensor], networks: Networks, card: dict[str, Any]
) -> Branch | MetricNetwork:
    """The inverse of `branch_tensors`, on the device of `networks`, whose working size it shares.

    segmenter: with its own weights. Raises KeyError for a missing tensor and RuntimeError for one of a wrong shape.
    """
    if system == "dmlnet":
        return MetricNetwork(beside(networks, segmenter), card)
    weights = {
        part: {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
        for part in ("head", "embedder")
    }
    channels, classes = weights["head"]["convolution.weight"].shape[:2]
    head = MetaChannelHead(classes, channels - classes)
    head.load_state_dict(weights["head"])
    hidden, features = weights["embedder"]["first.weight"].shape
    embedder = RegionEmbedder(features, classes, hidden, weights["embedder"]["second.weight"].shape[0])
    embedder.load_state_dict(weights["embedder"])
    return make_branch(system, segmenter, head, embedder, networks, card)


def make_branch(
    system: str,
    segmenter: ClosedSetSegmenter,
    head: MetaChannelHead,
    embedder: RegionEmbedder,
    networks: Networks,
    card: dict[str, Any],
) -> Branch:
    """A branch beside `networks`: the same working size and device, run eagerly, large images in tiles."""
    for module in (head, embedder):
        module.eval().requires_grad_(False).to(networks.device)
    return Branch(system, beside(networks, segmenter), head, embedder, card)


def beside(networks: Networks, segmenter: ClosedSetSegmenter) -> Networks:
    """Another segmenter in the place of the closed set, run eagerly, with no other network beside it."""
    segmenter = segmenter.eval().requires_grad_(False).to(networks.device).to(memory_format=torch.channels_last)
    own = dataclasses.replace(
        networks, segmenter=segmenter, frozen=None, objectness=None, taps=("decoder",), runner=run_eagerly,
        backend="torch",
    )  # fmt: skip
    return tiled_unasked(own)
