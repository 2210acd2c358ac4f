"""One pass of the frozen networks over training images: the rows for D and `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ignota.data.images import resize_label
from ignota.functional.regions import region_areas, region_majority
from ignota.perception.features import Pooled, pool_taps
from ignota.perception.proposals import UncertaintyRegions, label_regions
from ignota.structures import Encoding, RegionSet, Sample
from ignota.taxonomy import IGNORE_INDEX

SOURCES = ("labels", "urs")


@dataclass(frozen=True)
class RegionRows:
    """Training regions of known classes.

    pooled: {tap: "N F"}. label: "N" training ids. purity: share of the label's pixels. area: share of the image.
    image: number of the image in the pass. source: index into SOURCES.
    """

    pooled: Pooled
    label: Tensor
    purity: Tensor
    area: Tensor
    image: Tensor
    source: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def where(self, chosen: Tensor) -> RegionRows:
        return RegionRows(
            {tap: rows[chosen] for tap, rows in self.pooled.items()},
            *(value[chosen] for value in (self.label, self.purity, self.area, self.image, self.source)),
        )


def training_label(sample: Sample, lut: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Training ids on the working grid."""
    if sample.label is None:
        return np.full(size, IGNORE_INDEX, np.uint8)
    return resize_label(lut[sample.label], size)


def regions_of(
    encoding: Encoding, label: NDArray[np.uint8], urs: UncertaintyRegions, sources: Sequence[str]
) -> list[tuple[int, RegionSet]]:
    """Training regions: from labels always; on request between uncertain edges, as they look at test time."""
    found = [(0, label_regions(label, urs.min_area))]
    if "urs" in sources:
        found.append((1, urs(encoding.image, encoding.logits)))
    return found


def training_regions(
    encoding: Encoding,
    label: NDArray[np.uint8],
    urs: UncertaintyRegions,
    sources: Sequence[str],
    image: int,
    classes: int,
) -> RegionRows:
    """Rows of one image, every tap pooled; regions without a labelled pixel are left out."""
    rows = []
    for source, regions in regions_of(encoding, label, urs, sources):
        majority, purity = region_majority(label, regions, classes)
        area = region_areas(regions) / label.size
        number = len(majority)
        pooled = {tap: v.cpu() for tap, v in pool_taps(encoding, regions, encoding.features).items()}
        found = RegionRows(pooled, majority, purity, area, torch.full((number,), image), torch.full((number,), source))
        rows.append(found.where(majority != IGNORE_INDEX))
    return concatenate_rows(rows)


def concatenate_rows(rows: Sequence[RegionRows]) -> RegionRows:
    """One under the other."""
    return RegionRows(
        {tap: torch.cat([row.pooled[tap] for row in rows]) for tap in rows[0].pooled},
        *(torch.cat([getattr(row, name) for row in rows]) for name in ("label", "purity", "area", "image", "source")),
    )
