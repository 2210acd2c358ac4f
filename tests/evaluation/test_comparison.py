"""The ranking of scores, and scores added to a world that is trained already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ignota.data.datasets import open_dataset
from ignota.evaluation.comparison import compare_scores, held_scores, mean_ranks, missing_scores, ranked
from ignota.evaluation.evaluation import evaluate_anomaly
from ignota.metrics.bootstrap import (
    ImageHistograms,
    paired_bootstrap,
    weighted_aupr,
    weighted_auroc,
    weighted_fpr95,
)
from ignota.scores.score import LEVEL
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.training.refitting import parts_of, with_scores
from ignota.world.model import OpenWorldModel


@pytest.fixture(scope="module")
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


def histograms(images: int = 12) -> ImageHistograms:
    state = ImageHistograms()
    for i in range(images):
        rng = np.random.default_rng(i)
        label = (rng.random((20, 30)) < 0.2).astype(np.uint8)
        noise = rng.normal(size=label.shape)
        maps = {"weak": noise + 0.1 * label, "best": noise + 3 * label, "twin": noise + 3 * label}
        state.update(f"{i:02}", {name: value.astype(np.float32) for name, value in maps.items()}, label)
    return state


def figures(state: ImageHistograms) -> dict[str, dict]:
    """AUPR and so on of the histograms themselves, as if images were measured at their resolution."""
    once = np.ones((1, len(state.by_key)), np.int64)
    metrics = {"aupr": weighted_aupr, "auroc": weighted_auroc, "fpr95": weighted_fpr95}
    names = next(iter(state.by_key.values()))
    found = {name: {m: float(f(state.of(name), once)[0]) for m, f in metrics.items()} for name in names}
    return {name: {"pooled": pooled | {"tpr5": 0.5}} for name, pooled in found.items()}


def test_the_best_comes_first_and_what_is_sure_is_said() -> None:
    state = histograms()
    rows = ranked(figures(state), state, 200, 1)
    assert [row["name"] for row in rows] == ["best", "twin", "weak"]
    assert rows[1]["behind"] == {"mean": 0, "low": 0, "high": 0}
    assert rows[2]["behind"]["low"] > 0.3
    expected = paired_bootstrap(state, "best", "weak", 200, 1)
    assert rows[2]["behind"] == {"mean": expected.mean, "low": expected.low, "high": expected.high}
    for row in rows:
        for metric in ("aupr", "auroc", "fpr95"):
            assert 0 <= row[metric]["low"] <= row[metric]["value"] <= row[metric]["high"] <= 1
    assert rows[0]["fpr95"]["value"] < rows[2]["fpr95"]["value"]
    assert rows[0]["auroc"]["value"] > rows[2]["auroc"]["value"]


def test_mean_places() -> None:
    first = {"scores": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    second = {"scores": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}
    assert mean_ranks([first, second, first]) == [("a", 5 / 3), ("b", 2.0), ("c", 7 / 3)]


def test_compare_and_evaluate_agree_to_the_last_digit(world: OpenWorldModel, streets: Path) -> None:
    val = open_dataset("cityscapes", streets, "val")
    scores, ticks = held_scores(world.known), []
    assert {"raml", "msp", "region:msp", "vim", "region:vim"} <= set(scores)
    found = compare_scores(world, val, scores, 20, 0, lambda: ticks.append(1))
    assert (found["dataset"], found["images"], len(ticks)) == ("cityscapes", 2, 2)
    assert sorted(row["name"] for row in found["scores"]) == sorted(scores)
    measured = evaluate_anomaly(world, val, scores, components=True).figures["scores"]
    for row in found["scores"]:
        same = measured[row["name"]]
        pooled = {metric: row[metric]["value"] for metric in ("aupr", "auroc", "fpr95")}
        assert pooled | {"tpr5": row["tpr5"]} == same["pooled"]
        assert row["component"] == same["component"]
        assert row["open_miou"] == same["open_miou"] and row["open_miou"]["closed"] > 0
        assert set(row["component"]) >= {"oracle"}
        assert {"siou", "ppv", "f1"} <= set(row["component"]["oracle"])
    places = [row["aupr"]["value"] for row in found["scores"]]
    assert places == sorted(places, reverse=True)


def test_one_forward_pass_an_image(world: OpenWorldModel, streets: Path, request: pytest.FixtureRequest) -> None:
    passes: list[str] = []
    assert world.networks.frozen is not None
    for name, network in (("segmenter", world.networks.segmenter), ("frozen", world.networks.frozen)):
        hook = network.register_forward_hook(lambda *_, name=name: passes.append(name))
        request.addfinalizer(hook.remove)
    val, scores = open_dataset("cityscapes", streets, "val"), held_scores(world.known)
    assert len([name for name in scores if ":" not in name]) >= 12
    compare_scores(world, val, scores, 5)
    assert passes == ["segmenter", "frozen"] * 2
    evaluate_anomaly(world, val, scores, components=True)
    assert passes == ["segmenter", "frozen"] * 4


def test_a_measurement_keeps_nothing_of_an_image_but_of_paired_scores(world: OpenWorldModel, streets: Path) -> None:
    val = open_dataset("cityscapes", streets, "val")
    assert not evaluate_anomaly(world, val, ["raml", "msp"]).histograms.by_key
    kept = evaluate_anomaly(world, val, ["raml", "msp", "sml"], paired=["raml", "msp"]).histograms.by_key
    assert {key: sorted(found) for key, found in kept.items()} == {key: ["msp", "raml"] for key in val.keys}


def test_scores_are_added_without_touching_the_others(world: OpenWorldModel, streets: Path) -> None:
    train = open_dataset("cityscapes", streets, "train")
    assert missing_scores(world.known)[:2] == ["knn_decoder", "dml_frozen"]
    ticks: list[int] = []
    richer = with_scores(world, ["knn_decoder"], train, lambda: ticks.append(1))
    kept, held_out = parts_of(world, train)
    assert (len(kept), len(held_out)) == (4, 2)
    fewer, same = parts_of(world, train, 2)
    assert len(fewer) == 2 and set(fewer) <= set(kept) and same == held_out
    assert len(ticks) == 6
    assert missing_scores(richer.known) == missing_scores(world.known)[1:]
    assert "knn_decoder" not in world.known.states
    assert LEVEL in richer.known.states["knn_decoder"]
    encoding = world.encode(train[0].image)
    for name in ("knn", "mahalanobis", "sml", "raml"):
        a, b = (each.scores(encoding, [name])[name] for each in (world, richer))
        assert torch.equal(a, b)
    found = richer.scores(encoding, ["knn_decoder", "fuse:knn_decoder+msp"])
    assert all(value.isfinite().all() for value in found.values())
    with pytest.raises(InputError, match="holds knn_decoder already"):
        with_scores(richer, ["knn_decoder"], train)
    with pytest.raises(InputError, match="can be fitted"):
        with_scores(world, ["raml"], train)
