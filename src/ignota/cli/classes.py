"""Lists the classes of a world: known ones, then taught ones with the number of their examples, and the calibration of
its recipe, if any."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "classes [--world WORLD] [--json]"
EXAMPLE = "ignota classes --world my-world --json"


def arguments(parser: Parser) -> None:
    add_world(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: Namespace) -> None:
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import say, say_json, show_table, swatch

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
