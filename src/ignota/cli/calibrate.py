"""Adapts a world to your camera from unlabelled images (100 suffice): confident known regions become reference, and
the threshold is set for a share of known pixels that may be called unknown. `ignota undo` takes it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world, command
from ignota.cli.terminal import complain, note, progress, say

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm

    from ignota.structures import InputError


_ENOUGH = 20
"""Images below which the threshold is a rough one."""


def arguments(parser: Parser) -> None:
    parser.add_argument("images", nargs="+", type=str, help="images and videos, folders of them, or patterns")
    parser.add_argument(
        "--target-fpr",
        type=float | None,
        default=None,
        metavar="F",
        help="share of known pixels that may be called unknown, by default the world's own",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of videos, take each N-th frame alone")
    add_world(parser, own=True)


@command(
    "calibrate IMAGE… --world WORLD [--target-fpr F] [--every N]",
    "ignota calibrate my-camera/ --target-fpr 0.01 --world my-world",
    arguments,
)
def run(args: Namespace) -> None:
    if args.every < 1:
        raise UsageError(f"--every is 1 or more, not {args.every}")
    if args.target_fpr is not None and not 0 < args.target_fpr <= 0.5:
        raise UsageError(f"--target-fpr is a share above 0, 0.5 at most, not {args.target_fpr:g}")
    from ignota.cli.inputs import image_files, picture_count

    files = image_files(args.images)
    faults: list[InputError] = []
    with opened_world(args, writable=True) as world:
        before = world.known.recipe.threshold
        with progress(picture_count(files, args.every), "calibrate", "image", args.quiet) as bar:
            found = world.calibrate(_images(files, args.every, faults, bar), args.target_fpr)
    if found.images < _ENOUGH:
        note(f"the threshold rests on {found.images} images: 100 make it sure")
    if not args.quiet:
        vectors, moved = len(found.owner), f"{before:.2f} → {found.threshold:.2f}"
        say(f"calibrated recipe {found.recipe} on {found}; threshold {moved}; {vectors} reference vectors")
    complain(faults)


def _images(files: list[Path], every: int, faults: list[InputError], bar: tqdm) -> Iterator[np.ndarray]:
    """Every picture that can be read, counted on `bar`; faults: gets what could not be."""
    from ignota.cli.inputs import read_pictures, still_to_do

    pictures = read_pictures({str(path): path for path in files}, every, lambda *_: True)
    for picture in still_to_do(pictures, [], faults, bar):
        if picture.image is not None:
            yield picture.image
