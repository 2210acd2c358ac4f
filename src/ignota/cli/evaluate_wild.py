"""Measures teaching on photographs of any camera: every object of a data set of anomalies is taught once.

Each object is taught to a fresh copy of the world, without force, and looked for on its own image, on the second image
of each pair, and where it must not be found: on images of known classes.
"""

from __future__ import annotations

from typing import Any, Literal

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_dataset, command
from ignota.cli.terminal import percent, progress, show_table


def arguments(parser: Parser) -> None:
    add_dataset(parser, " of anomalies, such as road_anomaly_21")
    parser.add_argument(
        "--given", type=Literal["mask", "object"], default="mask",
        help="how an object is shown: its exact mask, or the unknown object that overlaps it most, as a click gives it",
    )  # fmt: skip
    parser.add_argument("--pairs", type=str, default="", help="images of one kind: taught on A, looked for on B")
    parser.add_argument("--known", type=str | None, default=None, metavar="NAME", help="a data set of known classes")
    parser.add_argument("--known-data", type=str | None, default=None, metavar="ROOT", help="where that lies")
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")


@command(
    "evaluate wild DATASET --data ROOT [--split S] [--world WORLD] [--given mask|object] [--pairs A:B,…]"
    " [--known NAME --known-data ROOT] --json FILE",
    "ignota evaluate wild road_anomaly_21 --data data/road_anomaly_21_val --pairs 2:3,3:2 --json wild.json",
    arguments,
)
def run(args: Namespace) -> None:
    pairs = _pairs(args.pairs)

    from ignota.cli.measuring import finish, opened_dataset
    from ignota.data.datasets import open_dataset
    from ignota.evaluation.wild import evaluate_wild

    dataset = opened_dataset(args)
    known = open_dataset(args.known, args.known_data, None) if args.known else None
    total = len(dataset) + (0 if known is None else len(known))
    with finish(args.json) as write, opened_world(args) as world:
        with progress(total, dataset.name, "image", args.quiet) as bar:
            figures = evaluate_wild(world, dataset, args.given, pairs, known, bar.update)
        write(figures)
    show(figures)


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for word in (part.strip() for part in text.split(",") if part.strip()):
        first, colon, second = word.partition(":")
        if not (first and colon and second):
            raise UsageError(f"--pairs are A:B,C:D with keys of images, not {word!r}")
        pairs.append((first, second))
    return pairs


def show(figures: dict[str, Any]) -> None:
    """The figures as tables."""
    known = figures.get("known", {"claimed": {}, "lost": {}})
    rows = [
        (
            key, "refused" if each["refused"] else "accepted", percent(each["iou"]),
            percent(known["claimed"].get(key)), percent(known["lost"].get(key)),
        )
        for key, each in figures["images"].items()
    ]  # fmt: skip
    accepted = sum(each["accepted"] for each in figures["images"].values())
    rows.append(("mean", f"{accepted} of {len(figures['images'])}", percent(figures["iou"]), "", ""))
    objects = figures["objects"]
    cells = (f"{objects['listed_per_image']:.1f}", f"{objects['false_per_image']:.1f}", str(objects["true"]))
    title = f"{figures['dataset']}, {objects['images']} images, unknown objects at the world's threshold"
    show_table(
        title, ("an image", "false, an image", "true ones", "of them covered, percent", "found, percent", "AP", "AP50"),
        [(*cells, *(percent(objects[key]) for key in ("covered", "found", "ap", "ap50")))],
    )  # fmt: skip
    sizes = [
        (name, str(each["true"]), percent(each["covered"]), percent(each["found"]))
        for name, each in objects["by_size"].items()
    ]
    show_table("by size of the true object", ("size", "true ones", "covered, percent", "found, percent"), sizes)
    title = f"{figures['dataset']}, taught once by {figures['given']}, percent"
    show_table(title, ("image", "taught", "IoU on itself", "of known images claimed", "known mIoU lost"), rows)
    if figures["pairs"]:
        show_table("taught on A, found on B", ("pair", "IoU"), [(k, percent(v)) for k, v in figures["pairs"].items()])
