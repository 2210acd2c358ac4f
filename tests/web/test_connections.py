"""Connections under a deadline and requests under a budget, around an application that needs no world."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from ignota.web.connections import Connection, limited
from ignota.web.limits import FORM_WEIGHT, Limits
from ignota.web.middleware import AdmissionMiddleware

PATIENCE = 0.6
HEAD = b"GET /x HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"POST /api/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
LONG = 8 << 20

Listening = Callable[..., tuple[int, type[Connection]]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body; /long with many bytes."""
    size = len((await receive())["body"])
    body = bytes(LONG) if scope["path"] == "/long" else str(size).encode()
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def listening() -> Iterator[Listening]:
    """Starts a server with the given limits in a thread; gives its port and its class of connections."""
    started: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(**limits: Any) -> tuple[int, type[Connection]]:
        given = Limits(**{"patience": PATIENCE, **limits})
        kind = limited(given)
        gate = AdmissionMiddleware(echo, given, None, lambda *_: None, lambda: sum(one.unread for one in kind.everyone))
        config = uvicorn.Config(gate, http=kind, ws="none", lifespan="off", log_level="critical", port=0)
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        started.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return listener.getsockname()[1], kind

    yield start
    for server, thread in started:
        server.should_exit = server.force_exit = True
        thread.join()


def opened(port: int, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(data)
    return connection


def asked(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/x", headers={"host": "localhost"})
        return connection.getresponse().status
    finally:
        connection.close()


def end(connection: socket.socket) -> bytes:
    """What still comes until the server closes the connection."""
    found = b""
    try:
        while part := connection.recv(1 << 16):
            found += part
    except ConnectionResetError:
        pass
    connection.close()
    return found


@pytest.mark.parametrize("data", [b"", HEAD, HEAD[:9], HEAD + b"\r\n" + HEAD])
def test_a_head_that_does_not_come_ends_the_connection(listening: Listening, data: bytes) -> None:
    port, kind = listening()
    started = time.monotonic()
    connection = opened(port, data)
    answers = end(connection)
    assert time.monotonic() - started >= 0.9 * PATIENCE
    assert answers.count(b"HTTP/1.1 200") == data.count(b"\r\n\r\n")
    assert kind.everyone == set()


def test_bytes_that_drip_in_do_not_move_the_deadline(listening: Listening) -> None:
    port, _ = listening()
    connection, started = opened(port), time.monotonic()
    with pytest.raises(OSError):
        for letter in HEAD * 100:
            connection.sendall(bytes([letter]))
            time.sleep(PATIENCE / 10)
    assert time.monotonic() - started < 20 * PATIENCE
    connection.close()


def test_a_body_that_stops_is_refused_and_one_that_goes_on_is_not(listening: Listening) -> None:
    port, _ = listening()
    stopped, slow = opened(port, BODY + b"abc"), opened(port, BODY)
    for _ in range(10):
        time.sleep(PATIENCE / 4)
        slow.sendall(b"x")
    assert slow.recv(1000).startswith(b"HTTP/1.1 200")
    assert stopped.recv(1000).startswith(b"HTTP/1.1 408")
    for connection in (stopped, slow):
        connection.close()


def test_the_longest_wait_ends_where_too_many_are_open(listening: Listening) -> None:
    port, kind = listening(connections=8, patience=60)
    waiting = [opened(port, data) for _ in range(10) for data in (HEAD, BODY)]
    assert asked(port) == 200
    assert len(kind.everyone) <= 9
    for connection in waiting[:4]:
        end(connection)
    for connection in waiting:
        connection.close()


def test_slow_bodies_keep_nobody_out(listening: Listening) -> None:
    port, _ = listening(in_flight=2, patience=60)
    waiting = [opened(port, BODY + b"abc") for _ in range(10)]
    assert asked(port) == 200
    waiting[0].sendall(b"defghij")
    assert b"200 OK" in waiting[0].recv(1000)
    for connection in waiting:
        connection.close()


def test_a_client_that_does_not_read_is_cut_off_and_others_are_let_in_again(listening: Listening) -> None:
    limits = {"body": 1 << 20, "form": 1 << 10, "memory": 1 << 20}
    port, kind = listening(**limits)
    deaf = opened(port, b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while not any(one.unread for one in kind.everyone):
        time.sleep(0.01)
    assert asked(port) == 503
    for _ in range(100):
        if asked(port) == 200:
            break
        time.sleep(PATIENCE / 10)
    assert asked(port) == 200
    assert len(end(deaf)) < LONG


def test_a_client_that_reads_slowly_gets_everything(listening: Listening) -> None:
    port, _ = listening(patience=2)
    slow = opened(port, b"GET /long HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    size = 0
    while part := slow.recv(1 << 19):
        size += len(part)
        time.sleep(0.2)  # in all longer than the server's patience
    assert size > LONG
    slow.close()


def test_bodies_share_one_room() -> None:
    limits = Limits(body=1000, form=50, memory=0)

    async def run() -> list[int]:
        gate = AdmissionMiddleware(echo, limits, None, lambda *_: None)
        going = asyncio.Event()

        async def parts(size: int) -> Any:
            yield bytes(size)
            await going.wait()
            yield b"x"

        async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://localhost") as client:
            first = asyncio.ensure_future(client.post("/api/segment", content=parts(900)))
            while gate.held < 900:
                await asyncio.sleep(0.01)
            refused = await client.post("/api/segment", content=bytes(200))
            weighed = await client.post("/api/learn", content=bytes(49))
            large = await client.post("/api/learn", content=bytes(51))
            going.set()
            answers = [(await first).status_code, refused.status_code, weighed.status_code, large.status_code]
            assert gate.held == gate.in_flight == 0
            return [*answers, (await client.post("/api/segment", content=bytes(200))).status_code]

    assert FORM_WEIGHT * 49 > 100
    assert asyncio.run(run()) == [200, 503, 503, 413, 200]
