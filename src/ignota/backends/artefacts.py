"""Artefacts that a backend builds once from the networks of a world: stored in a cache folder, never in the world."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from ignota.data.drafts import draft_folder
from ignota.data.files import write_atomically
from ignota.perception.networks import Networks
from ignota.structures import InputError

_LOG = logging.getLogger(__name__)

VARIABLE = "IGNOTA_CACHE"


def cache_folder() -> Path:
    """$IGNOTA_CACHE, or `ignota` in the user's cache folder."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ignota"


def artefact(networks: Networks, name: str, *versions: object) -> Path:
    """Where `name` for these networks lies, whether it is there already or not.

    The folder's name is a hash of all that the networks are (`Networks.digest`) and of `versions`: nothing that was
    built for other networks, or by another version of a library, is ever taken.
    """
    digest = hashlib.sha256(networks.digest.encode())
    digest.update(repr(versions).encode())
    return cache_folder() / digest.hexdigest()[:32] / name


def built(path: Path, build: Callable[[Path], None]) -> Path:
    """`path`, made by `build` (which writes to the path that it is given) where it is not there yet."""
    if path.exists():
        _LOG.info("%s is taken from the cache", path)
        return path
    _LOG.info("%s is built", path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(path) as folder:
            build(folder / path.name)
            write_atomically(path, (folder / path.name).read_bytes())
    except OSError as error:
        raise InputError(
            f"cannot write to the cache {cache_folder()} ({error.strerror}): name another folder by {VARIABLE}"
        ) from None
    return path
