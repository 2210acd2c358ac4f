"""Mean features of all regions of an image in one pass over the features (RAML, Eq. 3, inside D).

Features and region map lie on grids of their own. Cell by cell and region by region it is counted how many pixels they
share; pooling is then one sparse product, which `embedding_bag` does at the speed of the memory where each cell's
features lie side by side (channels last). On the CPU features that lie channel by channel are turned tile by tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int32, Integer
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix
from torch import Tensor
from torch.nn import functional as F

from ignota.structures import RegionSet

_TILE = 4096
"""Cells that are turned at a time: with some hundred channels they fit into the cache."""
_LONGEST = {"cpu": 4096, "cuda": 256}
"""Cells that are added up in one go: so threads share a large region, and its sum stays exact."""
_BITS = {2: np.int16, 4: np.int32, 8: np.float64}
"""As what OpenCV moves numbers of so many bytes; it knows no bfloat16."""


@dataclass(frozen=True)
class Overlap:
    """How many pixels each feature cell shares with each region, cell by cell, row by row of the grid.

    start: "cells+1", where each cell's entries begin. region, pixels: "E", the region 0..R-1 and the number of pixels.
    """

    start: Int32[np.ndarray, " starts"]
    region: Int32[np.ndarray, " E"]
    pixels: Int32[np.ndarray, " E"]


def overlap(ids: Integer[np.ndarray, "H W"], count: int, grid: tuple[int, int]) -> Overlap:
    """Pixel (y, x) belongs to cell (y·h // H, x·w // W), so that pooling is the mean over a region's pixels of
    nearest-upsampled features, and a region smaller than a cell is not lost. Pixels in no region do not count."""
    (height, width), (rows, columns) = ids.shape, grid
    cells = rows * columns
    if ids.shape == grid:
        inside = (ids > 0).ravel()
        start = np.append(0, np.cumsum(inside)).astype(np.int32)
        region = ids.ravel()[inside].astype(np.int32) - 1
        return Overlap(start, region, np.ones(len(region), np.int32))
    lines = np.flatnonzero(ids.any(1))
    top, bottom = (int(lines[0]), int(lines[-1]) + 1) if len(lines) else (0, 0)
    ids = ids[top:bottom]
    # Along a pixel row, what is of one region and one cell is one run; runs alone go on from here.
    y = (np.arange(top, bottom) * rows // height * columns).astype(np.int32)
    x = (np.arange(width) * columns // width).astype(np.int32)
    begins = np.ones(ids.shape, np.bool_)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=begins[:, 1:])
    begins[:, 1:] |= x[1:] != x[:-1]
    at = np.flatnonzero(begins)
    length, region = np.diff(at, append=ids.size), ids.ravel()[at]
    inside = region > 0
    line, column = np.divmod(at[inside].astype(np.int32), np.int32(width))
    # A cell holds a handful of regions, so adding equal pairs up takes a few linear passes and no sort.
    shape = cells, count
    table = coo_matrix((length[inside].astype(np.int32), (y[line] + x[column], region[inside] - 1)), shape).tocsr()
    return Overlap(table.indptr.astype(np.int32, copy=False), table.indices, table.data)


def region_pool(features: Float[Tensor, "F h w"], regions: RegionSet) -> Float[Tensor, "R F"]:
    """Mean feature over each region: Σ F·R_i / Σ R_i (RAML, Eq. 3, inside D), all regions in one pass.

    features lie on any grid and count as upsampled to the region map by nearest neighbour, see `overlap`; they are
    read where they lie, channels first or last. Differentiable in features; half-precision features accumulate in
    float32. R = 0 gives "0 F", a region without pixels a row of zeros.
    """
    pairs = overlap(regions.ids, regions.count, (features.shape[1], features.shape[2]))
    means: Tensor = _RegionMean.apply(features, pairs, regions.count)
    return means


class _RegionMean(torch.autograd.Function):
    """Mean of the features of each region's pixels, "R F"."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, pairs: Overlap, count: int) -> Tensor:
        dtype = torch.promote_types(features.dtype, torch.float32)
        number = np.bincount(pairs.region, weights=pairs.pixels, minlength=count)
        area = torch.from_numpy(number).to(features.device, dtype).clamp_min_(1)[:, None]
        ctx.pairs, ctx.area, ctx.shape, ctx.dtype = pairs, area, features.shape, features.dtype
        if not len(pairs.region):
            return area.new_zeros((count, len(features)))
        values = features.detach()
        rows = _rows(values if values.device.type == "cpu" else values.to(dtype))
        if rows is not None and rows[0].dtype == dtype:
            return _sum_rows(*rows, pairs, features.shape[2], count).div_(area)
        return _sum_tiles(values.flatten(1), dtype, pairs, count).div_(area)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        pairs, gradient = ctx.pairs, gradients[0] / ctx.area
        if not len(pairs.region):
            return gradient.new_zeros(ctx.shape, dtype=ctx.dtype), None, None
        cells = _bag_sum(pairs.region, gradient, pairs.start, pairs.pixels)
        return cells.T.view(ctx.shape).to(ctx.dtype), None, None


def _rows(features: Float[Tensor, "F h w"]) -> tuple[Float[Tensor, "rows F"], int] | None:
    """Features cell by cell, without a copy, and how many rows one line of the grid takes: more than w in a crop.

    None where they lie otherwise on a CPU; on a GPU, which turns them quickly, a copy.
    """
    channels, height, width = features.shape
    if features.device.type != "cpu":
        return features.permute(1, 2, 0).reshape(-1, channels).contiguous(), width
    step, down, across = features.stride()
    if step != 1 or across != channels or down % channels or down // channels < width:
        return None
    pitch = down // channels
    return features.as_strided(((height - 1) * pitch + width, channels), (channels, 1)), pitch


def _sum_rows(
    values: Float[Tensor, "rows F"], pitch: int, pairs: Overlap, width: int, count: int
) -> Float[Tensor, "R F"]:
    """Of features that lie cell by cell: each region's cells are added up where they are."""
    cell = _cells(pairs)
    row = cell if pitch == width else cell + cell // np.int32(width) * np.int32(pitch - width)
    order, start = _grouped(pairs.region, count)
    longest = _LONGEST["cpu" if values.device.type == "cpu" else "cuda"]
    number = np.maximum(-(-np.diff(start) // longest), 1)
    first = np.append(0, number.cumsum())
    owner = np.repeat(np.arange(count), number)
    begin = start[owner] + (np.arange(len(owner)) - first[owner]) * longest
    pieces = np.append(begin, start[-1]).astype(np.int32)
    sums = _bag_sum(row[order], values, pieces, pairs.pixels[order])
    if len(owner) == count:
        return sums
    return _bag_sum(np.arange(len(owner), dtype=np.int32), sums, first.astype(np.int32))


def _sum_tiles(flat: Float[Tensor, "F cells"], dtype: torch.dtype, pairs: Overlap, count: int) -> Float[Tensor, "R F"]:
    """Of others: a tile of cells is turned and widened, and added up while it is in the cache.

    OpenCV turns a tile ten times faster than a strided copy of torch, and a tensor for all cells costs page faults.
    """
    channels, cells = flat.shape
    tiles = -(-cells // _TILE)
    cell = _cells(pairs)
    order, start = _grouped(cell // _TILE * np.int64(count) + pairs.region, tiles * count)
    used = np.flatnonzero(np.diff(start))
    begin, first = start[used], np.searchsorted(used, np.arange(tiles + 1) * count)
    sums = torch.empty((len(used), channels), dtype=dtype)
    room = np.empty((_TILE, channels), _BITS[flat.element_size()])  # one for all tiles: fresh memory is slow
    for n in range(tiles):
        here = slice(first[n], first[n + 1])
        if here.start == here.stop:
            continue
        low, high = n * _TILE, min((n + 1) * _TILE, cells)
        entries = order[begin[here.start] : begin[here.stop] if here.stop < len(used) else None]
        offsets = np.append(begin[here] - begin[here.start], len(entries)).astype(np.int32)
        rows = _turned(flat[:, low:high], room).to(dtype)
        sums[here] = _bag_sum(cell[entries] - np.int32(low), rows, offsets, pairs.pixels[entries])
    again, where = _grouped(used % count, count)
    return _bag_sum(again, sums, where)


def _cells(pairs: Overlap) -> NDArray[np.int32]:
    """The cell of each entry."""
    return np.repeat(np.arange(len(pairs.start) - 1, dtype=np.int32), np.diff(pairs.start))


def _grouped(keys: NDArray, groups: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The places of each key, in order, and where those of key 0..groups begin.

    Turning a sparse matrix over is a counting sort: linear and stable.
    """
    places = len(keys)
    table = csc_matrix((np.arange(places, dtype=np.int32), keys, np.arange(places + 1)), shape=(groups, places)).tocsr()
    return table.data, table.indptr.astype(np.int32, copy=False)


def _turned(part: Float[Tensor, "F tile"], room: NDArray) -> Float[Tensor, "tile F"]:
    """Cells one after the other, whichever way the features lie; in `room` where they have to be turned."""
    if part.stride(0) == 1:
        return part.T
    plain = part if part.stride(1) == 1 else part.contiguous()
    target = room[: part.shape[1]]
    cv2.transpose(plain.view(getattr(torch, room.dtype.name)).numpy(), target)
    return torch.from_numpy(target).view(part.dtype)


def _bag_sum(
    rows: NDArray[np.int32], values: Tensor, start: NDArray[np.int32], weights: NDArray[np.int32] | None = None
) -> Tensor:
    """Σ of the given rows of `values`, each by its weight, from one `start` to the next."""
    index, offsets = (torch.from_numpy(a).to(values.device) for a in (rows, start))
    weighted = weights is not None and bool((weights != 1).any())
    factor = torch.from_numpy(weights).to(values.device, values.dtype) if weighted else None
    return F.embedding_bag(index, values, offsets, mode="sum", per_sample_weights=factor, include_last_offset=True)
