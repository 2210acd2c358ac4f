"""Files: written whole or not at all, listed in the order people expect."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ignota.structures import InputError


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes `data` beside `path`, syncs, then renames: a reader sees the old file or the new one, never half of one.

    Raises InputError where the folder cannot be written to or the disk is full; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"no space left: {one_line(path)} ({len(data)} bytes) does not fit; free space there"
            ) from error
        raise InputError(
            f"cannot write {one_line(path)}: {error.strerror}; name a folder that exists and is yours"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """A folder to fill, beside `root`, which takes its place at the end: `root` is there whole or not at all.

    Raises InputError where `root` is there already and not empty.
    """
    root = root.resolve()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{one_line(root)} is not empty; name a new folder, or empty this one first")
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = root.parent / f".{root.name}-{secrets.token_hex(4)}"
    try:
        draft.mkdir()
        yield draft
        draft.replace(root)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which "2" comes before "10"; texts that differ have keys that differ."""
    parts = re.split(r"([0-9]+)", text)
    key = [(0, int(part), part) if part[:1].isdigit() and part.isascii() else (1, 0, part) for part in parts if part]
    return tuple(key)


def one_line(text: object) -> str:
    """For error messages: file names and decoders' complaints may hold line breaks, an error must not."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))[:500]


def _remove(path: Path) -> None:
    """Removes a file if it can: what went wrong before is what the caller must hear about."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
