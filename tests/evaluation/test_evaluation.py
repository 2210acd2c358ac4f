"""Figures of a world on a data set, against scikit-learn on the same maps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, jaccard_score, roc_auc_score

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.evaluation.evaluation import (
    evaluate_anomaly,
    evaluate_closed_set,
    teach,
    untaught_copy,
    world_split,
)
from ignota.storage import bundle
from ignota.taxonomy import CAMVID, CITYSCAPES
from ignota.world.labelling import label_maps
from ignota.world.model import OpenWorldModel


@pytest.fixture(scope="module")
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


@pytest.fixture(scope="module")
def val(streets: Path) -> LabelledImages:
    return open_dataset("cityscapes", streets, "val")


@pytest.fixture(scope="module")
def train(streets: Path) -> LabelledImages:
    return open_dataset("cityscapes", streets, "train")


def test_anomaly_figures_are_scikit_learn_s(world: OpenWorldModel, val: LabelledImages) -> None:
    names = ("raml", "max_logit")
    found = evaluate_anomaly(world, val, names).figures
    assert (found["dataset"], found["images"]) == ("cityscapes", 2)
    lut = world_split(world, CITYSCAPES).anomaly_lut()
    labels: list[np.ndarray] = []
    maps: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for i in range(2):
        label = lut[val[i].label]
        for name, value in world.scores(world.encode(val[i].image), names).items():
            sized = cv2.resize(value.numpy(), label.shape[::-1], interpolation=cv2.INTER_LINEAR)
            maps[name].append(sized[label != 255])
        labels.append(label[label != 255])
    for name in names:
        pooled = found["scores"][name]["pooled"]
        truth, score = np.concatenate(labels), np.concatenate(maps[name])
        assert pooled["aupr"] == pytest.approx(average_precision_score(truth, score), abs=2e-3)
        assert pooled["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=2e-3)
        each = [average_precision_score(t, s) for t, s in zip(labels, maps[name], strict=True) if 0 < t.mean() < 1]
        assert found["scores"][name]["per_image"]["aupr"] == pytest.approx(np.mean(each), abs=2e-3)


def test_closed_set_figures_are_scikit_learn_s(world: OpenWorldModel, val: LabelledImages) -> None:
    found = evaluate_closed_set(world, val)
    lut, truth, guess = world_split(world, CITYSCAPES).training_lut(), [], []
    for i in range(2):
        label = lut[val[i].label]
        closed = label_maps(world, world.encode(val[i].image), ())["closed"]
        truth.append(label[label != 255])
        guess.append(closed[label != 255])
    t, g = np.concatenate(truth), np.concatenate(guess)
    seen = sorted(set(t) | set(g))
    expected = jaccard_score(t, g, labels=seen, average=None, zero_division=0)
    assert found["miou"] == pytest.approx(expected.mean())
    assert found["pixel_accuracy"] == pytest.approx((t == g).mean())


def test_shots_are_the_training_images_with_the_largest_area(world: OpenWorldModel, train: LabelledImages) -> None:
    copy, split = untaught_copy(world), world_split(world, CITYSCAPES)
    used = teach(copy, train, split, 2)
    for name, keys in used.items():
        areas = {train[i].key: int((train[i].label == CITYSCAPES.id_of(name)).sum()) for i in range(len(train))}
        largest = sorted(areas, key=lambda key: (-areas[key], key))[:2]
        assert sorted(keys) == sorted(largest)
    assert copy.classes.names[-3:] == tuple(used)
    assert world.classes.names == world.taxonomy.names


def test_what_is_known_follows_the_world_s_own_split_or_names(world: OpenWorldModel) -> None:
    own = world_split(world, CITYSCAPES)
    assert [CITYSCAPES.classes[i].name for i in own.novel] == ["car", "truck", "bus"]
    other = world_split(world, CAMVID)
    assert other.known_taxonomy.names == world.taxonomy.names
    assert set(other.taxonomy.names) == {*CAMVID.names, *world.taxonomy.names}
    assert "car" in {CAMVID.classes[i].name for i in other.novel}
