"""Label maps of one encoded image by every incremental method that a world can follow."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from ignota.functional.regions import paint
from ignota.incremental.methods import by_threshold, novel_prototype_method
from ignota.regions.proposals import MetaChannelRegions
from ignota.structures import Encoding, InputError
from ignota.taxonomy import nearest
from ignota.world.model import OpenWorldModel, closed_labels
from ignota.world.spaces import pool_taps

METHODS = ("raml", "raml_paper", "raml_released", "npm")

_PROPOSERS = {
    "paper": MetaChannelRegions(min_area=0.0005, fill_holes=True),
    "released": MetaChannelRegions(min_area=0.0019, fill_holes=False, closing=5),  # 250 px of a 256×512 grid
}


def label_maps(
    world: OpenWorldModel, encoding: Encoding, methods: Sequence[str]
) -> dict[str, UInt8[np.ndarray, "H W"]]:
    """World ids on the working grid by the named methods, and `closed`, what the closed set says; raises InputError."""
    for name in methods:
        if name not in METHODS:
            raise InputError(f"no incremental method {name!r}{nearest(name, METHODS)}")
    closed = closed_labels(encoding)
    maps = {"closed": closed}
    for name in methods:
        if name == "raml":
            maps[name] = world.segment(encoding).working_labels
        elif name == "npm":
            maps[name] = _npm(world, encoding, closed)
        else:
            maps[name] = _meta_channels(world, encoding, closed, name.removeprefix("raml_"))
    return maps


def _meta_channels(
    world: OpenWorldModel, encoding: Encoding, closed: UInt8[np.ndarray, "H W"], preset: str
) -> UInt8[np.ndarray, "H W"]:
    """RAML's incremental stage: union of the selected meta channels -> regions -> D -> nearest novel prototype."""
    if not world.novel.names:
        return closed
    size = (closed.shape[0], closed.shape[1])
    channels = world.networks.channels(encoding, preset)
    regions = _PROPOSERS[preset](channels, world.novel.selected[preset].to(channels.device), size)
    space = world.known.spaces[preset]
    embeddings = space.embed(pool_taps(encoding, regions, space.taps))
    theta = world.known.recipe.theta
    novel = by_threshold(embeddings, world.novel.prototypes[preset], theta, inclusive=preset == "released")
    return _overwrite(closed, paint(novel, regions, -1.0), len(world.taxonomy))


def _npm(world: OpenWorldModel, encoding: Encoding, closed: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    with torch.inference_mode():
        novel = novel_prototype_method(encoding.features["decoder"], world.known.means, world.novel.means)
    size = (closed.shape[1], closed.shape[0])
    resized = cv2.resize(novel.cpu().numpy().astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return _overwrite(closed, torch.from_numpy(resized), len(world.taxonomy))


def _overwrite(closed: UInt8[np.ndarray, "H W"], novel: torch.Tensor, known: int) -> UInt8[np.ndarray, "H W"]:
    found = novel.cpu().numpy()
    return np.where(found >= 0, (found + known).astype(np.uint8), closed)
