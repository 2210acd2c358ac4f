"""One line of JSON for every refusal or failure, without internal details."""

from __future__ import annotations

import errno
import json
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ignota.structures import InputError
from ignota.web import views
from ignota.web.limits import Busy, Missing
from ignota.world.previewing import TeachingRefused


def handle_errors(app: FastAPI) -> None:
    """Gives every error its status and its line."""

    @app.exception_handler(InputError)
    async def wrong(_: Request, error: InputError) -> Response:
        if isinstance(error, TeachingRefused):
            return _problem(409, str(error), lesson=views.lesson(error.preview))
        return _problem(400, str(error))

    @app.exception_handler(OSError)
    async def disk(_: Request, error: OSError) -> Response:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _problem(503, "the server's disk is full: nothing was changed")
        raise error

    @app.exception_handler(Missing)
    async def missing(_: Request, error: Missing) -> Response:
        return _problem(404, f"no open image {error}: send it to /api/segment again")

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> Response:
        return _problem(503, str(error), {"retry-after": "1"})

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:8])
        return _problem(422, f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, __: Exception) -> Response:
        return _problem(500, "the server failed; its log tells where")


def _problem(status: int, text: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    body = json.dumps({"error": " ".join(text.split())[:500], **more}).encode()
    return Response(body, status, headers, "application/json")
