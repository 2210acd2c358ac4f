"""Writes a world as one file for other programs: networks, scores of each pixel, thresholds and class names.

Regions are no operation of a graph: the world's own score `raml`, which is averaged over them, and taught classes stay
with ignota. docs/export.md shows how to run the file with onnxruntime alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "export --world WORLD --format onnx|exported-program --out FILE [--score NAME] [--features]"
EXAMPLE = "ignota export --world camvid-11 --format onnx --out camvid-11.onnx"


def arguments(parser: Parser) -> None:
    add_world(parser)
    parser.add_argument(
        "--format", type=Literal["onnx", "exported-program"], default="onnx", help="what is written; .pt2 is the latter"
    )
    parser.add_argument("--out", type=str, required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--score", type=str, default="knn", help="what anomaly and unknown labels go by")
    parser.add_argument("--features", action="store_true", help="give features and embeddings of every cell as well")


def run(args: Namespace) -> None:
    from ignota.backends.exporting import export_world
    from ignota.cli.opening import check_target, opened_world
    from ignota.cli.terminal import progress, say
    from ignota.models.onnx_export import onnx_library
    from ignota.structures import InputError

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
        export_world(world, args.format, path, args.score, args.features)
        bar.update()
    if not args.quiet:
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB; images at a short side of {world.networks.size} pixels")
