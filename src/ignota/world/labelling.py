"""Label maps of one encoded image by every incremental method that a world can follow."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from ignota.functional.prototypes import novel_similarity
from ignota.functional.regions import paint
from ignota.incremental.methods import by_threshold, novel_prototype_method
from ignota.regions.proposals import MetaChannelRegions
from ignota.structures import Encoding, InputError, RegionSet
from ignota.taxonomy import nearest
from ignota.world.model import OpenWorldModel, closed_labels
from ignota.world.scene import resize_mask
from ignota.world.spaces import pool_taps

METHODS = ("raml", "raml_paper", "raml_released", "raml_urs", "npm_frozen")

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
        elif name == "npm_frozen":
            maps[name] = _npm(world, encoding, closed)
        elif name == "raml_urs":
            regions = world.known.recipe.urs(encoding.image, encoding.logits)
            maps[name] = region_labels(world, encoding, closed, "paper", regions)
        else:
            preset = name.removeprefix("raml_")
            maps[name] = region_labels(world, encoding, closed, preset, meta_regions(world, encoding, preset))
    return maps


def meta_regions(
    world: OpenWorldModel, encoding: Encoding, preset: str, within: Bool[np.ndarray, "H W"] | None = None
) -> RegionSet:
    """Candidate regions of the meta channels that the taught classes use (Equation 15); none where nothing is taught.

    within: only these pixels, as the unknown region that RAML's Figure 2 hands to the incremental stage.
    """
    size = (encoding.image.shape[0], encoding.image.shape[1])
    if not world.novel.names:
        return RegionSet(np.zeros(size, np.int32), 0)
    channels = world.networks.channels(encoding, preset)
    if within is not None:
        grid = resize_mask(within, (channels.shape[1], channels.shape[2]))
        channels = channels * torch.from_numpy(grid).to(channels)
    return _PROPOSERS[preset](channels, world.novel.selected[preset].to(channels.device), size)


def novel_similarities(
    world: OpenWorldModel, encoding: Encoding, preset: str, regions: RegionSet
) -> Float[torch.Tensor, "R K"]:
    """Cosine of each region to the prototype of each taught class in the space of `preset`, Equation 11."""
    space = world.known.spaces[preset]
    return novel_similarity(space.embed(pool_taps(encoding, regions, space.taps)), world.novel.prototypes[preset])


def region_labels(
    world: OpenWorldModel, encoding: Encoding, closed: UInt8[np.ndarray, "H W"], preset: str, regions: RegionSet
) -> UInt8[np.ndarray, "H W"]:
    """RAML's incremental stage on any candidate regions: D -> nearest novel prototype above θ (Equations 11 and 12)."""
    if not world.novel.names:
        return closed
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
