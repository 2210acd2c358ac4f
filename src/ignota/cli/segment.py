"""Labels, anomaly and unknown regions of images: NAME_labels.png, NAME_anomaly.png, NAME_overlay.jpg, NAME.json."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "segment IMAGE… [--world WORLD] --out DIR"
EXAMPLE = "ignota segment photos/ 'more/*.jpg' --out seen"


def arguments(parser: Parser) -> None:
    parser.add_argument("images", nargs="+", type=str, help="image files, folders of them, or patterns such as '*.jpg'")
    add_world(parser)
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="where the results go")


def run(args: Namespace) -> None:
    from ignota.cli.inputs import image_files, targets
    from ignota.cli.opening import opened_world
    from ignota.cli.pictures import write_scene
    from ignota.cli.terminal import progress, say
    from ignota.data.images import read_image
    from ignota.structures import InputError

    out = Path(args.out)
    named = targets(image_files(args.images, out), out)
    faults: list[InputError] = []
    with opened_world(args) as world, progress(len(named), "segment", "image", args.quiet) as bar:
        for name, path in named.items():
            try:
                image = read_image(path)
            except InputError as error:
                faults.append(error)
            else:
                write_scene(out, name, path, image, world.segment(image))
            bar.update()
    done = len(named) - len(faults)
    if done and not args.quiet:
        say(f"{done} {'image' if done == 1 else 'images'} → {out}")
    for fault in faults[:-1]:
        sys.stderr.write(f"ignota: {fault}\n")
    if faults:
        raise faults[-1]
