"""Frames of a source, read one at a time; an unreadable one comes with its fault."""

from __future__ import annotations

import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from ignota.data.files import as_name, as_text, one_line
from ignota.data.images import decode_image, read_image
from ignota.data.listing import IMAGE_SUFFIXES
from ignota.data.video import read_frames
from ignota.lake.sources import LakeFile, faults, image_column, is_local, located, opened
from ignota.lake.spans import Span
from ignota.structures import InputError

LARGEST = 500_000_000
"""Bytes of an image file, whatever it unpacks to."""
_AT_ONCE = 4


@dataclass(frozen=True)
class Frame:
    """One frame of a file.

    id: as `frame_id` gives it. frame: its number in a video, tar or Parquet file, None for an image file. member: its
    name in a tar file. frames: in the last one of a file alone, how many that has. error: why there is no image.
    """

    source: str
    id: str
    image: str
    frame: int | None
    member: str | None = None
    frames: int | None = None
    pixels: UInt8[np.ndarray, "H W 3"] | None = None
    error: str | None = None


@dataclass(frozen=True)
class _Read:
    """What a file gave: an image, why there is none, or neither where it was not asked for."""

    index: int
    member: str | None = None
    pixels: UInt8[np.ndarray, "H W 3"] | None = None
    error: str | None = None


def read_span(span: Span) -> Iterator[Frame]:
    """The frames of a span that are not there yet, in order; two images at most are in memory at a time.

    No fault of a file is raised: it is the last of its frames, and says what is wrong.
    """
    for file in span.files:
        if span.kind == "image":
            yield _image(span, file)
        else:
            yield from _frames(span, file)


def _image(span: Span, file: LakeFile) -> Frame:
    frame = Frame(span.source, span.frame_id(file, None), file.uri, None)
    try:
        return replace(frame, pixels=_decoded(as_name(file.uri)))
    except InputError as error:
        return replace(frame, error=one_line(error))


def _decoded(uri: str) -> UInt8[np.ndarray, "H W 3"]:
    fs, path = located(uri)
    if is_local(fs):
        return read_image(path)
    with opened(uri) as stream:
        try:
            data = stream.read(LARGEST + 1)
        except faults() as error:
            raise InputError(f"cannot read {one_line(uri)}: {one_line(error)[:200]}") from None
    if len(data) > LARGEST:
        raise InputError(f"{one_line(uri)} has more than {LARGEST:,} bytes; save it smaller")
    return decode_image(data, uri)


def _frames(span: Span, file: LakeFile) -> Iterator[Frame]:
    """One frame is held back, as the last one tells how many there were."""
    held: Frame | None = None
    for index, frame in _numbered(span, file):
        if frame is not None:
            if held is not None:
                yield held
            held = frame
        total = index + 1
    if held is not None:
        yield replace(held, frames=total)


def _numbered(span: Span, file: LakeFile) -> Iterator[tuple[int, Frame | None]]:
    """Every frame's number, with those frames that are wanted; where reading fails, the fault is one frame more."""
    done, index = set(span.done), -1
    try:
        for read in _READERS[span.kind](as_name(file.uri), span.every, done):
            index = read.index
            wanted = index % span.every == 0 and index not in done
            yield index, _as_frame(span, file, read) if wanted else None
        if index < 0:
            raise InputError(f"{one_line(file.uri)} holds no image")
    except InputError as error:
        fault = _Read(index + 1, error=one_line(error))
        yield fault.index, None if fault.index in done else _as_frame(span, file, fault)


def _as_frame(span: Span, file: LakeFile, read: _Read) -> Frame:
    id_ = span.frame_id(file, read.index)
    return Frame(span.source, id_, file.uri, read.index, read.member, None, read.pixels, read.error)


# --- one reader for each kind of file: every frame in order, those in `done` and between the N-th without its image


def _video(uri: str, every: int, done: set[int]) -> Iterator[_Read]:
    with _on_disk(uri) as path:
        for frame in read_frames(path, 1, lambda index: index % every == 0 and index not in done):
            yield _Read(frame.index, pixels=frame.image)


@contextmanager
def _on_disk(uri: str) -> Iterator[Path]:
    """A file of this machine: itself, or a copy that goes when it was read."""
    fs, path = located(uri)
    if is_local(fs):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="ignota-video-") as folder:
        copy = Path(folder) / PurePosixPath(path).name
        try:
            fs.get_file(path, str(copy))
        except faults() as error:
            raise InputError(f"cannot read {one_line(uri)}: {one_line(error)[:200]}") from None
        yield copy


def _webdataset(uri: str, every: int, done: set[int]) -> Iterator[_Read]:
    index = -1
    broken: tuple[type[Exception], ...] = (tarfile.TarError, EOFError, zlib.error, *faults())
    try:
        with opened(uri) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isfile() or name.suffix.lower() not in IMAGE_SUFFIXES or name.name.startswith("."):
                    continue
                index += 1
                yield _Read(index, as_text(member.name)) if index in done else _member(archive, member, index, uri)
    except broken as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(uri)} is damaged or cut short ({one_line(error)[:200]}); copy it again") from None


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, index: int, uri: str) -> _Read:
    where = f"{uri}: {member.name}"
    if member.size > LARGEST:
        return _Read(
            index, as_text(member.name), error=f"{one_line(where)} has more than {LARGEST:,} bytes; save it smaller"
        )
    stream = archive.extractfile(member)
    assert stream is not None  # it is a plain file
    return _from_bytes(index, stream.read(), where, as_text(member.name))


def _parquet(uri: str, every: int, done: set[int]) -> Iterator[_Read]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = -1
    try:
        with opened(uri) as stream, pq.ParquetFile(stream) as table:
            column = image_column(table.schema_arrow, uri)
            for batch in table.iter_batches(_AT_ONCE, columns=[column]):
                for value in batch.column(0).to_pylist():
                    index += 1
                    data = value.get("bytes") if isinstance(value, dict) else value
                    if index in done:
                        yield _Read(index)
                    else:
                        yield _from_bytes(index, data or b"", f"{uri}: row {index}")
    except (pa.ArrowException, *faults()) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(uri)} cannot be read ({one_line(error)[:200]}): write it again") from None


def _from_bytes(index: int, data: bytes, where: str, member: str | None = None) -> _Read:
    try:
        return _Read(index, member, decode_image(data, where))
    except InputError as error:
        return _Read(index, member, error=one_line(error))


_READERS = {"video": _video, "webdataset": _webdataset, "parquet": _parquet}
