"""Admission of requests, their size and their number: the first ASGI layer."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ignota.web.body import Body, ClientLeft, too_large
from ignota.web.limits import Limits

Refusal = tuple[int, str, Mapping[str, str]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

Watch = Callable[[Scope, int, float], None]
_IMAGES = "/api/segment"
_HEALTH = "/api/health"


class AdmissionMiddleware:
    """Refuses clients without a token, pages of another origin, bodies too large or too slow, and requests when full.

    token: what a client must send; None if only this machine can connect. The host name must then be a local one, so no
    page from elsewhere reaches the server through a name that resolves to it. watch: called for every answer. unread:
    bytes of answers that clients have not read. A request counts as in flight once its body has arrived, so slow
    clients do not block others.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, token: str | None, watch: Watch, unread: Callable[[], int] = int
    ) -> None:
        self.app, self.limits, self.token, self.watch, self.unread = app, limits, token, watch, unread
        self.in_flight, self.held = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no web sockets here
        started, answered = time.monotonic(), [500]

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered[0] = message["status"]
                given = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *given]
            await send(message)

        body = Body(self.limits, scope["path"] == _IMAGES, self._take)
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await body.read(receive)
                refusal = self._full(scope)
            if refusal is None:
                await self._pass(scope, body.again(receive), told)
            else:
                await _answer(told, *refusal)
        except HTTPException as error:  # of the body; the application answers its own
            await _answer(told, error.status_code, error.detail, error.headers or {})
        except ClientLeft:
            answered[0] = 499
        finally:
            self.held -= body.weight
            self.watch(scope, answered[0], time.monotonic() - started)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_flight -= 1

    def _take(self, size: int) -> bool:
        """Makes room for bytes of a request; tells whether there was any."""
        if self.held + size > self.limits.requests:
            return False
        self.held += size
        return True

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self.token is None and _name(host) not in LOOPBACK:
            return 421, "this server answers to localhost alone", {}
        origin = headers.get("origin")
        if origin is not None and urlsplit_safe(origin) != host:
            return 403, "a page from elsewhere may not use this server", {}
        if scope["path"].startswith("/api/") and self.token is not None:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode("latin-1"), self.token.encode()):
                return 401, "a token is wanted: send `Authorization: Bearer TOKEN`", {"www-authenticate": "Bearer"}
        length = headers.get("content-length", "0")
        most = self.limits.body if scope["path"] == _IMAGES else self.limits.form
        if length.isdigit() and int(length[:20]) > most:
            return 413, too_large(most), {"connection": "close"}
        return None

    def _full(self, scope: Scope) -> Refusal | None:
        if scope["path"] == _HEALTH:
            return None
        if self.in_flight >= self.limits.in_flight or self.held + self.unread() > self.limits.requests:
            return 503, "too many requests at once: try again in a second", {"retry-after": "1"}
        return None


def urlsplit_safe(origin: str) -> str:
    """Host and port of an Origin header; empty for one that is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host


async def _answer(send: Callable[[Any], Any], status: int, text: str, headers: Mapping[str, str]) -> None:
    body = json.dumps({"error": text}).encode()
    listed = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    pairs = [(name.encode(), value.encode()) for name, value in listed.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
