"""Commands about what runs the networks of a world: other programs by an export, and backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace

from ignota.cli.opening import calibration_images, check_target, opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world, command
from ignota.cli.terminal import note, progress, say, say_unless_quiet, show_table
from ignota.errors import InputError


def _export_options(parser: Parser) -> None:
    add_world(parser)
    parser.add_argument(
        "--format", type=Literal["onnx", "exported-program"], default="onnx", help="what is written; .pt2 is the latter"
    )
    parser.add_argument("--out", type=str, required=True, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--score", type=str | None, default=None, metavar="NAME", help="what anomaly and unknown labels go by: knn"
    )
    parser.add_argument("--features", action="store_true", help="give features and embeddings of every cell as well")
    parser.add_argument(
        "--branch",
        type=str | None,
        default=None,
        metavar="SYSTEM",
        help="in place of the closed set that branch: paper, released or dmlnet",
    )


@command(
    "export --world WORLD --format onnx|exported-program --out FILE [--score NAME|--branch SYSTEM] [--features]",
    "ignota export --world camvid-11 --format onnx --out camvid-11.onnx",
    _export_options,
)
def export(args: Namespace) -> None:
    """Writes a world as one file for other programs: networks, scores of each pixel, thresholds and class names.

    Regions are no operation of a graph: the world's own score `raml`, which is averaged over them, and taught classes
    stay with ignota. docs/export.md shows how to run the file with onnxruntime alone.
    """
    from ignota.backends.branch_exporting import export_branch
    from ignota.backends.exporting import KNN, export_world
    from ignota.models.onnx_export import onnx_library

    if args.score is not None and args.branch is not None:
        raise UsageError("--score is of the closed set, and a branch gives all its scores: leave one of the two out")
    path = Path(args.out)
    check_target(path)
    suffix = {"onnx": ".onnx", "exported-program": ".pt2"}[args.format]
    if path.suffix != suffix:
        raise InputError(f"{path.name} is to end in {suffix}, by which programs know what it is: name it so")
    if args.format == "onnx":
        onnx_library()
    path.parent.mkdir(parents=True, exist_ok=True)
    args.device = "cpu"  # a graph is traced there, and runs anywhere
    with opened_world(args) as world, progress(1, "tracing", "world", args.quiet) as bar:
        if args.branch is None:
            export_world(world, args.format, path, args.score or KNN, args.features)
        else:
            export_branch(world, args.branch, args.format, path, args.features)
        bar.update()
    say_unless_quiet(
        args, f"{path}: {path.stat().st_size / 1e6:.1f} MB; images at a short side of {world.networks.size} pixels"
    )


def _benchmark_options(parser: Parser) -> None:
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


@command(
    "benchmark --world WORLD [--images IMAGES] [--backends a,b,…] [--calibrate IMAGES] [--rounds N] [--json FILE]",
    "ignota benchmark --world camvid-11 --images 'photos/*.jpg' --calibrate data/camvid/train",
    _benchmark_options,
)
def benchmark(args: Namespace) -> None:
    """Shows which backend is fastest on this machine, and how many labels it changes against float32.

    Without --images, synthetic streets of 1280×720 are segmented: fit for times; for labels name images of your own.
    """
    if args.rounds < 1 or args.count < 1:
        raise UsageError(f"--rounds and --count are 1 or more, not {args.rounds} and {args.count}")

    from ignota.backends.choosing import BACKENDS
    from ignota.cli.measuring import finish, words_of
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
    from ignota.functional.numbers import evenly_spaced

    files = image_files([pattern])
    return [read_image(files[i]) for i in evenly_spaced(len(files), count)]


def _row(name: str, row: dict[str, Any]) -> list[str]:
    if "fault" in row:
        return [name, row["fault"], "", "", "", ""]
    times = (f"{1000 * row['networks']:.0f}", f"{1000 * row['segment']:.0f}", f"{row['speedup']:.2f}")
    return [name, *times, f"{100 * row['labels']:.2f}", f"{100 * row['unknown']:.2f}"]
