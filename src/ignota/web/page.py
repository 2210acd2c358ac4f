"""The page: static files, read once; no request path reaches the file system."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from fastapi import FastAPI, Response

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}


def add_page(app: FastAPI) -> None:
    """A route for each file, / for index.html."""
    folder = resources.files("ignota.web") / "static"
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    for name, body in files.items():
        kind = _TYPES.get(f".{name.rpartition('.')[2]}")
        if kind is not None:
            path = "/" if name == "index.html" else f"/{name}"
            app.add_api_route(path, _static(body, kind), methods=["GET"], include_in_schema=False)


def _static(body: bytes, kind: str) -> Callable[[], Any]:
    async def answer() -> Response:
        return Response(body, media_type=kind)

    return answer
