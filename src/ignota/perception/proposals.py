"""Candidate regions: from uncertain edges (URS, Section 3.2) or meta channels (Section 3.3).

RAML: Dong et al., "Region-Aware Metric Learning for Open World Semantic Segmentation via Meta-Channel Aggregation",
IJCAI 2022.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ignota.functional.edges import edge_map, sobel_magnitude, softmax_uncertainty
from ignota.functional.meta_channels import aggregate
from ignota.functional.regions import candidate_regions, mask_regions
from ignota.structures import RegionSet


@dataclass(frozen=True)
class UncertaintyRegions:
    """URS: regions between strong image edges and uncertain pixels, Equation 2.

    alpha: Sobel threshold over 0-255 intensities. beta: threshold on 1 - max softmax. min_area: smallest region as a
    share of the image. whole: every pixel goes to its nearest region, so that none is left out (not in the paper).
    """

    alpha: float | None
    beta: float | None
    min_area: float
    whole: bool = False

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], logits: Float[Tensor, "C h w"]) -> RegionSet:
        sobel, uncertainty = edge_evidence(image, logits)
        regions = candidate_regions(edge_map(sobel, uncertainty, self.alpha, self.beta)[0], self.min_area)
        return fill_gaps(regions) if self.whole else regions


@dataclass(frozen=True)
class MetaChannelRegions:
    """MCA: connected components of the union of the selected meta channels, Equation 15 and Appendix C.2.

    min_area: the smallest region as a share of the image. fill_holes: as the paper. closing: side of the released
    code's rectangle as a share of the grid's height, where it closes 5 cells of 256.
    """

    min_area: float
    threshold: float = 0.5
    fill_holes: bool = True
    closing: float | None = None

    def __call__(
        self, channels: Float[Tensor, "K h w"], selected: Bool[Tensor, " K"], size: tuple[int, int]
    ) -> RegionSet:
        union = aggregate(channels, selected, self.threshold)
        side = None if self.closing is None else odd_side(self.closing, channels.shape[1])
        return _resized(mask_regions(union.cpu(), self.min_area, self.fill_holes, side), size)


@dataclass(frozen=True)
class StrongestChannelRegions:
    """Where all meta channels together exceed `threshold`, split by the strongest of them, opened (not in the paper).

    Objects that touch stay apart where different channels take them. opening: side of the square that breaks thin
    bridges, in cells of the channels' grid. min_area: the smallest region as a share of the image.
    """

    min_area: float
    threshold: float = 0.5
    opening: int = 3

    def __call__(
        self, channels: Float[Tensor, "K h w"], selected: Bool[Tensor, " K"], size: tuple[int, int]
    ) -> RegionSet:
        mass, strongest = channels.sum(0) >= self.threshold, channels.argmax(0)
        square = np.ones((self.opening, self.opening), np.uint8)
        ids, count = np.zeros(tuple(mass.shape), np.int32), 0
        for channel in range(len(channels)):  # a handful
            mask = (mass & (strongest == channel)).cpu().numpy().astype(np.uint8)
            parts = mask_regions(cv2.morphologyEx(mask, cv2.MORPH_OPEN, square) > 0, self.min_area, fill_holes=False)
            ids += np.where(parts.ids > 0, parts.ids + count, 0).astype(np.int32)
            count += parts.count
        return _resized(RegionSet(ids, count), size)


def odd_side(share: float, height: int) -> int:
    """The odd number of cells nearest to `share` of the grid's height, 1 at least."""
    return max(1, 2 * round((share * height - 1) / 2) + 1)


def _resized(regions: RegionSet, size: tuple[int, int]) -> RegionSet:
    """The regions on the image's grid; those that vanish there keep their number."""
    ids = cv2.resize(regions.ids.astype(np.float32), size[::-1], interpolation=cv2.INTER_NEAREST)
    return RegionSet(ids.astype(np.int32), regions.count)


def edge_evidence(
    image: UInt8[np.ndarray, "H W 3"], logits: Float[Tensor, "C h w"]
) -> tuple[Float[Tensor, "1 H W"], Float[Tensor, "1 H W"]]:
    """Sobel magnitude and softmax uncertainty on the image's grid: the two sides of Equation 2."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    uncertainty = softmax_uncertainty(logits[None])
    resized = F.interpolate(uncertainty[None], size=image.shape[:2], mode="bilinear")[0]
    return sobel_magnitude(pixels.to(logits.device)), resized


def fit_edge_thresholds(
    images: Iterable[tuple[UInt8[np.ndarray, "H W 3"], Float[Tensor, "C h w"]]], share: float
) -> tuple[float, float]:
    """α and β so that each marks `share` of the training images' pixels as edges.

    The paper sets both by hand for each test set (Appendix B.2); here training images alone decide.
    """
    sobels, uncertainties = [], []
    for image, logits in images:
        sobel, uncertainty = edge_evidence(image, logits)
        sobels.append(sobel.flatten()[::7].cpu())
        uncertainties.append(uncertainty.flatten()[::7].cpu())
    if not sobels:
        raise ValueError("no image to set α and β from")
    alpha, beta = (float(np.quantile(torch.cat(values).numpy(), 1 - share)) for values in (sobels, uncertainties))
    return alpha, beta


def fill_gaps(regions: RegionSet) -> RegionSet:
    """Gives every pixel without a region to the nearest one; an image without any becomes one region."""
    if regions.count == 0:
        return RegionSet(np.ones_like(regions.ids), 1)
    gaps = regions.ids == 0
    _, nearest = cv2.distanceTransformWithLabels(
        gaps.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(nearest.max()) + 1, np.int32)
    owner[nearest[~gaps]] = regions.ids[~gaps]
    return RegionSet(owner[nearest], regions.count)


def mask_region(mask: Bool[np.ndarray, "H W"]) -> RegionSet:
    """One region out of a mask, as people draw it."""
    return RegionSet(mask.astype(np.int32), 1)


def label_regions(label: UInt8[np.ndarray, "H W"], min_area: float) -> RegionSet:
    """Connected components of the label map, one class each; void (255) is in no region."""
    smallest = max(1.0, min_area * label.size)
    ids, count = np.zeros(label.shape, np.int32), 0
    for value in np.unique(label[label != 255]):  # a handful of classes, in training alone
        _, parts, statistics, _ = cv2.connectedComponentsWithStats((label == value).astype(np.uint8), ltype=cv2.CV_32S)
        keep = statistics[:, cv2.CC_STAT_AREA] >= smallest
        keep[0] = False
        table = np.where(keep, np.cumsum(keep) + count, 0).astype(np.int32)
        ids += table[parts]
        count += int(keep.sum())
    return RegionSet(ids, count)
