"""The weight of objectness and the threshold of recipe `full`, on trials whose answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ignota.perception.known import Recipe
from ignota.storage import bundle
from ignota.taxonomy import CAMVID, CITYSCAPES
from ignota.training import full_recipe as module
from ignota.training.full_recipe import LEVELS, PASTED, STUFF, TARGET_FPR, WEIGHTS, ObjectTrial, full_recipe, joined

LIGHT = Recipe(1.0, 0.1, 0.01, ("t",), 10, 3, threshold=1.0, scale=2.0)
OWN, OTHER = "own camera", "other camera"


def trial(kind: str, sharp: float, seed: int, objects: float = 1.0) -> ObjectTrial:
    """Objectness tells the unknown apart by `objects`, the light score by `sharp`."""
    rng = np.random.default_rng(seed)
    unknown = rng.random(2000) < 0.1
    score = rng.normal(size=2000) + sharp * unknown
    seen = np.clip(rng.normal(0.2, 0.1, 2000) + 0.6 * objects * unknown, 0, 1)
    return ObjectTrial(kind, 0.0, score.astype(np.float32), seen.astype(np.float32), unknown)


def test_the_score_is_the_sum() -> None:
    one = trial("car, own camera", 1.0, 0)
    recipe = dataclasses.replace(LIGHT, objectness=3.0, level=0.5)
    one = dataclasses.replace(one, level=2.0)
    wanted = [s - 1 + 3 * p for s, p in zip(one.score.tolist(), one.objectness.tolist(), strict=True)]
    np.testing.assert_allclose(joined(recipe, one), wanted, atol=1e-6)


def test_the_table_against_scikit_learn() -> None:
    trials = [trial(f"car, {OWN}", 1.0, 0), trial(f"car, {OWN}", 1.0, 1), trial(f"{PASTED}, {OTHER}", 0.0, 2)]
    _, table = full_recipe(LIGHT, trials)
    assert set(table) == {(w, level) for w in WEIGHTS for level in LEVELS}
    for (weight, _), found in table.items():  # the level of every image is 0 here
        for kind, value in found.items():
            own = [t for t in trials if t.kind == kind]
            score = np.concatenate([t.score + weight * 2.0 * t.objectness for t in own])
            assert value == pytest.approx(average_precision_score(np.concatenate([t.unknown for t in own]), score))


def test_objectness_weighs_where_it_tells_and_nothing_where_it_misleads() -> None:
    helps, _ = full_recipe(LIGHT, [trial(f"car, {OWN}", 0.5, 0), trial(f"{PASTED}, {OTHER}", 0.0, 1)])
    hurts, _ = full_recipe(LIGHT, [trial(f"car, {OWN}", 3.0, 0, -1.0), trial(f"{PASTED}, {OTHER}", 3.0, 1, -1.0)])
    assert helps.objectness >= 8 * LIGHT.scale and hurts.objectness == 0


def test_the_choice_has_the_best_mean() -> None:
    trials = [
        trial(f"car, {OWN}", 2.0, 0, 0.5),
        trial(f"sign, {OWN}", 2.0, 1, -0.3),
        trial(f"{PASTED}, {OTHER}", 1.0, 2),
    ]
    recipe, table = full_recipe(LIGHT, trials)
    merits = {
        choice: ((found[f"car, {OWN}"] + found[f"sign, {OWN}"]) / 2 + found[f"{PASTED}, {OTHER}"]) / 2
        for choice, found in table.items()
    }
    weight, level = max(merits, key=lambda choice: merits[choice])
    assert (recipe.objectness, recipe.level) == (weight * LIGHT.scale, level)


def test_a_level_is_taken_off_where_images_differ_by_it() -> None:
    trials = []
    for seed, lift in enumerate((0.0, 6.0, -6.0)):
        one = trial(f"car, {OWN}", 3.0, seed, 0.0)
        trials.append(dataclasses.replace(one, score=one.score + np.float32(lift), level=lift))
    recipe, table = full_recipe(LIGHT, trials)
    assert recipe.level == 1.0
    assert table[0.0, 1.0][f"car, {OWN}"] > table[0.0, 0.0][f"car, {OWN}"] + 0.2


def test_a_hundredth_of_the_known_pixels_passes_the_threshold() -> None:
    trials = [trial(f"{PASTED}, {OWN}", 1.0, 0), trial(f"{PASTED}, {OTHER}", 1.0, 1), trial(f"car, {OWN}", 1.0, 2)]
    recipe, _ = full_recipe(LIGHT, trials)
    known = np.concatenate([joined(recipe, t)[~t.unknown] for t in trials[:2]])
    assert (known > recipe.threshold).mean() == pytest.approx(TARGET_FPR, abs=1e-3)
    assert recipe.target_fpr == TARGET_FPR and recipe.taps == LIGHT.taps and recipe.weights == LIGHT.weights


def test_without_trials() -> None:
    recipe, table = full_recipe(LIGHT, [])
    assert (recipe.objectness, recipe.threshold, table) == (8 * LIGHT.scale, LIGHT.threshold, {})


def test_stuff_is_what_has_no_objects() -> None:
    assert {n for n in CAMVID.names if n not in STUFF} == {"pole", "sign", "car", "pedestrian", "bicyclist"}
    assert {"person", "rider", "car", "truck", "bus", "traffic sign", "pole"} <= set(CITYSCAPES.names) - STUFF


def test_a_reader_gives_each_thing_and_pasted_things_by_both_cameras(trained: Path) -> None:
    import torch

    from ignota.evaluation.evaluation import world_split
    from ignota.perception.networks import Networks
    from ignota.structures import Encoding
    from ignota.synthetic.pasting import cut_outs
    from ignota.synthetic.streets import SyntheticStreets
    from ignota.training.held_out import HeldOutReader

    world = bundle.load(trained)
    samples = SyntheticStreets("train", 2, (60, 120), 0)
    split = world_split(world, CITYSCAPES)

    class Seeing:
        """Networks that see objectness everywhere."""

        def encode(self, image: np.ndarray) -> Encoding:
            found = world.encode(image)
            return dataclasses.replace(found, objectness=torch.full((4, 8), 0.25))

    names = split.known_taxonomy.names
    networks: Networks = Seeing()  # type: ignore[assignment]
    held_out = HeldOutReader(networks, samples, split.training_lut(), names, cut_outs(4, 0), 1.0, 0)
    reader = module.TrialReader(held_out, world.known)
    trials = reader.read(0)
    kinds = [t.kind for t in trials]
    things = {names[c] for c in np.unique(split.training_lut()[samples[0].label]) if c != 255} - STUFF
    assert {k.rpartition(", ")[0] for k in kinds} == things | {PASTED}
    assert {k.rpartition(", ")[2] for k in kinds} == {OWN, OTHER}
    for one in trials:
        assert len(one.score) == len(one.objectness) == len(one.unknown) and np.isfinite(one.score).all()
        assert set(one.objectness.tolist()) == {0.25}
        assert one.unknown.any() == (one.kind != f"{PASTED}, {OWN}")
    known, table = module.with_full(reader, [0, 1])
    assert known.name == "light" and known.others["full"].objectness >= 0 and table
    assert known.under("full").others["light"] == world.known.recipe
