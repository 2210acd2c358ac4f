"""Files: written atomically, listed in natural order, PNGs checked for missing rows."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from ignota.data.drafts import draft_file, draft_folder
from ignota.errors import InputError

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A FIFO that has taken a file's place must not keep the call waiting."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel by colour type."""
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: first row, first column, and the steps between rows and between columns."""
_PIECE = 1 << 20


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes `data` beside `path`, syncs, then renames: a reader sees the old file or the new one, never half of one.

    Raises InputError where the folder cannot be written to or the disk is full; nothing is left behind.
    """
    try:
        with draft_file(path) as stream:
            stream.write(data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"no space left: {one_line(path)} ({len(data)} bytes) does not fit; free space there"
            ) from error
        raise InputError(
            f"cannot write {one_line(path)}: {error.strerror}; name a folder that exists and is yours"
        ) from error


def write_json(path: Path, content: Any, compact: bool = False) -> None:
    """JSON, written atomically; folders are made. compact: without blanks, and without NaN, which raises ValueError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout: dict[str, Any] = {"separators": (",", ":"), "allow_nan": False} if compact else {"indent": 2}
    write_atomically(path, (json.dumps(content, ensure_ascii=False, **layout) + "\n").encode())


def open_regular(path: Path) -> BufferedReader:
    """A file for reading; raises InputError for what is missing, not to be read, or no regular file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is no regular file: a world holds nothing else; copy the world again")
        stream = os.fdopen(os.open(path, os.O_RDONLY | _AT_ONCE), "rb")
    except FileNotFoundError:
        raise InputError(f"{path.parent} has no {path.name}: the world is damaged; copy it again") from None
    except PermissionError:
        raise InputError(f"{path} may not be read: ask its owner for the permission to read it") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the disk and the path") from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise InputError(f"{path} is no regular file: a world holds nothing else; copy the world again")
    return stream


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file of at most `most` bytes; raises InputError."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if most is not None and size > most:
            raise InputError(f"{path} is damaged ({size} bytes, at most {most} belong there): copy the world again")
        try:
            return stream.read()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): check the disk and the path") from None


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """A folder to fill, beside `root`, which takes its place at the end: `root` is complete or absent.

    Raises InputError where `root` is there already and not empty.
    """
    root = root.resolve()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{one_line(root)} is not empty; name a new folder, or empty this one first")
    root.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(root) as draft:
        yield draft
        draft.replace(root)


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which "2" comes before "10"; texts that differ have keys that differ."""
    parts = re.split(r"([0-9]+)", text)
    key = [(0, int(part), part) if part[:1].isdigit() and part.isascii() else (1, 0, part) for part in parts if part]
    return tuple(key)


def one_line(text: object) -> str:
    """For error messages: file names and decoders' complaints may hold line breaks, an error must not."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))[:500]


def as_text(name: str) -> str:
    r"""A file's or a tar member's name as text that can be stored: bytes that are no UTF-8 become `\xff` and the like,
    and a backslash that would be taken for the start of one `\x5c`, so that no two names meet."""
    plain = re.sub(r"\\(?=x[0-9a-f]{2})", r"\\x5c", name)
    return plain.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def as_name(text: str) -> str:
    """The name that `as_text` made a text of, as the file system knows it."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1]).decode("utf-8", "surrogateescape"), text)


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
