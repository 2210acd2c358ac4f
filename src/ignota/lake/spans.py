"""The remaining work of a source, in spans for one worker at a time, and the name of each frame."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from ignota.lake.sources import Kind, LakeFile, Source

AT_ONCE = 8
"""Frames that travel and are done together: few, so that workers end together; many, as each message costs its time."""
_FORM = "lake 1"
"""Raised whenever a row comes to hold something else for the same frame."""
_DIGITS = 32


@dataclass(frozen=True)
class Finished:
    """What is there of a source, by file: `frames` their numbers, None being the image itself; `totals` how many
    frames a file has, where its end was seen."""

    frames: dict[str, set[int | None]]
    totals: dict[str, int]


@dataclass(frozen=True)
class Span:
    """Some files to be read one after another. done: numbers of their frames that are there already; every: of videos,
    take each N-th frame; world: fingerprint of the one that will read them."""

    source: str
    kind: Kind
    files: tuple[LakeFile, ...]
    world: str
    every: int = 1
    done: tuple[int, ...] = ()

    def to_json(self) -> str:
        """Text, as it travels between machines."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        files = tuple(LakeFile(**file) for file in fields.pop("files"))
        return cls(**{**fields, "files": files, "done": tuple(fields["done"])})

    def frame_id(self, file: LakeFile, frame: int | None) -> str:
        """The name of a frame's row."""
        return frame_id(self.world, file, frame)


def frame_id(world: str, file: LakeFile, frame: int | None) -> str:
    """32 hexadecimal digits of all that decides what a row holds: the world, the file as it is, the frame."""
    text = json.dumps([_FORM, world, file.uri, file.state, frame])
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def spans(source: Source, finished: Finished, world: str, every: int) -> Iterator[Span]:
    """What is left to do of a source; nothing where all is there."""
    every = every if source.kind == "video" else 1
    if source.kind == "image":
        left = [file for file in source.files if None not in finished.frames.get(file.uri, ())]
        for start in range(0, len(left), AT_ONCE):
            yield Span(source.name, source.kind, tuple(left[start : start + AT_ONCE]), world)
        return
    for file in source.files:
        done = {number for number in finished.frames.get(file.uri, ()) if number is not None}
        total = finished.totals.get(file.uri)
        if total is None or not done.issuperset(range(0, total, every)):
            yield Span(source.name, source.kind, (file,), world, every, tuple(sorted(done)))
