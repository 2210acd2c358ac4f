"""Serves a world on a web page and over HTTP: drop images, click what is unknown, name it.

Only this machine can connect unless --host says otherwise; then clients need a token, which is part of the printed
link.
"""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_backend, add_world, command
from ignota.cli.terminal import say


def arguments(parser: Parser) -> None:
    add_world(parser)
    add_backend(parser)
    parser.add_argument("--host", type=str, default="127.0.0.1", help="the address to listen on; 0.0.0.0 takes all")
    parser.add_argument("--port", type=int, default=8642, help="the port; 0 takes a free one")
    parser.add_argument("--token", type=str | None, default=None, help="what clients must send; generated off loopback")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--body", type=int, default=32, help="largest request in MiB")
    parser.add_argument("--pixels", type=int, default=40, help="largest image in millions of pixels")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest time for a request")
    parser.add_argument("--memory", type=int, default=2048, help="MiB for the whole server")


@command("serve --world WORLD", "ignota serve --world my-world --open", arguments)
def run(args: Namespace) -> None:
    for option in ("body", "pixels", "seconds", "memory"):
        if args[option] <= 0:
            raise UsageError(f"--{option} is more than 0, not {args[option]}")
    if not 0 <= args.port <= 65535:
        raise UsageError(f"--port is 0 to 65535, not {args.port}")
    try:
        import fastapi
        import uvicorn
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed: `pip install 'ignota[serve]'` brings it") from None
    del fastapi, uvicorn

    import sys

    from ignota.storage import bundle
    from ignota.web.limits import Limits
    from ignota.web.serving import Address, serve

    path = bundle.find_world(args.world)
    own = path not in bundle.shipped_worlds().values()
    limits = Limits(
        body=args.body << 20, pixels=args.pixels * 1_000_000, seconds=args.seconds, process=args.memory << 20
    )

    def announce(link: str) -> None:
        note = "" if own else f"; it is read-only, `ignota init MY-WORLD --from {path.name}` makes one to teach"
        say(f"{path.name} is at {link}{note}\nCtrl-C stops it")
        sys.stdout.flush()

    with opened_world(args, writable=own) as world:
        serve(world, path.name, Address(args.host, args.port, args.token), limits, announce, args.open)
