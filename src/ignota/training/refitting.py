"""Further scores for a trained world: one pass over training images; its networks are unchanged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ignota.data.datasets import LabelledImages
from ignota.evaluation.evaluation import world_split
from ignota.functional.numbers import evenly_spaced
from ignota.models.objectness import Objectness
from ignota.perception.branch import Branches, built
from ignota.perception.networks import Networks
from ignota.scores.fitted_scores import fitted_score
from ignota.scores.score import LEVEL
from ignota.structures import InputError
from ignota.synthetic.pasting import cut_outs
from ignota.training.configuration import ExperimentConfig, FitConfig, MetaChannelConfig
from ignota.training.fitting import split_images
from ignota.training.full_recipe import TrialReader, with_full
from ignota.training.held_out import HeldOutReader, calibrate_scores
from ignota.training.object_cutoff import with_cutoffs
from ignota.training.score_states import Bars, KeptStates, fit_states, no_bars
from ignota.training.stages import Stages
from ignota.training.stream import TrainingImages
from ignota.training.weighing import written
from ignota.world.model import OpenWorldModel

T = TypeVar("T")


def parts_of(world: OpenWorldModel, train: LabelledImages, images: int | None = None) -> tuple[list[int], list[int]]:
    """Which training images fit states, and which are held out: as when the world was trained.

    images: states are fitted on at most so many of theirs; the held-out ones stay all, so that the level of every score
    of the world comes from the same images.
    """
    fit = world.provenance.get("configuration", {}).get("fit", {})
    most, held_out = fit.get("images", FitConfig.images), fit.get("held_out", FitConfig.held_out)
    part, rest = split_images(evenly_spaced(len(train), most).tolist(), held_out)
    return (part if images is None else [part[i] for i in evenly_spaced(len(part), images)]), rest


def with_scores(
    world: OpenWorldModel,
    names: Sequence[str],
    train: LabelledImages,
    tick: Callable[[], object] = lambda: None,
    bars: Bars = no_bars,
    images: int | None = None,
    seed: int | None = None,
    kept: KeptStates | None = None,
) -> OpenWorldModel:
    """The same world with the states of further scores; those that it holds keep theirs.

    Whatever recipe is in use, thresholds are for the false positive rate of `light`, as those of the other scores are.

    tick: called once an image; bars: shows the training of each score. images: states come from at most so many instead
    of as many as the world was trained with. kept: where finished states are kept until the world is written. Raises
    InputError for a score that cannot be fitted or is held already, and for images without classes.
    """
    fitted = world.fitted.under("light")
    recipe = fitted.recipe
    catalogue = {name: fitted_score(name, recipe.coreset, recipe.neighbours) for name in names}
    for name in names:
        if name in recipe.extra:
            raise InputError(f"the world holds {name} already: name other scores")
    if train.taxonomy is None:
        raise InputError(f"{train.name} has no classes: scores are fitted on labelled training images")
    lut = world_split(world, train.taxonomy).training_lut()
    part, held_out = parts_of(world, train, images)
    data = TrainingImages(train, part, lut, seed_of(world) if seed is None else seed)
    states = fit_states(world.networks, data, catalogue, tick, bars, kept)
    extra = (*recipe.extra, *names)
    recipe = dataclasses.replace(recipe, extra=extra)
    others = {name: dataclasses.replace(other, extra=extra) for name, other in fitted.others.items()}
    known = dataclasses.replace(fitted, recipe=recipe, others=others, states=fitted.states | states)
    bare = [name for name in recipe.scores() if LEVEL not in known.states[name]]
    known = calibrate_scores(world.networks, known, dataclasses.replace(data, images=held_out), tick, bare)
    return dataclasses.replace(world, fitted=known.under(world.fitted.name))


def with_objectness(
    world: OpenWorldModel, network: Objectness, train: LabelledImages, tick: Callable[[], object] = lambda: None
) -> OpenWorldModel:
    """The same world with a recipe `full` that reads `network`, calibrated on its held-out training images.

    tick: called twice a held-out image. Raises InputError for images without classes.
    """
    networks = dataclasses.replace(world.networks, objectness=network.to(world.device))
    reader, held_out = _held_out_reader(world, networks, train), parts_of(world, train)[1]
    known, table = with_full(TrialReader(reader, world.fitted.under("light")), held_out, tick)
    known = with_cutoffs(reader, known.under("full"), held_out, tick)
    provenance = world.provenance | {"objectness": written(table)}
    return dataclasses.replace(world, networks=networks, fitted=known, provenance=provenance)


def with_objects(
    world: OpenWorldModel, train: LabelledImages, tick: Callable[[], object] = lambda: None
) -> OpenWorldModel:
    """The same world whose recipes list unknown objects, with cutoffs from its held-out training images.

    tick: called once a held-out image. Raises InputError for images without classes, and where the world holds a recipe
    `full` whose network is not loaded.
    """
    if "full" in world.fitted.recipes and world.networks.objectness is None:
        raise InputError("the objects of recipe full need its network: `pip install 'ignota[objectness]'`")
    reader = _held_out_reader(world, world.networks, train)
    known = with_cutoffs(reader, world.fitted, parts_of(world, train)[1], tick)
    return dataclasses.replace(world, fitted=known)


def _held_out_reader(world: OpenWorldModel, networks: Networks, train: LabelledImages) -> HeldOutReader:
    if train.taxonomy is None:
        raise InputError(f"{train.name} has no classes: recipes are calibrated on labelled training images")
    split, fit = world_split(world, train.taxonomy), world.provenance.get("configuration", {}).get("fit", {})
    seed, things = seed_of(world), fit.get("things", FitConfig.things)
    distort = fit.get("distort", FitConfig.distort)
    return HeldOutReader(
        networks, train, split.training_lut(), split.known_taxonomy.names, cut_outs(things, seed), distort, seed
    )


def seed_of(world: OpenWorldModel) -> int:
    """The seed that the world was trained with."""
    return int(world.provenance.get("configuration", {}).get("seed", 0))


def with_branches(
    world: OpenWorldModel, config: ExperimentConfig, train: LabelledImages, folder: Path, quiet: bool = False
) -> OpenWorldModel:
    """The same world with the branches that `config.meta_channels` names, beside those that it has.

    folder: where finished stages are kept, so that a stopped training goes on.
    """
    stages = Stages(config, train, folder, world.device, quiet, given=world.networks.segmenter)
    makers = {system: partial(built, branch) for system, branch in stages.branches.items()}
    return dataclasses.replace(world, branches=Branches({**world.branches.makers, **makers}))


def configuration_of(world: OpenWorldModel) -> ExperimentConfig:
    """The experiment of a world's provenance, with today's default for every setting that it does not name.

    Stage 2 of worlds from before there were branches trained something else: its settings are not taken over.
    """
    stored = dict(world.provenance.get("configuration", {}))
    if "branches" not in stored.get("meta_channels", {}):
        stored["meta_channels"] = dataclasses.asdict(MetaChannelConfig())
    return _built(ExperimentConfig, stored)


def _built(kind: type[T], values: Mapping[str, Any]) -> T:
    fields: dict[str, Any] = {}
    for name, inner in get_type_hints(kind).items():
        if name not in values:
            continue
        value = values[name]
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            fields[name] = _built(inner, value)
        else:
            fields[name] = tuple(value) if isinstance(value, list) else value
    return kind(**fields)
