"""Few-shot figures of a world, against scikit-learn on the same maps, of one draw of exemplars and of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.data.shots import Shots
from ignota.evaluation.evaluation import world_split
from ignota.evaluation.incremental_evaluation import evaluate_incremental, narrowed
from ignota.storage import bundle
from ignota.structures import InputError, Sample
from ignota.taxonomy import CITYSCAPES
from ignota.world.model import OpenWorldModel

METHODS = ("raml", "raml_released", "npm_frozen", "ft_frozen", "plm_latest_frozen", "plm_all_frozen")


@pytest.fixture(scope="module")
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


@pytest.fixture(scope="module")
def val(streets: Path) -> LabelledImages:
    return open_dataset("cityscapes", streets, "val")


@pytest.fixture(scope="module")
def train(streets: Path) -> LabelledImages:
    return open_dataset("cityscapes", streets, "train")


def test_incremental_figures_are_those_of_one_pooled_matrix(
    world: OpenWorldModel, val: LabelledImages, train: LabelledImages
) -> None:
    seen: list[dict[str, Any]] = []

    def watch(sample: Sample, result: dict[str, Any]) -> None:
        seen.append(result)

    found = evaluate_incremental(world, val, train, METHODS, 1, watch)
    split = world_split(world, CITYSCAPES)
    names, known = split.world_taxonomy.names, len(split.known)
    truth = np.concatenate([r["label"][r["label"] != 255] for r in seen])
    for method in METHODS:
        guess = np.concatenate([r["maps"][method][r["label"] != 255] for r in seen])
        matrix = confusion_matrix(truth, guess, labels=range(len(names)))
        with np.errstate(invalid="ignore"):
            iou = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
        figures = found["methods"][method]
        assert figures["miou"]["all"] == pytest.approx(np.nanmean(iou))
        assert figures["miou"]["old"] == pytest.approx(np.nanmean(iou[:known]))
        assert figures["miou"]["novel"] == pytest.approx(np.nanmean(iou[known:]))
        for k, name in enumerate(names[known:], known):
            assert sum(figures["stolen"][name].values()) == matrix[:known, k].sum()
    assert found["miou"] == found["methods"]["raml"]["miou"]
    assert {"old_before", "old_after", "stolen", "iou"} <= set(found)
    assert {name: len(keys) for name, keys in found["support"].items()} == {"car": 1, "truck": 1, "bus": 1}
    json.dumps(found, allow_nan=False)


def test_nothing_to_learn_is_said(world: OpenWorldModel, val: LabelledImages, tmp_path: Path) -> None:
    from ignota.data.layouts import write_layout

    root = write_layout(tmp_path / "road_anomaly", "road_anomaly", None, (48, 96))
    with pytest.raises(InputError, match="only anomalies: use `ignota evaluate anomaly`"):
        evaluate_incremental(world, open_dataset("road_anomaly", root, None), val, METHODS, 1)


def test_several_draws_are_averaged(world: OpenWorldModel, val: LabelledImages, train: LabelledImages) -> None:
    methods, draws = ("raml", "npm_frozen", "ft_frozen"), [Shots(1, seed, 0.01) for seed in range(3)]
    alone = [evaluate_incremental(world, val, train, methods, [draw], novel=["car"]) for draw in draws]
    together = evaluate_incremental(world, val, train, methods, draws, novel=["car"])
    assert len({json.dumps(one["support"]) for one in alone}) > 1  # else nothing is averaged
    assert together["support"] == [one["support"] for one in alone]
    for method in methods:
        harmonic = [one["methods"][method]["miou"]["harmonic"] for one in alone]
        found = together["methods"][method]
        assert found["miou"]["harmonic"] == pytest.approx(np.mean(harmonic))
        assert found["std"]["miou"]["harmonic"] == pytest.approx(np.std(harmonic))
        stolen = [one["methods"][method]["stolen"]["car"]["road"] for one in alone]
        assert found["stolen"]["car"]["road"] == pytest.approx(np.mean(stolen))
    assert (together["draws"], together["shots"]) == (3, 1)
    assert together["miou"] == together["methods"]["raml"]["miou"]
    json.dumps(together, allow_nan=False)


def test_some_classes_alone(world: OpenWorldModel, val: LabelledImages, train: LabelledImages) -> None:
    seen: list[dict[str, Any]] = []
    found = evaluate_incremental(world, val, train, ("raml",), 1, lambda _, result: seen.append(result), novel=["bus"])
    split = world_split(world, CITYSCAPES)
    assert set(found["support"]) == {"bus"}
    assert list(found["iou"])[len(split.known) :] == ["bus"]
    assert max(int(one["label"][one["label"] != 255].max()) for one in seen) <= len(split.known)
    with pytest.raises(InputError, match="'bos' is no novel class of this world; did you mean 'bus'"):
        narrowed(split, ["bos"])
