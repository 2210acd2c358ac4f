"""Lists what a world was taught and what was undone, the newest last."""

from __future__ import annotations

import dataclasses

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "history [--world WORLD] [--json]"
EXAMPLE = "ignota history --world my-world"


def arguments(parser: Parser) -> None:
    add_world(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: Namespace) -> None:
    from ignota.cli.terminal import say_json, show_table
    from ignota.storage import bundle

    store = bundle.open_store(bundle.find_world(args.world), writable=False)
    try:
        events = store.history()
    finally:
        store.close()
    if args.json:
        say_json({"world": args.world, "events": [dataclasses.asdict(event) for event in events]})
        return
    rows = [
        (
            str(event.key),
            event.at,
            event.author,
            event.action,
            event.name if not event.detail else f"{event.name} → {event.detail}",
            str(event.exemplars),
            "" if event.undone_by is None else f"undone by {event.undone_by}",
        )
        for event in events
    ]
    columns = ("event", "at", "by", "what", "class", "examples", "")
    show_table(f"{args.world}: {len(events)} events", columns, rows, numbers=False)
