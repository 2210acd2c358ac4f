"""Shows which backend is fastest on this machine, and how many labels it changes against float32.

Without --images, synthetic streets of 1280×720 are segmented: fit for times; for labels name images of your own.
"""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world

USAGE = "benchmark --world WORLD [--images IMAGES] [--backends a,b,…] [--calibrate IMAGES] [--rounds N] [--json FILE]"
EXAMPLE = "ignota benchmark --world camvid-11 --images 'photos/*.jpg' --calibrate data/camvid/train"


def arguments(parser: Parser) -> None:
    add_world(parser)
    parser.add_argument("--images", type=str | None, default=None, help="images, a folder of them or a pattern")
    parser.add_argument("--count", type=int, default=4, metavar="N", help="how many of them, evenly spaced")
    parser.add_argument("--backends", type=str | None, default=None, metavar="a,b", help="by default all")
    parser.add_argument(
        "--calibrate", type=str | None, default=None, metavar="IMAGES", help="training images for onnx-int8, once"
    )
    parser.add_argument(
        "--tile", type=int | None, default=None, metavar="N", help="side of tiles; 0 none; by default for large images"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each image is segmented")
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")


def run(args: Namespace) -> None:
    if args.rounds < 1 or args.count < 1:
        raise UsageError(f"--rounds and --count are 1 or more, not {args.rounds} and {args.count}")

    from ignota.backends.choosing import BACKENDS
    from ignota.cli.measuring import finish, words_of
    from ignota.cli.opening import calibration_images, opened_world
    from ignota.cli.terminal import note, progress, say, show_table
    from ignota.evaluation.backend_comparison import compare_backends, fastest, street_images
    from ignota.evaluation.choices import chosen

    names = chosen(words_of(args.backends), "backend", list(BACKENDS))
    calibration = calibration_images(args.calibrate)
    images = street_images(args.count) if args.images is None else _chosen(args.images, args.count)

    def tell(seconds: float) -> None:
        note(f"about {seconds / 60:.1f} minutes are left, and more where a backend builds a graph first")

    with finish(args.json) as write, opened_world(args) as world:
        steps = (len(names) + 1) * len(images) * (args.rounds + 1)
        with progress(steps, "benchmark", "image", args.quiet) as bar:
            found = compare_backends(
                world,
                names,
                images,
                args.rounds,
                calibration,
                args.tile,
                bar.update,
                (lambda _: None) if args.quiet else tell,
            )
        write(found)
    size = found["size"]
    title = (
        f"{found['images']} images at {size[1]}×{size[0]} as the segmenter sees them, medians of {args.rounds} rounds"
    )
    columns = ["backend", "networks, ms", "segment, ms", "× as fast as torch", "labels equal, %", "unknown equal, %"]
    show_table(title, columns, [_row(name, row) for name, row in found["backends"].items()])
    best = fastest(found)
    if best is not None:
        say(f"fastest with 99.8 % of the labels of float32: --backend {best}")


def _chosen(pattern: str, count: int) -> list[Any]:
    from ignota.cli.inputs import image_files
    from ignota.data.images import read_image
    from ignota.functional.spacing import evenly_spaced

    files = image_files([pattern])
    return [read_image(files[i]) for i in evenly_spaced(len(files), count)]


def _row(name: str, row: dict[str, Any]) -> list[str]:
    if "fault" in row:
        return [name, row["fault"], "", "", "", ""]
    times = (f"{1000 * row['networks']:.0f}", f"{1000 * row['segment']:.0f}", f"{row['speedup']:.2f}")
    return [name, *times, f"{100 * row['labels']:.2f}", f"{100 * row['unknown']:.2f}"]
