"""Labels, anomaly and unknown regions of images and videos: NAME_labels.png, NAME_anomaly.png, NAME_overlay.jpg,
NAME.json, and a table of all unknown regions, regions.parquet. A stopped call resumes.

With --engine the images may be a whole data lake, and Parquet is written, one row a frame: see docs/scale.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Method, Parser, add_backend, add_world, command
from ignota.cli.terminal import complain, progress, say
from ignota.errors import InputError


def arguments(parser: Parser) -> None:
    parser.add_argument(
        "images", nargs="+", type=str, help="images and videos, folders of them, or patterns such as '*.jpg'"
    )
    add_world(parser)
    add_backend(parser)
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--method", type=Method, default="raml", help="what names taught classes; by default raml")
    parser.add_argument(
        "--engine",
        type=Literal["local", "ray"] | None,
        default=None,
        help="write Parquet, one row a frame, from this process alone or on Ray; also takes URLs, .tar and .parquet",
    )
    parser.add_argument("--workers", type=int | None, default=None, metavar="N", help="on Ray: one world each")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="with --engine: of each worker")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of videos, take each N-th frame alone")
    parser.add_argument("--again", action="store_true", help="do what is finished once more")
    parser.add_argument("--again-errors", action="store_true", help="with --engine: the rows with an error once more")


@command(
    "segment IMAGE… [--world WORLD] --out DIR [--every N] [--again]"
    " [--engine local|ray [--workers N] [--threads N] [--again-errors]]",
    "ignota segment photos/ 'more/*.jpg' drive.mp4 --every 10 --out seen",
    arguments,
)
def run(args: Namespace) -> None:
    if args.every < 1:
        raise UsageError(f"--every is 1 or more, not {args.every}")
    if args.engine is not None and args.method != "raml":
        raise UsageError("--method goes without --engine: Parquet holds what raml, the world's own method, says")
    if args.engine is not None:
        from ignota.cli.lake import run_lake

        run_lake(args)
        return
    if args.workers is not None or args.threads != 1 or args.again_errors:
        raise UsageError("--workers, --threads and --again-errors go with --engine ray or --engine local")

    from ignota.cli.inputs import image_files, picture_count, read_pictures, still_to_do, targets
    from ignota.cli.pictures import write_scene
    from ignota.cli.results import can_write_tables, is_finished, made_by, makers, method_form, write_table
    from ignota.data.drafts import sweep

    out = Path(args.out)
    sweep(out)
    named = targets(image_files(args.images, out), out)
    total = picture_count(named.values(), args.every)
    faults: list[InputError] = []
    names: list[str] = []
    done = 0
    with opened_world(args) as world, progress(total, "segment", "image", args.quiet) as bar:
        world_made = makers(world, method_form(world, args.method))

        def wanted(name: str, path: Path, frame: int | None) -> bool:
            return args.again or not is_finished(out, name, made_by(world_made, path))

        for picture in still_to_do(read_pictures(named, args.every, wanted), names, faults, bar):
            write_scene(out, picture, world, made_by(world_made, picture.path), args.method)
            done += 1
    if names and can_write_tables():
        write_table(out, names)
    if names and not args.quiet:
        before = len(names) - done
        images = f"{len(names)} {'image' if len(names) == 1 else 'images'}"
        say(f"{images}{f', {before} of them finished before' if before else ''} → {out}")
        if not can_write_tables():
            say("without regions.parquet: `pip install 'ignota[parquet]'` brings what it takes")
    complain(faults)
