"""The weight of features beside logits: what a left-out class looks like, and that the better score gets the weight."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ignota.perception.perception import calibrated
from ignota.perception.reading import own_parts, read_regions
from ignota.storage import bundle
from ignota.synthetic.streets import SyntheticStreets
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.weighing import (
    BALANCED,
    FEATURES,
    PASTED,
    WEIGHTS,
    Trial,
    least_trust,
    left_out_trials,
    merit,
    pasted_trial,
    weigh,
)
from ignota.world.model import OpenWorldModel


@pytest.fixture(scope="module")
def opened(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


def trials(seed: int, logits: float, features: float) -> list[Trial]:
    """Trials in which the logits' and the features' evidence lie so many spreads higher where it is unknown."""
    rng = np.random.default_rng(seed)
    found = []
    for kind in ("road", "sky", PASTED):
        unknown = rng.random(3000) < 0.1
        parts = torch.from_numpy(rng.normal(size=(3, 3000)))
        parts += torch.tensor([logits, logits, features])[:, None] * torch.from_numpy(unknown)
        found.append(Trial(kind, parts, unknown))
    return found


def test_the_better_witness_is_believed(opened: OpenWorldModel) -> None:
    plain = calibrated(opened.known, centre=(0.0, 0.0, 0.0), spread=(1.0, 1.0, 1.0))
    assert weigh(plain, trials(0, 3.0, 0.0))[0][2] == 0.0
    assert weigh(plain, trials(0, 0.0, 3.0))[0][2] == FEATURES[-1]
    silent = torch.tensor([3.0, 0.0, 0.0])[:, None]  # the first score's signal is removed, its noise is left
    one = [dataclasses.replace(t, parts=t.parts - silent * torch.from_numpy(t.unknown)) for t in trials(0, 3.0, 0.0)]
    assert weigh(plain, one)[0] == (0.0, 1.0, 0.0)
    both, table = weigh(plain, trials(0, 1.5, 1.5))
    assert 0.25 <= both[2] <= 1.0
    assert set(table) == set(WEIGHTS)
    for found in table.values():
        assert set(found) == {"road", "sky", PASTED}
    halves = {w: (found["road"] + found["sky"]) / 4 + found[PASTED] / 2 for w, found in table.items()}
    assert halves[both] == max(halves.values())
    apart = [trial for trial in trials(0, 3.0, 0.0) if trial.kind != PASTED]
    apart += [trial for trial in trials(0, 0.0, 1.0) if trial.kind == PASTED]
    assert weigh(plain, apart)[0][2] < FEATURES[-1] == weigh(plain, apart[2:])[0][2]  # pasted things alone say so


def test_without_trials_both_weigh_alike(opened: OpenWorldModel) -> None:
    assert weigh(opened.known, [])[0] == BALANCED
    nothing = Trial("road", torch.zeros(3, 5), np.zeros(5, bool))
    assert weigh(opened.known, [nothing])[0] == BALANCED


def test_a_left_out_class_is_gone_from_logits_and_neighbours(opened: OpenWorldModel) -> None:
    sample = SyntheticStreets("train", 1, (48, 96), 0)[0]
    encoding, known = opened.encode(sample.image), opened.known
    reading = read_regions(encoding, known)
    winner = encoding.logits.argmax(0)
    c = int(winner.flatten().mode().values)  # one that wins somewhere
    full, without = own_parts(encoding, known, reading), own_parts(encoding, known, reading, c)
    assert full.shape == without.shape == (3, *encoding.image.shape[:2])
    rest = encoding.logits[torch.arange(len(encoding.logits)) != c].amax(0)
    expected = torch.where(winner == c, -rest, -encoding.logits.amax(0))
    assert not torch.equal(expected, -encoding.logits.amax(0))
    resized = torch.nn.functional.interpolate(expected[None, None], size=encoding.image.shape[:2], mode="bilinear")
    torch.testing.assert_close(without[0], resized[0, 0])
    assert (without[2] >= full[2] - 1e-5).all()  # fewer neighbours are never nearer
    owner = int(known.space.owner.mode().values)
    assert (own_parts(encoding, known, reading, owner)[2] > full[2] + 1e-5).any()


def test_trials_of_an_image(opened: OpenWorldModel) -> None:
    sample = SyntheticStreets("train", 1, (48, 96), 0)[0]
    assert sample.label is not None
    label = np.where(sample.label < 3, sample.label, IGNORE_INDEX).astype(np.uint8)
    encoding = opened.encode(sample.image)
    reading = read_regions(encoding, opened.known)
    names, rng = opened.taxonomy.names, np.random.default_rng(0)
    found = left_out_trials(encoding, opened.known, reading, label, names, rng)
    assert [trial.kind for trial in found] == [names[c] for c in np.unique(label[label != IGNORE_INDEX])]
    for trial in found:
        c = names.index(trial.kind)
        assert trial.parts.shape == (3, (label != IGNORE_INDEX).sum())  # all pixels of so small an image
        assert trial.unknown.sum() == (label == c).sum()
    assert left_out_trials(encoding, opened.known, reading, label, names[:1], rng) == []
    target = np.where(label == IGNORE_INDEX, IGNORE_INDEX, label == 1).astype(np.uint8)
    pasted = pasted_trial(encoding, opened.known, reading, target, rng)
    assert pasted.kind == PASTED and pasted.unknown.sum() == (label == 1).sum()


def test_merit_is_half_left_out_classes_and_half_pasted_things() -> None:
    assert merit({"road": 0.2, "sky": 0.4, PASTED: 0.9}) == pytest.approx(0.6)
    assert merit({"road": 0.2, "sky": 0.4}) == pytest.approx(0.3)
    assert merit({PASTED: 0.9}) == pytest.approx(0.9)
    assert merit({}) == 0.0


def test_what_no_training_image_vouches_for_is_trusted_no_more_than_it_pays() -> None:
    assert least_trust({0.0: 0.5, 0.3: 0.578, 0.5: 0.583}) == 0.3
    assert least_trust({0.5: 0.6, 0.0: 0.595, 0.3: 0.7}) == 0.3
    assert least_trust({0.4: 0.0}) == 0.4
