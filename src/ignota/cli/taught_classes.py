"""Commands about the taught classes of a world: they list, drop, rename, merge and recolour them, and undo changes."""

from __future__ import annotations

import dataclasses
import re

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world, command
from ignota.cli.terminal import say, say_json, say_unless_quiet, show_table, swatch


def _listing(parser: Parser) -> None:
    add_world(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def _one_class(parser: Parser) -> None:
    parser.add_argument("name", type=str, help="a taught class")
    add_world(parser, own=True)


@command("classes [--world WORLD] [--json]", "ignota classes --world my-world --json", _listing)
def classes(args: Namespace) -> None:
    """Lists the classes of a world: known ones, then taught ones with the number of their examples, and the calibration
    of its recipe, if any."""

    with opened_world(args) as world:
        examples = {taught.name: taught.exemplars for taught in world.snapshot.taught}
        labels = world.classes.classes
        calibration = world.known.calibration
    if args.json:
        rows = [
            {
                "id": label.id,
                "name": label.name,
                "colour": list(label.colour),
                "taught": label.name in examples,
                "examples": examples.get(label.name, 0),
            }
            for label in labels
        ]
        say_json({"world": args.world, "classes": rows, "calibration": calibration and calibration.card})
        return
    cells = [
        (
            str(label.id),
            label.name,
            swatch(label.colour),
            f"taught, {examples[label.name]} examples" if label.name in examples else "known",
        )
        for label in labels
    ]
    show_table(f"{args.world}: {len(labels)} classes", ("id", "class", "colour", "from"), cells, numbers=False)
    if calibration is not None:
        say(f"recipe {calibration.recipe} calibrated {calibration.at} on {calibration}")


@command("history [--world WORLD] [--json]", "ignota history --world my-world", _listing)
def history(args: Namespace) -> None:
    """Lists what a world was taught and what was undone, the newest last."""
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


@command("forget NAME --world WORLD", "ignota forget scooter --world my-world", _one_class)
def forget(args: Namespace) -> None:
    """Drops a taught class: later results are bit for bit those from before it was taught."""
    with opened_world(args, writable=True) as world:
        world.forget(args.name)
        left = len(world.classes)
    say_unless_quiet(args, f"forgot {args.name!r}; {left} classes are left")


def _undo_options(parser: Parser) -> None:
    parser.add_argument("--event", type=int | None, default=None, help="its number in `ignota history`; else the last")
    add_world(parser, own=True)


@command("undo [--event N] --world WORLD", "ignota undo --world my-world", _undo_options)
def undo(args: Namespace) -> None:
    """Undoes the last learn, forget, rename, merge, recolour or calibrate, or the one with a number."""
    with opened_world(args, writable=True) as world:
        taken = world.undo(args.event)
    say_unless_quiet(args, f"undid event {taken.key}: {taken.action} {taken.name!r}")


def _rename_options(parser: Parser) -> None:
    _one_class(parser)
    parser.add_argument("new", type=str, help="what it is to be called")


@command("rename NAME NEW --world WORLD", "ignota rename scooter 'electric scooter' --world my-world", _rename_options)
def rename(args: Namespace) -> None:
    """Renames a taught class; its examples and its number stay."""
    with opened_world(args, writable=True) as world:
        world.rename(args.name, args.new)
    say_unless_quiet(args, f"{args.name!r} is {args.new.strip()!r} now")


def _merge_options(parser: Parser) -> None:
    parser.add_argument("name", type=str, help="a taught class, to be dropped")
    parser.add_argument("into", type=str, help="the taught class that gets its examples")
    add_world(parser, own=True)


@command("merge NAME INTO --world WORLD", "ignota merge e-scooter scooter --world my-world", _merge_options)
def merge(args: Namespace) -> None:
    """Moves the examples of one taught class to another, and drops the first."""
    with opened_world(args, writable=True) as world:
        world.merge(args.name, args.into)
    say_unless_quiet(args, f"{args.name!r} is part of {args.into!r} now")


def _recolour_options(parser: Parser) -> None:
    _one_class(parser)
    parser.add_argument("colour", type=str, help="as #rrggbb")


@command("recolour NAME COLOUR --world WORLD", "ignota recolour scooter '#ffb000' --world my-world", _recolour_options)
def recolour(args: Namespace) -> None:
    """Gives a taught class another colour."""
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", args.colour):
        raise UsageError(f"a colour is #rrggbb, such as '#ffb000', not {args.colour!r}")

    red, green, blue = bytes.fromhex(args.colour.lstrip("#"))
    with opened_world(args, writable=True) as world:
        world.recolour(args.name, (red, green, blue))
    say_unless_quiet(args, f"{args.name!r} is #{args.colour.lstrip('#').lower()} now")
