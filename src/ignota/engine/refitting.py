"""Further scores for a world that is trained already: one pass over training images, nothing is trained again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ignota.anomaly.fitted_scores import fitted_score
from ignota.data.datasets import LabelledImages
from ignota.engine.configuration import FitConfig
from ignota.engine.evaluation import world_split
from ignota.engine.fitting import fit_states, split_images
from ignota.engine.harvest import chosen_images
from ignota.engine.levels import with_levels
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel


def parts_of(world: OpenWorldModel, train: LabelledImages) -> tuple[list[int], list[int]]:
    """Which training images fit states, and which are held out: as when the world was trained."""
    fit = world.provenance.get("configuration", {}).get("fit", {})
    most, held_out = fit.get("images", FitConfig.images), fit.get("held_out", FitConfig.held_out)
    return split_images(chosen_images(train, most), held_out)


def with_scores(
    world: OpenWorldModel, names: Sequence[str], train: LabelledImages, tick: Callable[[], object] = lambda: None
) -> OpenWorldModel:
    """The same world with the states of further scores; those that it holds keep theirs, all get their levels anew.

    Raises InputError for a score that cannot be fitted or is held already, and for images without classes.
    """
    recipe = world.known.recipe
    for name in names:
        fitted_score(name, recipe.coreset, recipe.neighbours)
        if name in recipe.extra:
            raise InputError(f"the world holds {name} already: name other scores")
    if train.taxonomy is None:
        raise InputError(f"{train.name} has no classes: scores are fitted on labelled training images")
    lut = world_split(world, train.taxonomy).training_lut()
    kept, held_out = parts_of(world, train)
    recipe = dataclasses.replace(recipe, extra=(*recipe.extra, *names))
    seed = int(world.provenance.get("configuration", {}).get("seed", 0))
    states = fit_states(world.networks, train, kept, recipe, lut, seed, tick) | world.known.states
    known = dataclasses.replace(world.known, recipe=recipe, states=states)
    known = with_levels(world.networks, known, train, held_out, lut, seed, tick)
    return dataclasses.replace(world, known=known)
