"""Attacks on a real server: half-open requests, garbage, crowds, floods of work; the long ones with larger numbers."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from ignota.storage import bundle
from ignota.structures import InputError
from ignota.web.limits import Limits, fitted

if TYPE_CHECKING:
    from tests.web.conftest import Served

MIB = 1 << 20
HEADS = (
    b"GET /api/classes HTTP/1.1\r\nHost: localhost\r\n",
    b"POST /api/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc",
    b"",
)
long = pytest.mark.long


def asked(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def picture(seed: int, size: tuple[int, int]) -> bytes:
    """A JPEG of patches."""
    small = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize(size[::-1], Image.Resampling.NEAREST).save(stream, "JPEG")
    return stream.getvalue()


@contextlib.contextmanager
def half_open(port: int, number: int, data: bytes) -> Iterator[None]:
    """Connections that begin a request and never end it; those that the server closes are opened again."""
    stop, held = threading.Event(), list[socket.socket]()

    def attack() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
                held[-1].sendall(data)
            if len(held) > number:
                held.pop(0).close()
                time.sleep(0.01)

    attacker = threading.Thread(target=attack)
    attacker.start()
    end = time.monotonic() + 60
    while len(held) < number and time.monotonic() < end:
        time.sleep(0.01)
    try:
        yield
    finally:
        stop.set()
        attacker.join()
        for connection in held:
            connection.close()


def read_times(port: int) -> list[float]:
    """Seconds of some answers, the shortest first."""
    times = []
    for path in ("/api/classes", "/", "/api/health", "/api/history"):
        started = time.monotonic()
        assert asked(port, "GET", path)[0] == 200
        times.append(time.monotonic() - started)
    return sorted(times)


@pytest.mark.parametrize(("number", "files"), [(120, 128), pytest.param(300, 256, marks=long)])
def test_half_open_requests_keep_nobody_out(
    folder: Path, serve: Callable[..., Served], number: int, files: int
) -> None:
    served = serve(folder, files=files)
    data = picture(0, (48, 96))
    assert asked(served.port, "POST", "/api/segment", data)[0] == 200
    calm = read_times(served.port)
    for head in HEADS:
        with half_open(served.port, number, head):
            times = read_times(served.port)
            assert times[1] < max(2, 5 * calm[1]), (times, calm)  # a machine that is busy elsewhere is slow by itself
            assert asked(served.port, "POST", "/api/segment", data)[0] == 200


def garbage(rng: np.random.Generator) -> bytes:
    """A request that is wrong in its very form."""
    sound = b'POST /api/relabel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n{"images":[]}'
    kind = rng.integers(8)
    if kind == 0:
        return rng.bytes(int(rng.integers(1, 400)))
    if kind == 1:
        return sound[: rng.integers(1, len(sound))]
    if kind == 2:
        spoilt = bytearray(sound)
        for place in rng.integers(0, len(sound), 4):
            spoilt[place] = rng.integers(256)
        return bytes(spoilt)
    lines = {
        3: b"Content-Length: -1", 4: b"Content-Length: 5\r\nContent-Length: 6", 5: b"Transfer-Encoding: chunked",
        6: b"X: " + b"y" * 100_000, 7: b"Upgrade: websocket\r\nConnection: Upgrade",
    }  # fmt: skip
    return b"POST /api/learn HTTP/1.1\r\nHost: localhost\r\n" + lines[int(kind)] + b"\r\n\r\n" + rng.bytes(30)


@pytest.mark.parametrize("number", [100, pytest.param(3000, marks=long)])
def test_garbage_is_refused(folder: Path, serve: Callable[..., Served], number: int) -> None:
    served, rng, seen = serve(folder), np.random.default_rng(0), Counter[str]()
    for _ in range(number):
        data = garbage(rng)
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    answer += part
        for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer) or [b"none"]:
            seen[status.decode()] += 1
            assert status < b"500" or status in (b"503", b"none"), (data, answer)
    assert seen["400"] > number / 5, seen
    assert asked(served.port, "GET", "/api/health")[0] == 200


@pytest.mark.parametrize("number", [40, pytest.param(200, marks=long)])
def test_a_crowd_is_answered_or_asked_to_come_back(folder: Path, serve: Callable[..., Served], number: int) -> None:
    served, answers = serve(folder), Counter[int]()
    ready = threading.Barrier(number)

    def come(n: int) -> None:
        ready.wait()
        status, told = asked(served.port, "POST", "/api/segment", picture(n % 7, (48, 96)))
        answers[status] += 1
        if status == 200:
            key = json.loads(told)["image"]
            answers[asked(served.port, "POST", "/api/relabel", json.dumps({"images": [key]}).encode())[0]] += 1

    clients = [threading.Thread(target=come, args=(n,)) for n in range(number)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(answers) <= {200, 503} and answers[200] > 0, answers
    assert asked(served.port, "POST", "/api/segment", picture(0, (48, 96)))[0] == 200


def flood(port: int, seed: int, size: tuple[int, int], until: float, seen: Counter[int]) -> None:
    """Opens images, has them labelled and exported by the dozen, and sends large bodies."""
    rng, keys = np.random.default_rng(seed), list[str]()
    bombs = [b"[" + b"{}," * MIB + b"{}]", b'{"images":[' + b'"a",' * (900 << 10) + b'"a"]}', bytes(30 * MIB)]
    while time.monotonic() < until:
        kind = rng.integers(5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            if kind < 2 or not keys:
                status, told = asked(port, "POST", "/api/segment?maps=true", picture(int(rng.integers(1000)), size))
                keys += [json.loads(told)["image"]] if status == 200 else []
            elif kind == 2:
                path, body = "/api/relabel", json.dumps({"images": (keys * 1000)[:1000]}).encode()
                status, _ = asked(port, "POST", path, body)
            elif kind == 3:
                box = [0, 0, size[1], size[0]]
                examples = [{"image": key, "box": box} for key in rng.choice(keys, 20)]
                form = {"name": f"c{seed}", "examples": examples, "force": True, "relabel": (keys * 1000)[:1000]}
                status, _ = asked(port, "POST", "/api/learn", json.dumps(form).encode())
            else:
                bomb = bombs[rng.integers(len(bombs))]
                status, _ = asked(port, "POST", "/api/segment" if len(bomb) > 20 * MIB else "/api/relabel", bomb)
            seen[status] += 1


@long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [(720, 1280), (2000, 3500)])
def test_memory_stays_within_its_limit(tmp_path: Path, serve: Callable[..., Served], size: tuple[int, int]) -> None:
    """With a shipped world, whose networks and images are of real size."""
    limit = 1536
    bundle.copy("camvid-11", tmp_path / "world")
    served, seen = serve(tmp_path / "world", "--memory", str(limit)), Counter[int]()
    until = time.monotonic() + 60
    clients = [threading.Thread(target=flood, args=(served.port, n, size, until, seen)) for n in range(12)]
    for client in clients:
        client.start()
    most = 0
    while any(client.is_alive() for client in clients):
        status = Path(f"/proc/{served.process.pid}/status").read_text()
        most = max(most, int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) >> 10)
        time.sleep(0.5)
    assert {status for status in seen if status >= 500} <= {503}, seen
    assert seen[200] > 2, seen
    assert most <= 1.25 * limit, (most, seen)


def test_limits_follow_what_the_process_takes() -> None:
    plain = Limits(process=2048 * MIB)
    found = fitted(plain, 900 * MIB, 4096)
    assert found.memory == (2048 - 900 - 480) * MIB and found.pixels == plain.pixels and found.connections == 512
    tight = fitted(Limits(process=1344 * MIB), 840 * MIB, 512)
    assert tight.memory == 84 * MIB and 2_000_000 <= tight.pixels < plain.pixels and tight.connections == 128
    assert fitted(plain, None, 1024).memory == (1024 - 480) * MIB
    assert fitted(Limits(), 900 * MIB, 10**6) == Limits()
    with pytest.raises(InputError, match="128 MiB are too few for this world: it takes 1,380; give more with --memory"):
        fitted(Limits(process=128 * MIB), 900 * MIB, 1024)
