"""How much a server takes on before it says no."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """body: bytes of a request. pixels: of an image. in_flight: requests at once. queue: of them, those that wait for
    the networks. seconds: for reading a request, and again for answering it. images: kept open. memory: bytes for their
    features and files; what does not fit is computed again when it is asked for.
    """

    body: int = 32 << 20
    pixels: int = 40_000_000
    in_flight: int = 64
    queue: int = 12
    seconds: float = 60.0
    images: int = 256
    memory: int = 1 << 30


class Busy(Exception):
    """The server has no room or no time for this now; the client is asked to come back."""


class Missing(Exception):
    """An image that is not open (any more): it has to be sent again."""
