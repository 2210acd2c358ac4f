"""Rewrites documents in place: seals one after an edit by hand, or converts schema 1 to schema 2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignota.storage.bundle import find_world, open_store, opened, refuse_shipped, write_document
from ignota.storage.document import SCHEMA, WORLD, WorldDocument, validated
from ignota.storage.seals import check_schema, read_document, read_json, sealed
from ignota.structures import InputError


def seal(name: str | Path, allow_code: bool = False) -> tuple[str, ...]:
    """Checks the edited document of a world and seals it and its files again; returns what had changed.

    The whole world is opened first, so that nothing is sealed that cannot be read. Raises InputError.
    """
    path = find_world(name)
    refuse_shipped(path)
    raw = read_json(path / WORLD)
    if raw.get("schema") == 1:
        raise InputError(f"{path} is of schema 1, which has no seals: `ignota upgrade {path}` makes it one of {SCHEMA}")
    check_schema(raw, path)
    for field, kind in (("segmenter", dict), ("branches", dict)):
        if not isinstance(raw.setdefault(field, {}), kind):
            raise InputError(f"{path / WORLD}: {field} is no object: correct the field")
    document = validated(sealed(raw, path), path / WORLD)
    _check_opens(path, document, allow_code)
    write_document(document.to_json(), path)
    return _changed(raw, document)


def upgrade(name: str | Path, allow_code: bool = False) -> bool:
    """Brings a world to today's schema in its place, with all that it was taught; returns whether there was need.

    Store and document each change in one atomic step, and every state between them is a world that can be read.
    Raises InputError.
    """
    path = find_world(name)
    refuse_shipped(path)
    older = read_json(path / WORLD).get("schema") != SCHEMA
    document = read_document(path)
    _check_opens(path, document, allow_code)
    open_store(path, writable=True).close()
    if older:
        write_document(document.to_json(), path)
    return older


def _check_opens(path: Path, document: WorldDocument, allow_code: bool) -> None:
    opened(path, document, open_store(path, writable=False), allow_code=allow_code).store.close()


def _changed(raw: Mapping[str, Any], document: WorldDocument) -> tuple[str, ...]:
    """The files whose seals differ from what the document said before, itself among them."""
    before = raw.get("files")
    before = before if isinstance(before, dict) else {}
    files = [name for name, entry in document.files.items() if before.get(name) != entry.model_dump()]
    return (*files, *((WORLD,) if raw.get("digest") != document.digest else ()))
