"""Reads the body of a request, with limits on size, pace and memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from ignota.web.limits import FORM_WEIGHT, Limits


class ClientLeft(Exception):
    """The client went away before its request was complete: there is nobody to answer."""


class Body:
    """image: a picture, which is read as it is; any other body is JSON. take: makes room for bytes, or says no.

    weight: bytes of room that were taken, for the caller to give back.
    """

    def __init__(self, limits: Limits, image: bool, take: Callable[[int], bool]) -> None:
        self.limits, self._take = limits, take
        self._most, self._share = (limits.body, 1) if image else (limits.form, FORM_WEIGHT)
        self._data, self.weight = b"", 0

    async def read(self, receive: Receive) -> None:
        """Waits for all of it. Raises HTTPException (408, 413, 503) and ClientLeft."""
        parts, size, end = [], 0, time.monotonic() + self.limits.seconds
        more = True
        while more:
            message = await _within(receive, min(self.limits.patience, end - time.monotonic()))
            part = message.get("body", b"")
            size += len(part)
            if size > self._most:
                raise HTTPException(413, too_large(self._most))
            if not self._take(self._share * len(part)):
                raise HTTPException(503, "too much comes in at once: try again in a second", {"retry-after": "1"})
            self.weight += self._share * len(part)
            parts.append(part)
            more = message.get("more_body", False)
        self._data = parts[0] if len(parts) == 1 else b"".join(parts)

    def again(self, receive: Receive) -> Receive:
        """Gives the body as one message, then what comes after it."""
        message: Message | None = {"type": "http.request", "body": self._data, "more_body": False}
        self._data = b""

        async def given() -> Message:
            nonlocal message
            if message is None:
                return await receive()
            first, message = message, None
            return first

        return given


async def _within(receive: Receive, seconds: float) -> Message:
    try:
        message = await asyncio.wait_for(receive(), max(0.01, seconds))
    except TimeoutError:
        raise HTTPException(408, "the request came in too slowly") from None
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return message


def too_large(most: int) -> str:
    """The line for a body of more bytes."""
    return f"a request has at most {most:,} bytes"
