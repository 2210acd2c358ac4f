"""A copy of a world with the states of further anomaly scores, from its training images; nothing is trained again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "fit SCORE… --out WORLD [--world WORLD] [--data ROOT] [--dataset NAME]"
EXAMPLE = "ignota fit knn_decoder --world runs/camvid-11/world --data data/camvid --out camvid-11-more"


def arguments(parser: Parser) -> None:
    parser.add_argument("scores", nargs="+", type=str, help="mahalanobis, vim, react, knn_decoder")
    add_world(parser)
    parser.add_argument("--out", type=str, required=True, metavar="WORLD", help="the folder to make")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where the training images lie")
    parser.add_argument("--dataset", type=str | None, default=None, help="by default what the world was trained on")


def run(args: Namespace) -> None:
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import progress, say
    from ignota.engine.configuration import DataConfig
    from ignota.engine.experiment import open_split
    from ignota.engine.refitting import parts_of, with_scores
    from ignota.structures import InputError
    from ignota.world import bundle

    out, names = Path(args.out), list(dict.fromkeys(args.scores))
    if out.exists():
        raise InputError(f"{out} exists already: choose another name or remove it")
    with opened_world(args) as world:
        known = {field.name for field in dataclasses.fields(DataConfig)}
        trained = world.provenance.get("configuration", {}).get("data", {})
        config = DataConfig(**{key: value for key, value in trained.items() if key in known})
        if args.dataset or not trained:
            if not args.dataset:
                raise InputError("the world does not tell what it was trained on: say --dataset NAME")
            config = dataclasses.replace(config, dataset=args.dataset)
        seed = int(world.provenance.get("configuration", {}).get("seed", 0))
        train = open_split(config, None if args.data is None else Path(args.data), "train", seed)
        with progress(sum(map(len, parts_of(world, train))), "fit", "image", args.quiet) as bar:
            richer = with_scores(world, names, train, bar.update)
        bundle.save(richer, out, bundle.read_document(bundle.find_world(args.world)).get("results", {}))
    if not args.quiet:
        say(f"{out} holds {', '.join(names)} as well")
