"""Whether a PNG file has all of its rows: Pillow accepts truncated data and leaves the rest black."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel by colour type."""
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: first row, first column, and the steps between rows and between columns."""
_PIECE = 1 << 20


def has_all_rows(stream: IO[bytes]) -> bool:
    """Whether the data of a PNG that Pillow could load unpack to as many bytes as its header asks for."""
    stream.seek(16)
    header = stream.read(13)
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits, interlaced = header[8] * _CHANNELS[header[9]], header[12] == 1
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    expected = sum(
        _bytes_of(-(-(height - row) // down), -(-(width - column) // across), bits)
        for row, column, down, across in passes
    )
    found = 0
    unpacking = zlib.decompressobj()
    for data in _data(stream):
        while data:
            found += len(unpacking.decompress(data, _PIECE))
            data = unpacking.unconsumed_tail
            if found >= expected:
                return True
    return found + len(unpacking.flush()) >= expected


def _bytes_of(rows: int, columns: int, bits: int) -> int:
    """Bytes of a pass, a byte for the filter of each row included."""
    return rows * (1 + (columns * bits + 7) // 8) if rows > 0 and columns > 0 else 0


def _data(stream: IO[bytes]) -> Iterator[bytes]:
    """The content of each IDAT chunk."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"IDAT":
            yield stream.read(length)
        else:
            stream.seek(length, 1)
        stream.seek(4, 1)  # the checksum
