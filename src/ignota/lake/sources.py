"""The sources of a data lake: folders of images, videos, tar files (WebDataset) and Parquet files of images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from ignota.data.files import as_text, natural_key, one_line
from ignota.data.listing import IMAGE_SUFFIXES
from ignota.data.video import VIDEO_SUFFIXES
from ignota.lake.places import address, faults, file_state, holds_images, located, walked
from ignota.structures import InputError

Kind = Literal["image", "video", "webdataset", "parquet"]
_NAME = 80


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
