"""Sorts the unknown regions of many images into groups that look alike. groups.html shows them, the most useful first,
to be named in the browser; names.csv, which the page saves, teaches them all at once.

Regions come from images, folders and videos, or from the regions.parquet of `segment`. A call that was stopped goes on
where it was.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world, command
from ignota.cli.terminal import complain, note, progress, say, show_table
from ignota.errors import InputError

if TYPE_CHECKING:
    from ignota.discovery.document import Discovery
    from ignota.discovery.naming import NamedRows
    from ignota.discovery.region_table import RegionTable
    from ignota.structures import InputError
    from ignota.world.model import OpenWorldModel

PAGE, SHEETS = "groups.html", "sheets"
_MOST_LISTED = 15


def arguments(parser: Parser) -> None:
    parser.add_argument(
        "sources",
        nargs="*",
        type=str,
        help="a regions.parquet, or images, videos and folders; none to accept names only",
    )
    add_world(parser)
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="where the groups go")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of videos, take each N-th frame alone")
    parser.add_argument(
        "--smallest", type=int, default=5, help="fewest regions of a group, near-duplicates not counted"
    )
    parser.add_argument("--show", type=int, default=60, metavar="N", help="how many groups have pictures and a card")
    parser.add_argument("--accept", type=str, metavar="CSV", help="learn the groups that this names.csv names")
    parser.add_argument(
        "--unnamed", type=int, default=0, metavar="N", help="learn the N best unnamed groups: unknown-1 …"
    )
    parser.add_argument("--exemplars", type=int | None, default=None, help="regions to learn each class from")
    parser.add_argument("--force", action="store_true", help="learn classes even if they take much from others")


@command(
    "discover [REGIONS.parquet|IMAGES…] --world WORLD --out DIR [--accept names.csv]",
    "ignota discover drives/*.mp4 --every 10 --world my-world --out found",
    arguments,
)
def run(args: Namespace) -> None:
    for option, least in (("every", 1), ("smallest", 2), ("show", 1), ("unnamed", 0)):
        if args[option] < least:
            raise UsageError(f"--{option} is {least} or more, not {args[option]}")
    if args.exemplars is not None and args.exemplars < 1:
        raise UsageError(f"--exemplars is 1 or more, not {args.exemplars}")
    learns = args.accept is not None or args.unnamed > 0
    if not args.sources and not learns:
        raise UsageError("discover what? name images or a regions.parquet, or --accept names.csv")

    from ignota.cli.gathering import check_extra
    from ignota.data.drafts import sweep
    from ignota.data.files import one_line

    check_extra()
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{one_line(out)} is no folder: name another --out")
    if args.accept is not None and not Path(args.accept).is_file():
        raise InputError(f"{one_line(args.accept)} is no file: save names.csv on the page {PAGE} and name it")
    for folder in (out, out / SHEETS):
        sweep(folder)
    with opened_world(args, writable=learns) as world:
        faults: list[InputError] = []
        if args.sources:
            made, found = _discover(args, world, out, faults)
        else:
            made, found = _kept(world, out)
        if learns:
            faults += _learn(args, world, made, found)
    complain(faults)


def _discover(
    args: Namespace, world: OpenWorldModel, out: Path, faults: list[InputError]
) -> tuple[Discovery, RegionTable]:
    from ignota.cli.gathering import gathered
    from ignota.discovery.clusters import Grouping
    from ignota.discovery.document import FILE, discovery, write_discovery
    from ignota.discovery.gallery import summary
    from ignota.discovery.groups import find_groups
    from ignota.storage.seals import perception_fingerprint

    found, table, unread = gathered(args.sources, world, out, args)
    faults += unread
    how = Grouping(smallest=args.smallest, seed=args.seed or 0)
    groups, alone = find_groups(found, world.known.space, world.taxonomy.names, how)
    made = discovery(groups, alone, found, table, perception_fingerprint(world))
    out.mkdir(parents=True, exist_ok=True)
    faults += _draw(args, world, out, made, found)
    write_discovery(out / FILE, made, found)
    if not args.quiet:
        _list(made)
        say(f"{summary(made, found)} → {out / PAGE}")
    return made, found


def _draw(
    args: Namespace, world: OpenWorldModel, out: Path, made: Discovery, found: RegionTable
) -> tuple[InputError, ...]:
    from ignota.discovery.gallery import cards, draw_tiles, shown_rows, summary, write_sheets
    from ignota.reports.groups_page import GroupsPage, write_groups_page

    shown = made.groups[: args.show]
    rows = shown_rows(shown)
    with progress(len(rows), "pictures", "region", args.quiet) as bar:
        tiles, faults = draw_tiles(found, rows, bar.update)
    write_sheets(out / SHEETS, shown, tiles)
    hidden = len(made.groups) - len(shown)
    note = f"{hidden} further groups stand in groups.json; --show {len(made.groups)} shows them all." if hidden else ""
    page = GroupsPage(
        "What is unknown here",
        summary(made, found),
        cards(shown, tiles),
        made.state,
        tuple(label.name for label in world.snapshot.taught),
        note,
        f"ignota discover --accept names.csv --world {args.world} --out {out}",
    )
    write_groups_page(out / PAGE, page)
    return faults


def _list(made: Discovery) -> None:
    if not made.groups:
        return
    rows = [
        [group.key, str(len(group.rows)), str(group.images), f"{group.compactness:.2f}", f"{group.strangeness:.2f}",
         str(group.exemplars), ", ".join(name for name, _ in group.nearest)]
        for group in made.groups[:_MOST_LISTED]
    ]  # fmt: skip
    columns = ["group", "regions", "images", "compactness", "strangeness", "exemplars", "nearest known classes"]
    more = f", the best {len(rows)} of {len(made.groups)}" if len(rows) < len(made.groups) else ""
    show_table(f"groups{more}", columns, rows)


def _kept(world: OpenWorldModel, out: Path) -> tuple[Discovery, RegionTable]:
    """What an earlier call found."""
    from ignota.cli.gathering import table_of
    from ignota.data.files import one_line
    from ignota.discovery.document import FILE, check_rows, read_discovery
    from ignota.storage.seals import perception_fingerprint

    made = read_discovery(out / FILE)
    if made.world != perception_fingerprint(world):
        raise InputError(f"{one_line(out / FILE)} has groups of another world: name that by --world, or discover again")
    found = table_of(made.table, world)
    check_rows(made, found)
    return made, found


def _learn(args: Namespace, world: OpenWorldModel, made: Discovery, found: RegionTable) -> list[InputError]:
    """Learns every class that can be learnt; returns why others were not."""
    from ignota.discovery.naming import read_names, unnamed

    named = read_names(Path(args.accept), made.groups, made.state, note) if args.accept else ()
    taken = [label.name for label in world.classes.classes]
    chosen = (*named, *unnamed(made.groups, named, args.unnamed, taken))
    faults: list[InputError] = []
    for each in chosen:
        try:
            _learn_one(args, world, found, each)
        except InputError as error:
            faults.append(error)
    return faults


def _learn_one(args: Namespace, world: OpenWorldModel, found: RegionTable, named: NamedRows) -> None:
    from ignota.cli.learn import summary
    from ignota.discovery.naming import learn_named

    started = time.monotonic()
    wanted = args.exemplars or named.exemplars
    with progress(min(wanted, len(named.rows)), named.name, "region", args.quiet) as bar:
        lesson = learn_named(world, found, named, args.exemplars, args.force, bar.update)
    if args.quiet:
        return
    if lesson is None:
        say(f"{named.name!r} was learnt from these regions before: nothing is new")
    else:
        say(summary(lesson, time.monotonic() - started))
