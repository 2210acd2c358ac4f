"""Regions of an image: finding them (RAML, Sections 3.2 and C.2) and averaging labels and scores over them.

A region set is one integer map, so every reading is one pass over the pixels, however many regions there are.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Num
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ignota.structures import InputError, RegionSet
from ignota.taxonomy import IGNORE_INDEX


def candidate_regions(
    edges: Bool[Tensor, "H W"] | Bool[np.ndarray, "H W"], min_area: float, max_speck: float | None = None
) -> RegionSet:
    """The areas that edges separate: connected non-edge pixels (RAML, Section 3.2, "hole filling and components").

    min_area: the smallest region as a fraction of the image, in 0..1; smaller ones become 0. max_speck: the largest
    edge speck that is filled, the same unit; None means min_area. Components are 4-connected, so that a diagonal
    contour one pixel wide still separates. Edge pixels are in no region, but for specks.

    Filling has a trap: plain hole filling takes a closed contour with all it surrounds for a hole of the surroundings
    and melts the object, which is what we look for, into them. So a connected group of edge pixels is filled only if
    it is small and touches exactly one component, components that are later dropped included. A closed contour,
    however tiny its object, touches two: the inside and the outside.
    """
    edge = _as_mask(edges, min_area)
    ids, count = _components(~edge, connectivity=4)
    _fill_specks(ids, count, edge, (min_area if max_speck is None else max_speck) * edge.size)
    return _keep_large(ids, count, min_area * edge.size)


def _fill_specks(ids: NDArray[np.int32], count: int, edge: NDArray[np.bool_], largest: float) -> None:
    """Gives each small group of edge pixels (8-connected, the dual of 4) that touches one component to it, in place.

    Only the pixels of small groups are looked at, with their four neighbours; no id, 0, stands for count + 1 among the
    lowest ones, so that it never wins.
    """
    groups, number = _components(edge, connectivity=8)
    at = np.flatnonzero(edge)
    group = groups.ravel()[at]
    small = np.bincount(group, minlength=number + 1) <= largest
    at, group = at[small[group]], group[small[group]]
    if not at.size:
        return
    width = ids.shape[1] + 2
    place = at + (at // ids.shape[1]) * 2 + width + 1
    around = np.pad(ids, 1).ravel()
    top, bottom = np.zeros(number + 1, np.int32), np.full(number + 1, count + 1, np.int32)
    for step in (-width, -1, 1, width):
        beside = around[place + step]
        np.maximum.at(top, group, beside)
        np.minimum.at(bottom, group, np.where(beside > 0, beside, count + 1))
    ids.ravel()[at] = np.where(top == bottom, top, 0)[group]


def mask_regions(
    mask: Bool[Tensor, "H W"] | Bool[np.ndarray, "H W"],
    min_area: float,
    fill_holes: bool = True,
    closing: int | None = None,
) -> RegionSet:
    """The connected parts of a mask, for the incremental stage (RAML, Appendix C.2).

    closing: side of the rectangle for a morphological closing beforehand (released code: 5 at quarter resolution), or
    None. fill_holes: background that does not reach the image's border joins the mask (paper). Parts are 8-connected;
    those below min_area, a fraction of the image, become 0. Raises InputError for an impossible min_area or closing.
    """
    solid = _as_mask(mask, min_area)
    if closing is not None:
        if closing < 1:
            raise InputError(f"mask_regions: closing={closing} is no side of a rectangle; use 1 or more, or None")
        rectangle = np.ones((closing, closing), np.uint8)
        solid = np.asarray(cv2.morphologyEx(solid.astype(np.uint8), cv2.MORPH_CLOSE, rectangle)) > 0
    if fill_holes:
        solid = _fill_holes(solid)
    ids, count = _components(solid, connectivity=8)
    return _keep_large(ids, count, min_area * solid.size)


def _fill_holes(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask with every background component (4-connected) that misses the border added."""
    ground, count = _components(~solid, connectivity=4)
    hole = np.ones(count + 1, np.bool_)  # number 0, the mask itself, stays
    for border in (ground[0], ground[-1], ground[:, 0], ground[:, -1]):
        hole[border[border > 0]] = False
    return hole[ground]


def _components(mask: NDArray[np.bool_], connectivity: int) -> tuple[NDArray[np.int32], int]:
    """Connected parts of a mask, numbered from 1 in raster order, and how many there are.

    OpenCV's own statistics take longer than the components; a count of the numbers says how large they are.
    """
    number, ids = cv2.connectedComponents(mask.view(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S)
    return np.asarray(ids, np.int32), number - 1


def _as_mask(mask: Tensor | NDArray[np.bool_], min_area: float) -> NDArray[np.bool_]:
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.ndim != 2 or array.dtype != np.bool_ or array.size == 0:
        raise InputError(f"a mask is 'H W' bool and not empty, not {array.shape} {array.dtype}; pass one image's mask")
    if not 0 <= min_area <= 1:
        raise InputError(f"min_area={min_area} is no fraction of the image; use a number from 0 to 1")
    return array


def _keep_large(ids: NDArray[np.int32], count: int, smallest: float) -> RegionSet:
    """Drops components below `smallest` pixels and numbers the others 1..R in their order."""
    keep = np.bincount(ids.ravel(), minlength=count + 1) >= smallest
    keep[0] = False
    table = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return RegionSet(np.take(table, ids), int(keep.sum()))


def region_mean(scores: Float[Tensor, "H W"], regions: RegionSet) -> Float[Tensor, " R"]:
    """Mean of a pixel score over each region; summed in float64, returned in the score's dtype, differentiable."""
    ids = torch.from_numpy(regions.ids).to(scores.device, torch.int64).flatten()
    sums = torch.zeros(regions.count + 1, dtype=torch.float64, device=scores.device)
    sums = sums.index_add(0, ids, scores.double().flatten())[1:]
    return (sums / region_areas(regions).to(scores.device).clamp_min(1)).to(scores.dtype)


def paint(values: Num[Tensor, " R"], regions: RegionSet, background: float) -> Num[Tensor, "H W"]:
    """Gives every pixel its region's value, and `background` where there is no region; the values' dtype and device."""
    table = torch.cat([values.new_full((1,), background), values])
    ids = torch.from_numpy(regions.ids).to(values.device)
    return table.index_select(0, ids.flatten()).view(ids.shape)  # by 32-bit numbers, as they are


def region_areas(regions: RegionSet) -> Integer[Tensor, " R"]:
    """Number of pixels of each region, int64."""
    return torch.from_numpy(regions.areas)


def region_majority(
    labels: Integer[np.ndarray, "H W"] | Integer[Tensor, "H W"], regions: RegionSet, num_classes: int
) -> tuple[Integer[Tensor, " R"], Float[Tensor, " R"]]:
    """The commonest class of each region and its share of the region's labelled pixels (0..1, float32).

    Void pixels (255) do not count; a region without labelled pixels gives 255 and 0; of equally common classes the
    lowest id wins. Raises InputError for a label that is neither a class nor void.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
    seen = (array != IGNORE_INDEX) & (regions.ids > 0)
    label, region = array[seen].astype(np.int64), regions.ids[seen].astype(np.int64) - 1
    if label.size and not 0 <= label.min() <= label.max() < num_classes:
        raise InputError(
            f"labels run to {label.max()}, but classes are 0..{num_classes - 1}; map others to {IGNORE_INDEX}"
        )
    counts = np.bincount(region * num_classes + label, minlength=regions.count * num_classes)
    table = torch.from_numpy(counts.reshape(regions.count, num_classes))
    total = table.sum(1)
    most, winner = table.max(1) if num_classes else (total, total)
    return torch.where(total > 0, winner, IGNORE_INDEX), most / total.clamp_min(1)


def drop_block(
    masks: Bool[Tensor, "R h w"], block: int, share: float, generator: torch.Generator
) -> Bool[Tensor, "R h w"]:
    """Masks with random squares of `block` cells set to False.

    Each cell is the centre of a square with probability `share` / block², so that about `share` of a mask is dropped
    (0.3 with block 3 in the released code). A mask that would lose all its cells stays as it is. Raises InputError for
    an even block or a share outside 0..1.
    """
    if block < 1 or block % 2 == 0 or not 0 <= share <= 1:
        raise InputError(f"drop_block: block={block} must be odd and positive, share={share} in 0..1")
    centres = torch.rand(masks.shape, generator=generator) < share / block**2
    dropped = F.max_pool2d(centres.float()[:, None], block, stride=1, padding=block // 2)[:, 0] > 0
    kept = masks & ~dropped.to(masks.device)
    empty = ~kept.flatten(1).any(1)
    return torch.where(empty[:, None, None], masks, kept)
