from __future__ import annotations

import errno
import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ignota.data.files import has_all_rows, natural_key, one_line, write_atomically, write_json
from ignota.data.images import decode_image, decode_label
from ignota.structures import InputError

KINDS = {  # colour type, bits a sample, samples a pixel
    "grey, 1 bit": (0, 1, 1), "grey, 4 bits": (0, 4, 1), "grey": (0, 8, 1), "grey, 16 bits": (0, 16, 1),
    "colour": (2, 8, 3), "colour, 16 bits": (2, 16, 3), "with transparency": (6, 8, 4),
}  # fmt: skip
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def test_write_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_json_makes_its_folder_and_holds_no_nan_where_it_is_compact(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": "ä", "b": [1, 2]})
    assert json.loads(path.read_text("utf-8")) == {"a": "ä", "b": [1, 2]}
    write_json(path, {"a": "ä", "b": [1, 2]}, compact=True)
    assert path.read_bytes() == '{"a":"ä","b":[1,2]}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, [float("nan")], compact=True)


def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="no space left") as caught:
        write_atomically(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_interruption_leaves_no_part(tmp_path, monkeypatch):
    def stop(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.bin", b"new")
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_the_callers_mistake(tmp_path):
    with pytest.raises(InputError, match="name a folder that exists"):
        write_atomically(tmp_path / "no" / "a.bin", b"new")


def test_natural_order():
    names = ["10.png", "2.png", "a10", "a9", "1.png", "02.png"]
    assert sorted(names, key=natural_key) == ["1.png", "02.png", "2.png", "10.png", "a9", "a10"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=6))
def test_natural_order_does_not_depend_on_the_input_order(names):
    keys = {name: natural_key(name) for name in names}
    assert len(set(keys.values())) == len(set(names))
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_errors_stay_on_one_line():
    assert one_line(Path("a\nb\r\x1b[31m")) == "a\ufffdb\ufffd\ufffd[31m"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, kind: str, interlaced: bool, left_out: int = 0) -> bytes:
    """A black PNG whose packed data end `left_out` bytes early, with everything else as it must be."""
    colour, bits, samples = KINDS[kind]
    grids = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(len(range(r, height, down)), len(range(c, width, across))) for r, c, down, across in grids]
    raw = b"".join(rows * (b"\0" * (1 + -(-columns * bits * samples // 8))) for rows, columns in sizes if columns)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    data = zlib.compress(raw[: len(raw) - left_out])
    half = len(data) // 2
    parts = chunk(b"IDAT", data[:half]) + chunk(b"IDAT", data[half:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tEXt", b"a\0b") + parts + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(13, 9), (1, 1), (5, 3), (2, 40)])
def test_one_byte_less_is_told(kind: str, interlaced: bool, size: tuple[int, int]) -> None:
    assert has_all_rows(io.BytesIO(png(*size, kind, interlaced)))
    assert not has_all_rows(io.BytesIO(png(*size, kind, interlaced, left_out=1)))
    assert decode_image(png(*size, kind, interlaced)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("decode", [decode_image, decode_label])
def test_a_picture_of_one_row_of_many_is_refused(decode: object) -> None:
    whole = png(40, 6300, "grey", False)
    assert decode(whole).shape[:2] == (6300, 40)  # type: ignore[operator]
    with pytest.raises(InputError, match="upload is damaged or cut short"):
        decode(png(40, 6300, "grey", False, left_out=6299 * 41))  # type: ignore[operator]


def test_what_pillow_writes_is_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 20, 3)).astype(np.uint8)
    pixels[20:] = 0
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"):
        stream = io.BytesIO()
        Image.fromarray(pixels).convert("L" if mode == "I;16" else mode).convert(mode).save(stream, "PNG")
        assert has_all_rows(stream)
        assert decode_image(stream.getvalue()).shape == (30, 20, 3)
