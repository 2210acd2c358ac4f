"""DMLNet's five-scale protocol against a slow reading that shares no code with it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.evaluation.evaluation import evaluate_anomaly, world_split
from ignota.evaluation.five_scales import SHORT_SIDES, FiveScales, five_scale_metric_maps, scaled_size
from ignota.perception.branch import MetricNetwork
from ignota.perception.networks import Networks
from ignota.storage import bundle
from ignota.taxonomy import CITYSCAPES
from ignota.world.model import OpenWorldModel

SMALL = (48, 56, 64, 72, 80)
"""What the fixture `small_scales` puts in place of the protocol's own sizes, which would take seconds an image."""


@pytest.fixture(scope="module")
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


@pytest.fixture(scope="module")
def val(streets: Path) -> LabelledImages:
    return open_dataset("cityscapes", streets, "val")


def test_sizes_by_hand() -> None:
    assert SHORT_SIDES == (300, 375, 450, 525, 600)
    sizes = [scaled_size(1024, 2048, short) for short in SHORT_SIDES]
    assert sizes == [(304, 600), (376, 752), (456, 904), (504, 1000), (504, 1000)]  # the long side ends at 1000
    assert scaled_size(720, 1280, 300) == (304, 536)  # 300 × 533, both rounded up
    assert scaled_size(3, 9000, 300) == (8, 1000)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(SHORT_SIDES))
def test_sizes_are_multiples_of_8_and_never_too_long(height: int, width: int, short: int) -> None:
    rows, columns = scaled_size(height, width, short)
    assert rows % 8 == columns % 8 == 0
    assert min(rows, columns) >= 8 and max(rows, columns) <= 1000
    assert min(rows, columns) < short + 8
    assert (rows, columns) == scaled_size(width, height, short)[::-1]


def slow_logits(world: OpenWorldModel, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mean logits "C H W", scale by scale, by the network itself and OpenCV."""
    segmenter, total = world.networks.segmenter, np.zeros((len(world.taxonomy), *size))
    for short in SMALL:
        factor = min(short / min(image.shape[:2]), 1000 / max(image.shape[:2]))
        height, width = (8 * int(np.ceil(int(side * factor) / 8)) for side in image.shape[:2])
        grown = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        pixels = (grown / 255.0 - segmenter.preprocessing.mean) / segmenter.preprocessing.std
        with torch.no_grad():
            logits = segmenter(torch.from_numpy(pixels).float().permute(2, 0, 1)[None]).logits[0].numpy()
        total += [cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) / 5 for one in logits]
    return total


def nearest_fpr95(truth: np.ndarray, score: np.ndarray) -> float:
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    tpr = tpr[: int(np.argmax(tpr >= 1)) + 1]
    distance = np.abs(tpr - 0.95)
    return float(fpr[np.flatnonzero(distance == distance.min())[-1]])


@pytest.mark.usefixtures("small_scales")
def test_the_figures_are_those_of_a_slow_reading(world: OpenWorldModel, val: LabelledImages) -> None:
    found = evaluate_anomaly(world, val, ("max_logit", "msp"), "dmlnet").figures
    lut, rows = world_split(world, CITYSCAPES).anomaly_lut(), []
    assert any((lut[sample.label] == 255).any() for sample in val)
    for i in range(len(val)):
        label = lut[val[i].label]
        score = -slow_logits(world, val[i].image, label.shape).max(0).ravel()
        truth = label.ravel() == 1  # void counts as normal
        if 0 < truth.mean() < 1:
            rows.append(
                (average_precision_score(truth, score), roc_auc_score(truth, score), nearest_fpr95(truth, score))
            )
    mean = dict(zip(("aupr", "auroc", "fpr95"), np.mean(rows, axis=0), strict=True))
    protocol = found["scores"]["max_logit"]["dmlnet"]
    assert protocol["images"] == len(rows) > 0
    for name, value in mean.items():
        assert protocol[name] == pytest.approx(value, abs=2e-3), name
    one_scale = found["scores"]["max_logit"]["per_image"]
    assert any(protocol[name] != pytest.approx(one_scale[name], abs=2e-3) for name in mean)
    plain = evaluate_anomaly(world, val, ("max_logit", "msp")).figures
    for name, readings in plain["scores"].items():
        assert readings == {key: found["scores"][name][key] for key in readings}
        assert set(found["scores"][name]) - set(readings) == {"dmlnet"}


@pytest.mark.usefixtures("small_scales")
def test_scores_of_features_are_averaged_over_the_scales(world: OpenWorldModel, val: LabelledImages) -> None:
    image, size = val[0].image, (40, 70)
    scales = FiveScales.of(world.networks, image, size)
    assert [encoding.image.shape[:2] for encoding in scales.scales] == [scaled_size(48, 96, short) for short in SMALL]
    maps = scales.maps(("knn", "max_logit", "region:max_logit"), world.scores)
    total = np.zeros(size)
    for encoding in scales.scales:
        total += cv2.resize(world.scores(encoding, ["knn"])["knn"].numpy(), size[::-1]) / 5
    np.testing.assert_allclose(maps["knn"], total, rtol=1e-5, atol=1e-6)
    expected = -slow_logits(world, image, size).max(0)
    assert np.abs(maps["max_logit"] - expected).mean() < 0.01 * np.abs(expected).mean()
    assert {value.shape for value in maps.values()} == {size}


@pytest.mark.usefixtures("small_scales")
def test_metric_logits_are_averaged_rather_than_embeddings(world: OpenWorldModel, val: LabelledImages) -> None:
    """Any network will do: its outputs are taken for embeddings f."""
    own = world.networks
    network = MetricNetwork(Networks(own.segmenter, None, own.size, ("decoder",), own.device))
    image, size = val[0].image, (40, 70)
    distances = np.zeros(size)
    for encoding in FiveScales.of(own, image, size).scales:
        f = np.stack([cv2.resize(one, size[::-1]) for one in encoding.logits.numpy()])
        for c in range(len(f)):
            distances += ((f - 3 * np.eye(len(f))[c][:, None, None]) ** 2).sum(0) / 5
    clipped = np.minimum(distances, 400)
    expected = 1 - (clipped - clipped.min()) / (clipped.max() - clipped.min())
    found = five_scale_metric_maps(network, image, size, ["dml_eds"])["dml_eds"]
    np.testing.assert_allclose(found, expected, atol=1e-3)
