"""Connections under a deadline: slow heads, idle clients and clients that do not read are cut off."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from ignota.web.limits import Limits


class Connection(H11Protocol):
    """uvicorn's connection, which by itself waits without end for the rest of a request.

    A connection without a complete head within `limits.patience` seconds, or whose client reads nothing of an answer
    for as long, is cut off. Beyond `limits.connections` the one that has waited longest is, so that a new client always
    gets in. everyone: the open ones of this server. waiting_since: when it began to wait for a request; None while one
    is answered.
    """

    limits: ClassVar[Limits]
    everyone: ClassVar[set[Connection]]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.waiting_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread, self._progress = 0, True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waiting_since = self.loop.time()
        self._timer = self.loop.call_later(self.limits.patience, self._check)
        self.everyone.add(self)
        if len(self.everyone) > self.limits.connections:
            self._cut_longest_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.everyone.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answering and not self.cycle.more_body:
            self.waiting_since = None

    def on_response_complete(self) -> None:
        self.waiting_since = self.loop.time()
        super().on_response_complete()  # it may begin with the next request at once
        if self._answering and not self.cycle.more_body:
            self.waiting_since = None

    def resume_writing(self) -> None:
        self._progress = True
        super().resume_writing()

    @property
    def unread(self) -> int:
        """Bytes of answers that the client has not read yet."""
        return self.transport.get_write_buffer_size()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _cut_longest_waiting(self) -> None:
        open_ones = [one for one in self.everyone if not one.transport.is_closing()]
        waiting = [(one.waiting_since, id(one), one) for one in open_ones if one.waiting_since is not None]
        if waiting:
            min(waiting)[2].transport.abort()

    def _check(self) -> None:
        """Every `patience` seconds, and at the deadline of a head: cuts off what does not move."""
        waited = 0.0 if self.waiting_since is None or self._answering else self.loop.time() - self.waiting_since
        stalled = self.unread > 0 and self.unread >= self._unread > 0 and not self._progress
        idle = self.unread == 0 and waited >= self.limits.patience
        if stalled or idle:
            self.transport.abort()
            return
        self._unread, self._progress = self.unread, False
        rest = self.limits.patience - waited
        self._timer = self.loop.call_later(rest if rest > 0 else self.limits.patience, self._check)


def limited(limits: Limits) -> type[Connection]:
    """The connections of one server."""
    return type("LimitedConnection", (Connection,), {"limits": limits, "everyone": set()})
