"""Selects the images to label next: those whose unknown regions represent the most of what is unknown and not yet
taught. Their labels teach a world more than those of random images.

Regions come from images, folders and videos, or from the regions.parquet of `segment`.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from ignota.cli.opening import check_target, opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world, command
from ignota.cli.terminal import complain, say, show_table
from ignota.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ignota.discovery.region_table import RegionTable
    from ignota.discovery.suggestion import Suggestion
    from ignota.world.model import OpenWorldModel

PICTURES = "suggested"
_COLUMNS = ("rank", "image", "frame", "gain", "regions", "unknown_share", "groups")


def arguments(parser: Parser) -> None:
    parser.add_argument("sources", nargs="+", type=str, help="a regions.parquet, or images, videos and folders of them")
    add_world(parser)
    parser.add_argument("--count", "-n", type=int, default=20, metavar="N", help="how many images")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of videos, take each N-th frame alone")
    parser.add_argument("--json", type=str, metavar="FILE", help="the same for programs")
    parser.add_argument("--csv", type=str, metavar="FILE", help="the same for spreadsheets")
    parser.add_argument(
        "--out", type=str, metavar="DIR", help="pictures of them; regions are kept there, for the next call"
    )


@command(
    "suggest REGIONS.parquet|IMAGES… [--world WORLD] [-n 20] [--json FILE] [--csv FILE] [--out DIR]",
    "ignota suggest drives/*.mp4 --every 10 --world my-world --count 20 --csv next.csv",
    arguments,
)
def run(args: Namespace) -> None:
    for option, value in (("-n", args.count), ("--every", args.every)):
        if value < 1:
            raise UsageError(f"{option} is 1 or more, not {value}")

    from ignota.cli.gathering import check_extra, gathered
    from ignota.data.drafts import sweep
    from ignota.data.files import one_line

    check_extra()
    for target in (args.json, args.csv):
        if target is not None:
            check_target(Path(target))
    if args.out is not None and Path(args.out).exists() and not Path(args.out).is_dir():
        raise InputError(f"{one_line(args.out)} is no folder: name another --out")
    if args.out is not None:
        sweep(Path(args.out) / PICTURES)
    kept = tempfile.TemporaryDirectory() if args.out is None else nullcontext(args.out)
    with opened_world(args) as world, kept as out:
        found, _, faults = gathered(args.sources, world, Path(out), args)
        chosen = _suggested(args, world, found)
        if args.out is not None:
            _draw(Path(out), found, chosen)
        _write(args, found, chosen)
    if not args.quiet:
        _list(found, chosen)
    complain(faults)


def _suggested(args: Namespace, world: OpenWorldModel, found: RegionTable) -> tuple[Suggestion, ...]:
    from ignota.discovery.clusters import Grouping
    from ignota.discovery.groups import class_likeness, taught_likeness
    from ignota.discovery.suggestion import Weighing, suggest_images

    space = world.known.space
    known = class_likeness(found.vectors, space, len(world.taxonomy)).max(1, initial=-1)
    taught = taught_likeness(found.vectors, space, world.novel.taught)
    return suggest_images(found, known, taught, args.count, Grouping(seed=args.seed or 0), Weighing())


def _rows(found: RegionTable, chosen: Sequence[Suggestion]) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank,
            "image": each.place[0],
            "frame": each.place[1] if each.place[1] >= 0 else None,
            "gain": round(each.gain, 6),
            "regions": len(each.rows),
            "unknown_share": round(float(found.shares[list(each.rows)].sum()), 6),
            "groups": len(each.groups),
        }
        for rank, each in enumerate(chosen, start=1)
    ]


def _write(args: Namespace, found: RegionTable, chosen: Sequence[Suggestion]) -> None:
    from ignota.data.files import write_atomically, write_json
    from ignota.reports.tables import Table, to_csv

    rows = _rows(found, chosen)
    if args.json is not None:
        write_json(Path(args.json), {"images": rows})
    if args.csv is not None:
        table = Table("", _COLUMNS, tuple(tuple(row[column] for column in _COLUMNS) for row in rows))
        write_atomically(Path(args.csv), to_csv(table).encode())


def _list(found: RegionTable, chosen: Sequence[Suggestion]) -> None:
    if not chosen:
        say("nothing is unknown in these images: there is none to suggest")
        return
    total, cells = 0.0, []
    for rank, each in enumerate(chosen, start=1):
        total += each.gain
        share = 100 * float(found.shares[list(each.rows)].sum())
        figures = (f"{100 * each.gain:.1f}", f"{100 * total:.1f}", str(len(each.groups)), f"{share:.1f}")
        cells.append([f"{rank}  {each.name}", *figures])
    columns = ["image", "gain, %", "covered so far, %", "groups in it", "unknown, % of it"]
    show_table(f"label these {len(cells)} first", columns, cells)


def _draw(out: Path, found: RegionTable, chosen: Sequence[Suggestion]) -> None:
    """Each image with its unknown regions outlined, in order of choice."""
    from ignota.data.images import write_jpeg
    from ignota.discovery.gallery import outlined

    folder = out / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9][0-9]_*.jpg"):
        old.unlink()
    for rank, each in enumerate(chosen, start=1):
        write_jpeg(folder / f"{rank:03d}_{each.name}.jpg", outlined(found, each.rows))
