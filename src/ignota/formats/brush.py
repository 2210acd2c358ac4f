"""Label Studio's brush strokes: RLE of an RGBA picture, row by row, in a stream of bits; not COCO's.

The scheme is that of the package rle-pack: number of values (32 bits), bits of a value less one (5), four lengths of
counts in bits less one (4 each); then runs: a bit (1 = one value repeated, 0 = values one by one), which length the
count has (2 bits), the count less one, the value or values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

_COUNT_BITS = (3, 4, 8, 16)
_CHANNELS = 4
_ON = 255
_LONGEST = 1 << 16


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
