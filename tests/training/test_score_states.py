"""The states of scores: one forward pass for all, pasted things where they are asked for, and nothing learnt twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from ignota.data.datasets import open_dataset
from ignota.evaluation.evaluation import world_split
from ignota.scores.dml import MetricHead
from ignota.scores.fitted_scores import FITTED_SCORES
from ignota.scores.heads import Ensemble, MaximisedEntropy
from ignota.scores.score import OUTLIER, AnomalyScore, State
from ignota.storage import bundle
from ignota.synthetic.pasting import CutOut
from ignota.training import score_states
from ignota.training.configuration import FittedScore
from ignota.training.score_states import KeptStates, fit_states
from ignota.training.stream import TrainingImages
from ignota.world.model import OpenWorldModel


@pytest.fixture(scope="module")
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One magenta square instead of synthetic things; holds how often they were cut."""
    cut: list[int] = []
    square = CutOut(np.full((9, 9, 3), (255, 0, 255), np.uint8), np.ones((9, 9), bool))
    monkeypatch.setattr(score_states, "cut_outs", lambda scenes, seed: cut.append(scenes) or (square,))
    return cut


class Watching(AnomalyScore):
    """Keeps what it was shown."""

    citation = "2026"

    def __init__(self, pasted: bool) -> None:
        self.pasted, self.seen = pasted, []

    def observe(self, encoding, label, rng) -> State:
        self.seen.append((encoding, label))
        return {"x": torch.ones(1)}

    def score(self, encoding, state):
        return encoding.logits[0]


def fit(
    world: OpenWorldModel, streets: Path, catalogue: dict[str, AnomalyScore], **options: object
) -> dict[str, State]:
    train = open_dataset("cityscapes", streets, "train")
    lut = world_split(world, train.taxonomy).training_lut()
    return fit_states(world.networks, TrainingImages(train, [0, 1, 2], lut, 0), catalogue, lambda: None, **options)


def test_pasted_things_are_shown_to_those_that_ask_for_them(
    world: OpenWorldModel, streets: Path, things: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    forward = world.networks.segmenter.forward
    monkeypatch.setattr(world.networks.segmenter, "forward", lambda images: passes.append(1) or forward(images))
    plain, pasted, too = Watching(False), Watching(True), Watching(True)
    fit(world, streets, {"plain": plain})
    assert (len(passes), things) == (3, [])
    fit(world, streets, {"plain": plain, "pasted": pasted, "too": too})
    assert (len(passes), len(things)) == (9, 1)
    for (before, label), (after, with_things), (again, _) in zip(plain.seen[3:], pasted.seen, too.seen, strict=True):
        assert (label != OUTLIER).all()
        assert (with_things == OUTLIER).any()
        changed = (before.image != after.image).any(2)
        assert changed.any() and not changed.all()
        assert (after.image[changed] == (255, 0, 255)).all()
        kept = with_things != OUTLIER
        assert (with_things[kept] == label[kept]).all()
        assert again is after


def test_what_is_learnt_alike_is_learnt_once(world: OpenWorldModel, streets: Path) -> None:
    catalogue = {"a": MetricHead("mixed", steps=3), "b": MetricHead("eds", steps=3), "c": Ensemble(steps=3)}
    shown: list[str] = []

    @contextmanager
    def bars(title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
        shown.append(f"{title} {total} {unit}")
        yield lambda: None

    states = fit(world, streets, catalogue, bars=bars)
    assert shown == ["a 3 step", "c 3 step"]
    assert list(states) == ["a", "b", "c"]
    for key, value in states["a"].items():
        assert torch.equal(value, states["b"][key])
        assert value.data_ptr() != states["b"][key].data_ptr()  # they are written under two names


def test_a_call_that_was_stopped_goes_on_with_the_score_in_hand(
    world: OpenWorldModel, streets: Path, things: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def catalogue() -> dict[str, AnomalyScore]:
        return {"a": MetricHead("mixed", steps=3), "b": MaximisedEntropy(steps=3), "c": Ensemble(steps=3)}

    whole = fit(world, streets, catalogue())
    kept, trained, train = KeptStates(tmp_path / "kept", "this world"), [], Ensemble.train

    def stopped(self: Ensemble, *rest: object) -> State:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ensemble, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit(world, streets, catalogue(), kept=kept)
    assert sorted(path.parent.name for path in kept.folder.glob("*/stage.json")) == ["a", "b"]

    for kind in (MetricHead, MaximisedEntropy):
        monkeypatch.setattr(kind, "train", lambda self, *rest: trained.append(self) or {})
    monkeypatch.setattr(Ensemble, "train", train)
    resumed = fit(world, streets, catalogue(), kept=kept)
    assert trained == []
    assert resumed.keys() == whole.keys()
    for name, state in whole.items():
        assert all(torch.equal(value, resumed[name][key]) for key, value in state.items()), name

    things.clear()
    fit(world, streets, catalogue(), kept=KeptStates(kept.folder, "another world"))
    assert len(trained) == 2  # what another world left is of no use
    kept.drop()
    assert not kept.folder.exists()


def test_other_things_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept" / "mine").mkdir(parents=True)
    KeptStates(tmp_path / "kept", "x").drop()
    assert (tmp_path / "kept" / "mine").is_dir()


def test_experiments_may_name_every_score_that_can_be_fitted() -> None:
    assert set(get_args(FittedScore)) == set(FITTED_SCORES)
