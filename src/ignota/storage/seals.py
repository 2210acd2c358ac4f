"""Seals of a bundle: only regular files are opened, each must match world.json; fingerprints of worlds in memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ignota.data.files import open_regular, read_regular
from ignota.models.objectness import OWN_FILE
from ignota.perception.networks import feed
from ignota.storage.document import (
    FORM,
    SCHEMA,
    WEIGHTS,
    WORLD,
    WorldDocument,
    from_schema_1,
    refuse,
    sealed_files,
    validated,
)
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

LONGEST = 64 * 2**20
"""Bytes of the longest world.json."""


def file_seal(path: Path) -> dict[str, Any]:
    """SHA-256 and length of a file, as world.json holds them."""
    with open_regular(path) as stream:
        try:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): check the disk and the path") from None
        return {"sha256": digest, "bytes": os.fstat(stream.fileno()).st_size}


def canonical(raw: Mapping[str, Any]) -> bytes:
    """The bytes that the digest of a document is made of: sorted keys, no blanks, without the digest itself."""
    kept = {name: value for name, value in raw.items() if name != "digest"}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sealed(raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A document of schema 2 with the seals of its files in `folder`, and its own digest."""
    objects = raw.get("objectness")
    own = isinstance(objects, Mapping) and objects.get("source") == OWN_FILE
    names = sealed_files(raw["segmenter"], raw["branches"], own)
    document = {**raw, "files": {name: file_seal(folder / name) for name in names}}
    return document | {"digest": hashlib.sha256(canonical(document)).hexdigest()}


def document_text(raw: Mapping[str, Any]) -> str:
    """world.json as it is written."""
    return json.dumps(raw, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; NaN and infinities become null. Raises InputError for anything else."""
    try:
        raw = json.loads(read_regular(path, LONGEST), object_pairs_hook=_once, parse_constant=lambda _: None)
        if not isinstance(raw, dict):
            raise ValueError("not an object")
        canonical(raw)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        refuse(path, f"no JSON: {type(error).__name__}")
    return raw


def read_document(path: Path) -> WorldDocument:
    """world.json of a bundle, of schema 2 by its digest, of schema 1 as one of schema 2; raises InputError."""
    file = path / WORLD
    raw = read_json(file)
    schema = raw.get("schema")
    if schema == 1 and type(schema) is int:
        return validated(sealed(_with_objects(from_schema_1(raw, file), file), path), file)
    check_schema(raw, path)
    if raw.get("digest") != hashlib.sha256(canonical(raw)).hexdigest():
        raise InputError(
            f"{file} was changed after it was sealed: `ignota seal {path}` checks an edited document and seals it, "
            "or copy the world again"
        )
    return validated(raw, file)


def check_schema(raw: Mapping[str, Any], path: Path) -> None:
    """Raises InputError for a document of another schema than today's."""
    schema = raw.get("schema")
    if type(schema) is not int:
        refuse(path / WORLD, "schema: not a whole number")
    if schema != SCHEMA:
        raise InputError(
            f"{path} has schema version {schema}, this program reads 1 and {SCHEMA}: "
            "update ignota or train the world again"
        )


def check_files(path: Path, document: WorldDocument, unread: Iterable[str]) -> None:
    """Raises InputError for one of the files `unread` that is not what the document seals."""
    for name in unread:
        with open_regular(path / name) as stream:
            _check_size(path / name, os.fstat(stream.fileno()).st_size, document)
        _check_digest(path / name, file_seal(path / name)["sha256"], document)


def read_sealed(path: Path, document: WorldDocument, name: str = WEIGHTS) -> bytes:
    """The bytes of a file that the document seals; raises InputError for others."""
    data = read_regular(path / name, document.files[name].bytes)
    _check_size(path / name, len(data), document)
    _check_digest(path / name, hashlib.sha256(data).hexdigest(), document)
    return data


def _check_size(file: Path, size: int, document: WorldDocument) -> None:
    if size != document.files[file.name].bytes:
        raise InputError(
            f"{file} is damaged ({size} bytes, {document.files[file.name].bytes} were sealed): copy the world again"
        )


def _check_digest(file: Path, digest: str, document: WorldDocument) -> None:
    if digest != document.files[file.name].sha256:
        raise InputError(
            f"{file} is damaged (its SHA-256 is not the one that {WORLD} seals): copy the world again, or, if you "
            f"changed it yourself, `ignota seal {file.parent}`"
        )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _with_objects(raw: dict[str, Any], file: Path) -> dict[str, Any]:
    if not isinstance(raw["segmenter"].get("file"), str | None):
        refuse(file, "segmenter.file: not the name of a file")
    return raw


def world_fingerprint(world: OpenWorldModel) -> str:
    """16 hex digits of all that decides how a world reads an image; a class learnt and forgotten leaves no trace."""
    digest = hashlib.sha256(str(FORM).encode())
    networks = world.networks
    feed(digest, (networks.digest, networks.size))
    feed(digest, {name: space.taps for name, space in world.known.spaces.items()})
    feed(digest, (dict(world.known.tensors()), world.known.recipe, world.classes, world.novel))
    _feed_camera(digest, world)
    digest.update(b"" if networks.backend == "torch" else networks.backend.encode())
    return digest.hexdigest()[:16]


def perception_fingerprint(world: OpenWorldModel) -> str:
    """16 hex digits of what a world is before it is taught, at whatever size and by whatever backend it is run: regions
    and embeddings of two worlds can be compared where they have the same."""
    digest = hashlib.sha256(b"perception")
    feed(digest, world.networks.digest)
    feed(digest, {name: space.taps for name, space in world.known.spaces.items()})
    feed(digest, (dict(world.known.tensors()), world.known.recipe, world.taxonomy))
    _feed_camera(digest, world)
    return digest.hexdigest()[:16]


def _feed_camera(digest: Any, world: OpenWorldModel) -> None:
    """What a calibration adds to the coreset; its threshold stands in the recipe."""
    if world.known.calibration is not None:
        feed(digest, (world.known.calibration.vectors, world.known.calibration.owner))
