"""The limits of the server."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ignota.structures import InputError

_ONE_IMAGE = 480 << 20
"""Bytes that the networks take while an image passes them."""
_PER_PIXEL = 16
"""Bytes that a pixel of an image takes while it is decoded, labelled and written."""
_SMALLEST = 2_000_000
"""Pixels that are always taken."""
FORM_WEIGHT = 12
"""Bytes that a byte of JSON takes once it is read into Python's objects."""


@dataclass(frozen=True)
class Limits:
    """body: bytes of a request with an image. form: of any other. pixels: of an image. in_flight: requests at once.
    queue: of them, those that wait for the networks. seconds: for reading a request, and again for answering it.
    patience: for the head of a request, and between two parts of its body or of what is read of its answer.
    connections: open at once. images: kept open. memory: bytes for their features and files; what does not fit is
    computed again when it is asked for. process: bytes of the whole process, beyond which features and images are
    dropped as well.
    """

    body: int = 32 << 20
    form: int = 4 << 20
    pixels: int = 40_000_000
    in_flight: int = 64
    queue: int = 12
    seconds: float = 60.0
    patience: float = 10.0
    connections: int = 512
    images: int = 256
    memory: int = 1 << 30
    process: int | None = None

    @property
    def accepted(self) -> int:
        """Connections that are taken in at a time, before those that are too many are closed."""
        return max(8, min(128, self.connections // 2))

    @property
    def requests(self) -> int:
        """Bytes that requests and answers under way may take together."""
        return max(self.body, FORM_WEIGHT * self.form, self.memory // 8)

    @property
    def answer(self) -> int:
        """Bytes of patches in one answer."""
        return min(16 << 20, self.memory // 16)


def fitted(limits: Limits, resident: int | None, files: int) -> Limits:
    """Limits that hold for the whole process, `limits.process` bytes and `files` open files, from what is there.

    resident: bytes that the process takes with its world loaded; None where that is not known. Raises InputError where
    they and one image are more than the process may take.
    """
    connections = max(16, min(limits.connections, files // 4))
    if limits.process is None:
        return replace(limits, connections=connections)
    taken = limits.process // 2 if resident is None else resident
    if taken + _ONE_IMAGE > limits.process:
        needed, given = (taken + _ONE_IMAGE) >> 20, limits.process >> 20
        raise InputError(f"{given} MiB are too few for this world: it takes {needed:,}; give more with --memory")
    room = limits.process - taken - _ONE_IMAGE
    largest = (room + limits.process // 4) // _PER_PIXEL
    return replace(
        limits, connections=connections, memory=max(limits.process // 16, room),
        pixels=min(limits.pixels, max(_SMALLEST, largest)),
    )  # fmt: skip


class Busy(Exception):
    """The server has no room or no time for this now; the client is asked to come back."""


class Missing(Exception):
    """An image that is not open (any more): it has to be sent again."""
