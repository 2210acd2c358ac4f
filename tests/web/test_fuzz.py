"""Malformed requests and images (by the thousand in test-long): all are refused in a line, and nothing stays behind."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from ignota.web.app import create_app
from ignota.web.limits import Limits
from ignota.world.model import OpenWorldModel

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**40, 2**63, 0.1, "", " ", "a", "ü" * 70, "\x00", "../../etc/passwd", "/etc/passwd",
    "\ud800",
    "a\nb", "x" * 5000, "'; DROP TABLE class; --", "<script>", [], [[]], {}, {"a": 1}, [None] * 30, float("nan"),
    float("-inf"), [1e9, 2, 3], "NaN", "moose", "road", "#12345g", "0" * 24, "1e5",
)  # fmt: skip
Call = tuple[str, str, bytes, dict[str, Any]]


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    """One small picture in every format."""
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    return [saved(Image.fromarray(pixels), form) for form in FORMATS]


def saved(image: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size which it does not have."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


def bad_image(rng: np.random.Generator, seeds: list[bytes]) -> bytes:
    kind = rng.integers(6)
    data = bytearray(seeds[rng.integers(len(seeds))])
    if kind == 0:
        return rng.bytes(int(rng.integers(0, 400)))
    if kind == 1:
        return bytes(data[: rng.integers(len(data))])
    if kind == 2:
        width, height = (int(side) for side in rng.choice([0, 1, 2, 20_000, 70_000, 2**31 - 1], 2))
        return bomb(width, height)
    if kind == 3:
        return bytes(data[:20]) + rng.bytes(40)
    head = 60 if kind == 4 else len(data)  # flips in the header are the nastier ones
    for place in rng.integers(0, min(head, len(data)), int(rng.integers(1, 9))):
        data[place] = rng.integers(256)
    return bytes(data)


def forms(key: str) -> dict[str, dict[str, Any]]:
    """One sound request for every path that takes JSON."""
    mark = {"image": key, "click": {"x": 5, "y": 5, "extent": "region", "threshold": 0.5}}
    by = {"author": "me", "relabel": [key]}
    return {
        "/api/select": {"image": key, "rle": {"size": [12, 16], "counts": [20, 30, 142]}},
        "/api/relabel": {"images": [key]},
        "/api/export": {"images": [key], "threshold": 0.5},
        "/api/learn": {"name": "moose", "examples": [mark, {"image": key, "box": [1, 1, 9, 9]}], "force": True, **by},
        "/api/groups/learn": {"group": "1", "name": "moose", "without": [1], "force": True, **by},
        "/api/forget": {"name": "moose", **by},
        "/api/rename": {"name": "moose", "new": "elk", **by},
        "/api/merge": {"name": "moose", "into": "elk", **by},
        "/api/recolour": {"name": "moose", "colour": "#102030", **by},
        "/api/undo": {"event": 1, **by},
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[name], (*path, name))


def spoilt(rng: np.random.Generator, form: dict[str, Any]) -> Any:
    """The form with some of its values replaced, dropped or added to."""
    made: Any = json.loads(json.dumps(form))
    for _ in range(int(rng.integers(1, 4))):
        listed = [path for path in places(made) if path]
        if not listed:
            return made
        *way, last = listed[rng.integers(len(listed))]
        holder = made
        for name in way:
            holder = holder[name]
        act = rng.integers(5)
        if act == 0:
            del holder[last]
        elif act == 1 and isinstance(holder, dict):
            holder["extra"] = 1
        else:
            holder[last] = copy.deepcopy(STRANGE[rng.integers(len(STRANGE))])
    return made


def calls(number: int, rng: np.random.Generator, seeds: list[bytes], key: str) -> Iterator[Call]:
    sound, plain = forms(key), {"content-type": "application/json"}
    names = list(sound)
    ways = (
        "/api/images/../../x/layers",
        "/api/images/%2e%2e%2fx/layers",
        "/../world/world.json",
        "/%00",
        "//",
        "/static/x",
    )
    for n in range(number):
        match n % 10:
            case 0 | 1 | 2:
                name = str(STRANGE[rng.integers(13)]).encode("utf-8", "replace").hex()
                yield "POST", f"/api/segment?name=%{name[:2]}{name}&maps={rng.integers(3)}", bad_image(rng, seeds), {}
            case 3 | 4 | 5 | 6 | 7:
                path = names[rng.integers(len(names))]
                yield "POST", path, json.dumps(spoilt(rng, sound[path])).encode("utf-8", "surrogatepass"), plain
            case 8:
                body = json.dumps(sound[names[rng.integers(len(names))]]).encode()
                broken = [
                    body[: rng.integers(len(body))],
                    rng.bytes(50),
                    b"[" * 5000,
                    b'{"a":' * 3000,
                    b"\xff\xfe" + body,
                ]
                yield "POST", names[rng.integers(len(names))], broken[rng.integers(5)], plain
            case _:
                method = ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")[rng.integers(6)]
                path = (*names, *ways)[rng.integers(len(names) + len(ways))]
                odd = (
                    {"content-length": "9" * 30},
                    {"content-type": b"\xff;;="},
                    {"origin": "http://[::"},
                    {"host": "evil"},
                )
                yield method, path, b"", odd[rng.integers(4)] if rng.random() < 0.5 else {}


@pytest.mark.parametrize("number", [300, pytest.param(3000, marks=pytest.mark.long)])
def test_malformed_requests(
    world: OpenWorldModel, seeds: list[bytes], tmp_path: Path, listed: Callable[[Path], dict[str, bytes]], number: int
) -> None:
    before = listed(tmp_path)
    seen: Counter[int] = Counter()

    async def run() -> None:
        app = create_app(world, "tiny", Limits(pixels=1_000_000, images=50))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            key = (await client.post("/api/segment", content=seeds[0])).json()["image"]
            rng = np.random.default_rng(0)
            for method, path, body, headers in calls(number, rng, seeds, key):
                answer = await client.request(method, path, content=body, headers=headers)
                seen[answer.status_code] += 1
                told = answer.text if answer.headers.get("content-type") == "application/json" else ""
                assert answer.status_code < 500 or answer.status_code == 503, (method, path, body[:300], answer.text)
                assert "Traceback" not in told and ".py" not in told and str(tmp_path) not in told, (path, body, told)
                if answer.status_code >= 400 and method != "HEAD":
                    assert 0 < len(answer.json()["error"]) <= 500

    asyncio.run(run())
    assert sum(seen.values()) == number
    for status, least in {200: 0.01, 400: 0.09, 404: 0.005, 405: 0.01, 422: 0.09}.items():
        assert seen[status] > least * number, seen
    after = listed(tmp_path)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} <= {
        "world/exemplars.sqlite"
    }
    assert all(0 < len(label.name) <= 64 for label in world.store.classes())


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], dict[str, bytes]]:
    """Files below a folder, which is also the working directory and the place of temporary files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def read(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.endswith(("-wal", "-shm"))
        }

    return read
