"""A calibration is one row that adds reference and moves the threshold; known evidence stays as it was fitted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ignota.evaluation.evaluation import untaught_copy
from ignota.functional.contamination import known_tail, prior_threshold
from ignota.perception.calibrating import (
    FOLDS,
    REFERENCE,
    Candidates,
    calibration_from,
    default_target,
    frame_of,
    thinned,
)
from ignota.perception.perception import calibrated
from ignota.storage import bundle
from ignota.storage.seals import perception_fingerprint, read_document, world_fingerprint
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

Photos = list[NDArray[np.uint8]]


def test_it_moves_the_threshold_adds_reference_and_is_undone_to_the_bit(
    world: OpenWorldModel, photos: Photos, trained: Path
) -> None:
    fitted, marks = world.fitted, (world_fingerprint(world), perception_fingerprint(world))
    before = world.segment(photos[0])
    found = world.calibrate(photos, target_fpr=0.1, author="ann")
    assert world.fitted is fitted and world.known is not fitted
    assert world.known.recipe.threshold == found.threshold != fitted.recipe.threshold
    assert len(world.known.space.known) == len(fitted.space.known) + len(found.owner) > len(fitted.space.known)
    after = world.segment(photos[0])
    assert not np.array_equal(after.levels, before.levels)
    assert float(after.tables.reading.known.mean()) > float(before.tables.reading.known.mean())
    assert world_fingerprint(world) != marks[0] and perception_fingerprint(world) != marks[1]
    event = world.store.history()[-1]
    assert (event.action, event.name, event.author) == ("calibrate", fitted.name, "ann")
    assert "3 images, target FPR 10 %" in event.detail
    again = bundle.load(world.store.path.parent)  # type: ignore[union-attr]
    assert np.array_equal(again.segment(photos[0]).levels, after.levels)
    assert world_fingerprint(again) == world_fingerprint(world)
    again.store.close()
    assert world.undo().action == "calibrate"
    assert world.known is fitted
    assert np.array_equal(world.segment(photos[0]).levels, before.levels)
    assert (world_fingerprint(world), perception_fingerprint(world)) == marks
    assert read_document(world.store.path.parent) == read_document(trained)  # type: ignore[union-attr]


def test_a_newer_calibration_stands_until_it_is_taken_back(world: OpenWorldModel, photos: Photos) -> None:
    first = world.calibrate(photos, target_fpr=0.1)
    second = world.calibrate(photos, target_fpr=0.3)
    stored = world.store.calibration("light")
    assert stored is not None and stored.threshold == second.threshold < first.threshold
    assert torch.equal(first.vectors, second.vectors)  # made of the fitted evidence, not of the first calibration
    world.undo()
    assert world.known.recipe.threshold == first.threshold
    assert world.store.calibration("full") is None


def test_what_is_learnt_stays_through_a_calibration(world: OpenWorldModel, photos: Photos) -> None:
    mask = np.zeros(photos[0].shape[:2], bool)
    mask[10:40, 20:60] = True
    world.learn("crate", (photos[0], mask), force=True)
    world.calibrate(photos)
    assert world.classes.names[-1] == "crate"
    known = world.known
    world.learn("crate", (photos[1], mask), force=True)
    assert world.known is known  # the calibrated evidence is made once
    copy = untaught_copy(world)
    assert len(copy.known.space.known) == len(known.space.known) and copy.known.recipe == known.recipe
    world.forget("crate")
    assert world.known.calibration is not None


def test_no_image_is_scored_against_its_own_regions(world: OpenWorldModel, photos: Photos) -> None:
    frames = [frame_of(world.encode(photo), world.fitted) for photo in photos]
    alone = calibration_from(world.fitted, [frames[0], frames[1]], 0.1)
    doubled = calibration_from(world.fitted, [frames[0], frames[0]], 0.1)  # each finds itself in the other
    assert doubled.threshold < alone.threshold


def test_a_recipe_that_trusts_the_image_gets_no_reference(world: OpenWorldModel, photos: Photos) -> None:
    frames = [frame_of(world.encode(photo), world.fitted) for photo in photos]
    plain = np.concatenate([frame.score(world.fitted, torch.zeros(0)).flatten().numpy() for frame in frames])
    assert len(calibration_from(calibrated(world.fitted, trusted=0.0), frames, 0.1).owner) > 0
    trusting = calibrated(world.fitted, trusted=0.3)
    found = calibration_from(trusting, frames, 0.1)
    assert found.vectors.shape == (0, len(trusting.space.mean)) and len(found.owner) == 0
    scores = np.concatenate([frame.score(trusting, found.vectors).flatten().numpy() for frame in frames])
    recipe = trusting.recipe
    own = prior_threshold(recipe.threshold, recipe.scale, recipe.target_fpr, 0.1)
    assert found.threshold == pytest.approx(known_tail(scores, 0.1, own).threshold, abs=0.05)
    assert not np.array_equal(scores, plain) or world.fitted.recipe.trusted == 0.3
    world.store.calibrate(found)
    world.refresh()
    assert len(world.known.space.known) == len(world.fitted.space.known)
    assert world.known.recipe.threshold == found.threshold and world.store.calibration(found.recipe) is not None


def test_the_default_target_is_the_recipe_s_but_two_percent_at_most(world: OpenWorldModel, photos: Photos) -> None:
    recipe = world.fitted.recipe
    assert [default_target(dataclasses.replace(recipe, target_fpr=t)) for t in (0.05, 0.01)] == [0.02, 0.01]
    assert world.calibrate(photos).target_fpr == default_target(recipe)


def test_reference_is_thinned_over_all_classes() -> None:
    owner = torch.arange(3).repeat_interleave(1000)
    found = Candidates(torch.rand(3000, 4), owner, torch.zeros(3000).long(), torch.ones(3000))
    few = thinned(found, 30)
    assert torch.bincount(few.owner).tolist() == [10, 10, 10]
    assert thinned(few, REFERENCE) is few and FOLDS > 1


@pytest.mark.parametrize("target", (0.0, 0.6, -1.0))
def test_a_target_outside_is_refused(world: OpenWorldModel, photos: Photos, target: float) -> None:
    with pytest.raises(InputError, match="target_fpr is a share"):
        world.calibrate(photos, target_fpr=target)


def test_one_image_and_a_world_that_is_read_only_are_refused(
    world: OpenWorldModel, photos: Photos, trained: Path
) -> None:
    with pytest.raises(InputError, match="1 image cannot calibrate a world: give 2 at least"):
        world.calibrate(photos[:1])
    assert world.store.history() == ()
    closed = bundle.load(trained)
    with pytest.raises(InputError, match="read-only"):
        closed.calibrate(iter(()))
    closed.store.close()


def test_a_calibration_of_another_world_is_refused(world: OpenWorldModel, photos: Photos) -> None:
    found = world.calibrate(photos)
    other = dataclasses.replace(found, vectors=found.vectors[:, :-1])
    world.store.calibrate(other)
    with pytest.raises(InputError, match="of another world"):
        world.refresh()
    for damage in ({"threshold": float("nan")}, {"scale": 0.0}, {"unknown": 2.0}, {"owner": found.owner[:-1]}):
        with pytest.raises(InputError, match="calibration of this world is damaged"):
            dataclasses.replace(found, **damage)
