"""Run lengths: COCO's, along columns, zeros first, packed six bits to a character; and those of Label Studio's brush.

COCO: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014. A count is stored as its difference to the
count two places before (from the fourth on), in groups of five bits, the lowest first; bit 6 says that more follow.
Brush strokes are an RGBA picture, row by row, in a stream of bits, by the scheme of the package rle-pack: number of
values (32 bits), bits of a value less one (5), four lengths of counts in bits less one (4 each); then runs: a bit (1 =
one value repeated, 0 = values one by one), which length the count has (2 bits), the count less one, the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from ignota.structures import InputError

_GROUPS = 7  # of five bits: enough for differences of any two counts of a picture
_FIRST = 48  # the character "0"
_COUNT_BITS = (3, 4, 8, 16)
_CHANNELS = 4
_ON = 255
_LONGEST = 1 << 16


def mask_counts(mask: Bool[np.ndarray, "H W"]) -> NDArray[np.int64]:
    """Lengths of the runs of zeros and ones by turns, down the columns, the first of zeros (perhaps none)."""
    mask = np.asarray(mask, bool)
    columns = np.flatnonzero(mask.any(0)) if mask.size else np.zeros(0, int)
    if not columns.size:
        return np.array([mask.size])
    window = mask[:, columns[0] : columns[-1] + 1].ravel(order="F")  # most things are small: the rest is one run
    flips = np.flatnonzero(np.diff(window, prepend=False, append=False)) + columns[0] * mask.shape[0]
    counts = np.diff(flips, prepend=0, append=mask.size)
    return counts if counts[-1] else counts[:-1]


def counts_mask(counts: Sequence[int] | NDArray[np.int64], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """The mask of uncompressed counts; raises ValueError unless they fill a picture of `size` (H, W) exactly."""
    lengths = np.asarray(counts)
    if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu") or (lengths < 0).any():
        raise ValueError("its counts are no list of whole numbers of 0 or more")
    lengths = lengths.astype(np.int64)
    if lengths.size > size[0] * size[1] + 2 or (lengths > size[0] * size[1]).any():
        raise ValueError(f"its runs do not fit {size[1]}×{size[0]} pixels")
    if int(lengths.sum()) != size[0] * size[1]:
        raise ValueError(f"its runs cover {int(lengths.sum())} pixels, not {size[1]}×{size[0]}")
    values = np.arange(lengths.size) % 2 == 1
    return np.repeat(values, lengths).reshape(size, order="F")


def encode_mask(mask: Bool[np.ndarray, "H W"]) -> str:
    """The compressed counts of a mask, byte for byte as pycocotools writes them."""
    return _pack(mask_counts(mask))


def encode_labels(labels: UInt8[np.ndarray, "H W"]) -> dict[int, dict[str, Any]]:
    """{value: {"size": [H, W], "counts": str}} of every value in a label map, each as `encode_rle` gives it."""
    flat = np.asarray(labels).ravel(order="F")
    bounds = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    values = flat[bounds[:-1]]
    size = [int(side) for side in labels.shape]
    found = {}
    for value in np.unique(values).tolist():
        runs = np.flatnonzero(values == value)
        # start and end of each run; two runs of one value never touch
        edges = np.stack([bounds[runs], bounds[runs + 1]], 1).ravel()
        rest = [flat.size] if edges[-1] != flat.size else []
        ends = np.concatenate([[0], edges, rest]).astype(np.int64)
        found[int(value)] = {"size": size, "counts": _pack(ends[1:] - ends[:-1])}
    return found


def _pack(counts: NDArray[np.int64]) -> str:
    delta = counts.copy()
    delta[3:] -= counts[1:-2]
    groups = np.empty((len(delta), _GROUPS), np.uint8)
    more = np.empty((len(delta), _GROUPS), bool)
    rest = delta
    for i in range(_GROUPS):
        groups[:, i] = rest & 0x1F
        rest = rest >> 5
        more[:, i] = np.where(groups[:, i] & 0x10, rest != -1, rest != 0)
    kept = np.ones_like(more)
    kept[:, 1:] = np.logical_and.accumulate(more, axis=1)[:, :-1]
    letters = groups + np.where(more, 0x20, 0).astype(np.uint8) + _FIRST
    return letters[kept].tobytes().decode("ascii")


def decode_mask(text: str, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """The mask of compressed counts; raises ValueError for letters, lengths and sums that cannot be."""
    return counts_mask(_unpack(text), size)


def encode_rle(mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    """{"size": [H, W], "counts": str}, as COCO's documents hold a mask."""
    return {"size": [int(side) for side in mask.shape], "counts": encode_mask(mask)}


def decode_rle(rle: Mapping[str, Any], max_pixels: int = 200_000_000) -> Bool[np.ndarray, "H W"]:
    """The mask of such a document, with packed counts or a list of them; raises InputError for one that is none."""
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"an RLE is {{'size': [H, W], 'counts': …}} ({type(error).__name__})") from None
    if height < 1 or width < 1 or height * width > max_pixels:
        raise InputError(f"an RLE of {width}×{height} pixels is refused: at least 1×1, at most {max_pixels:,} pixels")
    try:
        size = (height, width)
        mask = decode_mask(counts, size) if isinstance(counts, str) else counts_mask(counts, size)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"an RLE of {width}×{height} pixels is damaged ({error}): encode the mask again") from None
    return np.ascontiguousarray(mask)


def _unpack(text: str) -> NDArray[np.int64]:
    try:
        values = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _FIRST
    except UnicodeEncodeError:
        raise ValueError("its counts hold letters that COCO does not use") from None
    if values.size == 0 or values.min() < 0 or values.max() > 63 or values[-1] & 0x20:
        raise ValueError("its counts are cut short or hold letters that COCO does not use")
    last = (values & 0x20) == 0
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    place = np.arange(values.size) - np.repeat(starts, np.diff(np.append(starts, values.size)))
    if place.max() >= _GROUPS:
        raise ValueError("its counts hold a number that is too large")
    delta = np.add.reduceat((values & 0x1F) << (5 * place), starts)
    negative = (values[last] & 0x10) != 0
    delta -= np.where(negative, np.int64(1) << (5 * (place[last] + 1)), 0)
    counts = delta.copy()
    counts[1::2] = np.cumsum(delta[1::2])
    counts[2::2] = np.cumsum(delta[2::2])
    return counts


def encode_brush(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """The bytes of a mask, each pixel as four equal values 0 or 255; byte for byte as label-studio-converter's."""
    flat = np.asarray(mask, bool).ravel()
    bounds = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    lengths, values = _cut(_CHANNELS * np.diff(bounds), flat[bounds[:-1]])
    kind = np.searchsorted([1 << bits for bits in _COUNT_BITS[:-1]], lengths)
    count_bits = np.array(_COUNT_BITS)[kind]
    codes = ((4 + kind) << (count_bits + 8)) | ((lengths - 1) << 8) | np.where(values, _ON, 0)
    head = [(flat.size * _CHANNELS, 32), (7, 5), *((bits - 1, 4) for bits in _COUNT_BITS)]
    numbers = np.concatenate([[number for number, _ in head], codes])
    widths = np.concatenate([[width for _, width in head], 11 + count_bits])
    bits = _bits(numbers, widths)
    padded = np.concatenate([bits, np.zeros(8 - bits.size % 8, np.uint8)])  # a whole byte where none was needed
    return [int(value) for value in np.packbits(padded)]


def decode_brush(stream: Sequence[int], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Where the fourth channel (opacity) is not zero; raises ValueError unless the stream is a picture of `size`."""
    if any(type(value) is not int or not 0 <= value <= 255 for value in stream):
        raise ValueError("its RLE is no list of bytes")
    bits = _Bits(bytes(stream))
    number, width = bits.take(32), bits.take(5) + 1
    lengths = [bits.take(4) + 1 for _ in range(4)]
    if number != size[0] * size[1] * _CHANNELS:
        raise ValueError(f"its RLE holds {number} values, not {_CHANNELS} for each of {size[1]}×{size[0]} pixels")
    if width > 8:
        raise ValueError(f"its RLE has values of {width} bits, more than 8")
    values = np.zeros(number, np.uint8)
    at = 0
    while at < number:
        repeated = bits.take(1)
        end = at + 1 + bits.take(lengths[bits.take(2)])
        if end > number:
            raise ValueError("a run of its RLE goes past the end of the picture")
        values[at:end] = bits.take(width) if repeated else bits.words(end - at, width)
        at = end
    return (values[_CHANNELS - 1 :: _CHANNELS] != 0).reshape(size)


class _Bits:
    """Reads whole numbers from a stream of bits, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.end = data, 0, 8 * len(data)

    def take(self, width: int) -> int:
        start, self.at = self.at, self.at + width
        if self.at > self.end:
            raise ValueError("its RLE is cut short")
        window = self.data[start >> 3 : (self.at + 7) >> 3]
        return (int.from_bytes(window, "big") >> (-self.at % 8)) & ((1 << width) - 1)

    def words(self, count: int, width: int) -> NDArray[np.uint8]:
        start, self.at = self.at, self.at + count * width
        if self.at > self.end:
            raise ValueError("its RLE is cut short")
        window = np.frombuffer(self.data[start >> 3 : (self.at + 7) >> 3], np.uint8)
        bits = np.unpackbits(window)[start & 7 :][: count * width].reshape(count, width)
        return (bits @ (1 << np.arange(width)[::-1])).astype(np.uint8)


def _cut(lengths: NDArray[np.int64], values: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Runs longer than a count can tell, cut into whole ones and a rest."""
    parts = -(-lengths // _LONGEST)
    last = np.cumsum(parts) - 1
    cut = np.full(int(parts.sum()), _LONGEST, np.int64)
    cut[last] = lengths - (parts - 1) * _LONGEST
    return cut, np.repeat(values, parts)


def _bits(numbers: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    ends = np.cumsum(widths)
    place = np.repeat(ends, widths) - 1 - np.arange(int(ends[-1]))
    return ((np.repeat(numbers, widths) >> place) & 1).astype(np.uint8)
