"""Listens on an address until stopped; accepted requests are finished first."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import signal
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from ignota.heap import keep_freed_memory, resident_memory, return_freed_memory
from ignota.structures import InputError
from ignota.web.app import Shown, create_app
from ignota.web.connections import limited
from ignota.web.limits import Limits, fitted
from ignota.web.middleware import LOOPBACK
from ignota.world.model import OpenWorldModel

_PATIENCE = 60
_WAITING = 1024
"""Connections that the system keeps until they are accepted."""


@dataclass(frozen=True)
class Address:
    """Where to listen. port: 0 takes a free one. token: what clients must send; generated if one is needed."""

    host: str = "127.0.0.1"
    port: int = 8642
    token: str | None = None

    @property
    def needed_token(self) -> str | None:
        """None on a loopback address without a token of its own."""
        if self.token is None and self.host in LOOPBACK:
            return None
        return self.token or secrets.token_urlsafe(24)


def serve(
    world: OpenWorldModel,
    name: str,
    address: Address,
    limits: Limits,
    say: Callable[[str], None],
    browse: bool = False,
    shown: Shown | None = None,
) -> None:
    """Serves a world until SIGINT or SIGTERM; says its address first. Raises InputError for one that is taken.

    shown: a folder of images to be chosen from.
    """
    keep_freed_memory()
    return_freed_memory()  # of the loading
    limits = fitted(limits, resident_memory(), _most_files())
    listener = _listener(address)
    token = address.needed_token
    port = listener.getsockname()[1]
    links = [
        f"http://{f'[{host}]' if ':' in host else host}:{port}/{f'#token={token}' if token else ''}"
        for host in shown_hosts(address.host)
    ]
    kind = limited(limits)
    app = create_app(world, name, limits, token, lambda: sum(one.unread for one in kind.everyone), shown)
    config = uvicorn.Config(
        app, http=kind, ws="none", log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=_PATIENCE, timeout_keep_alive=10, backlog=limits.accepted,
    )  # fmt: skip
    server = uvicorn.Server(config)

    def announce() -> None:
        listener.listen(_WAITING)  # uvicorn's backlog also says how many are accepted before others are closed
        say(" and, on this machine, ".join(links))
        if browse:
            webbrowser.open(links[-1])

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(_announced(server, listener, announce))
    except KeyboardInterrupt:
        pass  # uvicorn raises signals again once all is finished
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()


async def _announced(server: uvicorn.Server, listener: socket.socket, announce: Callable[[], object]) -> None:
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.02)
    if server.started:
        announce()
    await task


def shown_hosts(host: str) -> list[str]:
    """The names under which a server on `host` is reached; where that stands for all, the one in the network first."""
    try:
        if not ipaddress.ip_address(host).is_unspecified:
            return [host]
    except ValueError:  # a name
        return [host]
    return list(dict.fromkeys((network_address() or LOOPBACK[0], LOOPBACK[0])))


def network_address() -> str | None:
    """The IPv4 address that this machine has towards others; None where it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737); only asks for the route
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _most_files() -> int:
    """How many files and connections the system lets this process have open."""
    try:
        import resource
    except ModuleNotFoundError:  # no such limit on Windows
        return 1 << 20
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _listener(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        return listener
    except OSError as error:
        where = f"{address.host}:{address.port}"
        raise InputError(f"cannot listen on {where}: {error.strerror}; name another --host or --port") from None
