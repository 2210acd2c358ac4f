"""A copy of a world with the states of further anomaly scores, from its training images; its networks stay as they are.

What a score has learnt is kept beside the new world until that is written: after a stop, the same call goes on with the
next score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world
from ignota.engine.configuration import FittedScore

USAGE = "fit SCORE… --out WORLD [--world WORLD] [--data ROOT] [--dataset NAME] [--images N]"
EXAMPLE = "ignota fit knn_decoder dml_frozen --world runs/camvid-11/world --data data/camvid --out camvid-11-more"


def arguments(parser: Parser) -> None:
    parser.add_argument("scores", nargs="+", type=str, help=", ".join(get_args(FittedScore)))
    add_world(parser)
    parser.add_argument("--out", type=str, required=True, metavar="WORLD", help="the folder to make")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where the training images lie")
    parser.add_argument("--dataset", type=str | None, default=None, help="where the world does not tell its own")
    parser.add_argument(
        "--images", type=int | None, default=None, help="learn from at most so many, by default as the world did"
    )


def run(args: Namespace) -> None:
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import progress, say
    from ignota.engine.configuration import DataConfig
    from ignota.engine.experiment import open_split
    from ignota.engine.records import fingerprint
    from ignota.engine.refitting import parts_of, seed_of, with_scores
    from ignota.engine.score_states import KeptStates, digest
    from ignota.structures import InputError
    from ignota.world import bundle

    out, names = Path(args.out), list(dict.fromkeys(args.scores))
    if out.exists():
        raise InputError(f"{out} exists already: choose another name or remove it")
    if args.images is not None and args.images < 1:
        raise InputError(f"--images is 1 or more, not {args.images}")
    if args.size is not None:
        raise InputError("--size would put new scores on another scale than those that the world holds: leave it out")
    with opened_world(args) as world:
        known = {field.name for field in dataclasses.fields(DataConfig)}
        trained = world.provenance.get("configuration", {}).get("data", {})
        config = DataConfig(**{key: value for key, value in trained.items() if key in known})
        if not trained:
            if not args.dataset:
                raise InputError("the world does not tell what it was trained on: say --dataset NAME")
            config = dataclasses.replace(config, dataset=args.dataset)
        elif args.dataset not in (None, config.dataset):
            raise InputError(
                f"this world's scores stand on {config.dataset}, those of {args.dataset} could not be compared with "
                "them: leave --dataset out"
            )
        train = open_split(config, None if args.data is None else Path(args.data), "train", seed_of(world))
        seed = seed_of(world) if args.seed is None else args.seed
        weights = digest(bundle.find_world(args.world) / bundle.WEIGHTS)
        place = None if args.data is None else str(Path(args.data).resolve())
        origin = fingerprint(weights, config, place, world.networks.size, args.images, seed)
        kept = KeptStates(out.with_name(f"{out.name}.partial"), origin)

        @contextmanager
        def bars(title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
            with progress(total, title, unit, args.quiet) as bar:
                yield bar.update

        with progress(sum(map(len, parts_of(world, train, args.images))), "images", "image", args.quiet) as bar:
            richer = with_scores(world, names, train, bar.update, bars, args.images, seed, kept)
        source = bundle.find_world(args.world)
        document = bundle.read_document(source)
        bundle.save(richer, out, document.results, bundle.read_branches(source, document))
        kept.drop()
    if not args.quiet:
        say(f"{out} holds {', '.join(names)} as well")
