"""The sources of a data lake: folders and fsspec URLs of images, videos, tar files (WebDataset) and Parquet files."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ignota.data.files import as_text, natural_key, one_line, write_atomically
from ignota.data.listing import IMAGE_SUFFIXES
from ignota.data.video import VIDEO_SUFFIXES
from ignota.structures import InputError

_STATE = ("size", "mtime", "LastModified", "last_modified", "updated", "modificationTime", "ETag", "etag", "md5Hash")
_USUAL = ("image", "bytes", "jpg", "jpeg", "png", "img", "data")
Kind = Literal["image", "video", "webdataset", "parquet"]
_NAME = 80


def located(word: str) -> tuple[Any, str]:
    """The file system of a path or URL, and the path there; raises InputError for one that cannot be reached."""
    try:
        fs, path = fsspec.core.url_to_fs(word)
    except ImportError as error:
        raise InputError(f"{one_line(word)} cannot be read: {one_line(error)}") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{one_line(word)} is no place that can be read: {one_line(error)[:200]}") from None
    return fs, path


def address(fs: Any, path: str) -> str:
    """A path here as it is, elsewhere the URL: what `located` takes back."""
    return path if is_local(fs) else str(fs.unstrip_protocol(path))


def is_local(fs: Any) -> bool:
    return isinstance(fs, LocalFileSystem)


def file_state(info: dict[str, Any]) -> str:
    """What tells a file that was changed from the one it was: its size, time and tag, as far as they are known."""
    return " ".join(f"{key}={info[key]}" for key in _STATE if info.get(key) is not None)


def faults() -> tuple[type[Exception], ...]:
    """What file systems raise on what cannot be read; those of clouds have classes of their own."""
    found: list[type[Exception]] = [OSError, ValueError, ImportError]
    for module, name in (("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError")):
        try:
            found.append(getattr(importlib.import_module(module), name))
        except ImportError:
            continue
    return tuple(found)


def walked(fs: Any, root: str, without: str) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Each folder below `root` with the files directly in it, {path: info}.

    Hidden ones, `without` and links to folders, which may lead back here, are left out.
    """
    for folder, inner, files in fs.walk(root, detail=True, on_error="raise"):
        here = folder.rstrip("/")
        for name, info in list(inner.items()):
            if name.startswith(".") or info.get("islink") or f"{here}/{name}" == without:
                del inner[name]  # so it is not walked either
        if here != without:
            yield folder, {f"{here}/{name}": info for name, info in files.items() if not name.startswith(".")}


def opened(uri: str) -> IO[bytes]:
    """A file for reading; raises InputError."""
    fs, path = located(uri)
    try:
        return fs.open(path, "rb")
    except faults() as error:
        raise InputError(f"cannot read {one_line(uri)}: {one_line(error)[:200]}") from None


def write_whole(uri: str, data: bytes) -> None:
    """Writes a file atomically: here by renaming, on object stores in one call.

    Raises InputError where it cannot be written.
    """
    fs, path = located(uri)
    if is_local(fs):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), data)
        return
    try:
        fs.pipe_file(path, data)
    except faults() as error:
        raise InputError(f"cannot write {one_line(uri)}: {one_line(error)[:200]}") from None


def holds_images(uri: str) -> bool:
    """Whether a Parquet file has a column of images; one that cannot be read counts, so that its fault is reported."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with opened(uri) as stream:
            image_column(pq.read_schema(stream), uri)
    except InputError:
        return False
    except (pa.ArrowException, *faults()):
        return True
    return True


def image_column(schema: Any, uri: str) -> str:
    """The column that holds encoded images: binary, or a struct with binary `bytes`; raises InputError for none, and
    for several of which none has a usual name."""
    import pyarrow as pa

    def binary(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def holds(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(field.name == "bytes" and binary(field.type) for field in kind)
        return binary(kind)

    found = [field.name for field in schema if holds(field.type)]
    usual = [name for name in _USUAL if name in found]
    if usual or len(found) == 1:
        return (usual or found)[0]
    what = f"{len(found)} binary columns, none of them called 'image'" if found else "no column of images"
    raise InputError(f"{one_line(uri)} has {what}: put the encoded images into a column 'image'")


@dataclass(frozen=True)
class LakeFile:
    """uri: a path, or the URL where it is not on this machine, by `as_text`. state: size and time of change, as its
    place tells."""

    uri: str
    state: str


@dataclass(frozen=True)
class Source:
    """What frames come from together, and whose rows lie together: the images of one folder, or one other file.

    uri: of the folder or file. files: in natural order.
    """

    uri: str
    kind: Kind
    files: tuple[LakeFile, ...]

    @property
    def name(self) -> str:
        """The name of its partition: the last part of its address, and eight digits that tell it from others."""
        last = re.sub(r"[^\w.+-]+", "_", PurePosixPath(self.uri).name)[-_NAME:] or "root"
        return f"{last}-{hashlib.sha256(self.uri.encode()).hexdigest()[:8]}"


def kind_of(path: str) -> Kind | None:
    """By the suffix, as files are classified without opening them; None for what is not read."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes[-2:]]
    last = suffixes[-1] if suffixes else ""
    if last in IMAGE_SUFFIXES:
        return "image"
    if last in VIDEO_SUFFIXES:
        return "video"
    if last == ".tar" or suffixes == [".tar", ".gz"] or last == ".tgz":
        return "webdataset"
    return "parquet" if last in (".parquet", ".pq") else None


def sources(words: Sequence[str], out: str) -> list[Source]:
    """The sources that paths, folders (with all folders inside), patterns and URLs name; each file once.

    out: where results go, which is never read. Raises InputError for a word that names nothing.
    """
    found: dict[tuple[str, Kind], dict[str, str]] = {}
    out_fs, out_path = located(out)
    for word in words:
        fs, path = located(word)
        without = out_path.rstrip("/") if type(fs) is type(out_fs) else ""
        try:
            files = _files(fs, path, word, without)
            count = 0
            for name, info in files:
                kind = kind_of(name)
                if kind is None or (kind == "parquet" and name != path and not holds_images(address(fs, name))):
                    continue
                of = str(PurePosixPath(name).parent) if kind == "image" else name
                files_there = found.setdefault((as_text(address(fs, of)), kind), {})
                files_there[as_text(address(fs, name))] = file_state(info)
                count += 1
        except faults() as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"cannot read {one_line(word)}: {one_line(error)[:200]}") from None
        if not count:
            raise InputError(
                f"nothing to read in {one_line(word)}: name images, videos, .tar or .parquet files of images, folders"
                " or patterns of them"
            )
    return [
        Source(uri, kind, tuple(LakeFile(name, files[name]) for name in sorted(files, key=natural_key)))
        for (uri, kind), files in sorted(found.items(), key=lambda item: natural_key(item[0][0]))
    ]


def _files(fs: Any, path: str, word: str, without: str) -> Iterable[tuple[str, dict[str, Any]]]:
    if fs.isdir(path):
        return _inside(fs, path, without)
    if not fs.exists(path) and any(letter in word for letter in "*?["):
        matched = fs.glob(path, detail=True)
        return ((name, info) for name, info in matched.items() if info.get("type") == "file")
    if not fs.exists(path):
        raise InputError(f"cannot read {one_line(word)}: no such file; check path or pattern")
    if kind_of(path) is None:
        raise InputError(f"{one_line(word)} is no image, video, .tar or .parquet by its name")
    return [(path, fs.info(path))]


def _inside(fs: Any, path: str, without: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, files in walked(fs, path, without):
        yield from files.items()
