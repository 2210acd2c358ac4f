"""Drafts: hidden files and folders that are renamed once complete; those of dead processes are removed.

A draft of NAME is called .NAME.xxxxxxxx.part and lies beside it. The process that writes it holds a lock on it, which
the system releases when that process ends, even by SIGKILL: a draft that can be locked belongs to no living process.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import IO

from ignota.errors import InputError

try:
    import fcntl
except ModuleNotFoundError:
    raise InputError("this system has no POSIX file locks: on Windows, run ignota in WSL 2 or Docker") from None

_DRAFT = re.compile(r"\..*\.[0-9a-f]{8}\.part", re.DOTALL)


@contextmanager
def draft_file(path: Path) -> Iterator[IO[bytes]]:
    """A draft open for writing. After the block it is synced and renamed to `path`; where that fails, it is removed."""
    draft, stream = _new_file(path)
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            draft.replace(path)
    except BaseException:
        _remove(draft)
        raise


@contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` that the block fills and renames, or takes files from; what is left of it is removed.

    Drafts of `path` that dead processes left are removed first.
    """
    sweep(path.parent, path.name)
    draft, descriptor = _new_folder(path)
    try:
        yield draft
    finally:
        _remove(draft)
        os.close(descriptor)


def sweep(folder: Path, name: str | None = None) -> None:
    """Removes the drafts in `folder` that no living process writes; name: of this file or folder alone."""
    if not folder.is_dir():
        return
    for draft in folder.glob(".*.part" if name is None else f".{escape(name)}.????????.part"):
        if _DRAFT.fullmatch(draft.name):
            _sweep(draft)


def is_ours(descriptor: int) -> bool:
    """Locks a file for this process alone; false where another one holds it, or the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _new_file(path: Path) -> tuple[Path, IO[bytes]]:
    while True:
        draft = _name(path)
        stream = draft.open("xb")
        if _lock(stream.fileno()):
            return draft, stream
        stream.close()


def _new_folder(path: Path) -> tuple[Path, int]:
    while True:
        draft = _name(path)
        draft.mkdir()
        try:
            descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # swept before it was opened
            continue
        if _lock(descriptor):
            return draft, descriptor
        os.close(descriptor)


def _name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _lock(descriptor: int) -> bool:
    """Locks a new draft; false where another process swept it before it was locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:  # a file system without locks: nothing is swept there either
        return True
    return os.fstat(descriptor).st_nlink > 0


def _sweep(draft: Path) -> None:
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # gone meanwhile, or not ours
        return
    try:
        if is_ours(descriptor):
            _remove(draft)
    finally:
        os.close(descriptor)


def _remove(draft: Path) -> None:
    """Removes a draft if it can: what went wrong before is what the caller must hear about."""
    try:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
    except OSError:
        return
