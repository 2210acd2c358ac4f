"""Mahalanobis, ViM and ReAct against slow oracles in numpy, on features that a linear classifier reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ignota.scores.feature_scores import Mahalanobis, RectifiedActivations, VirtualLogit
from ignota.scores.fitted_scores import FITTED_SCORES, fitted_score
from ignota.scores.score import Rows, State, linear_head, spread_over_classes
from ignota.structures import Encoding, InputError

SIZE, FEATURES, CLASSES = (7, 8), 6, 3
RNG = np.random.default_rng(3)
WEIGHT, BIAS = RNG.normal(size=(CLASSES, FEATURES)), RNG.normal(size=CLASSES)
CENTRES = RNG.normal(size=(CLASSES, FEATURES)) * 2 + 1
MIX = RNG.normal(size=(FEATURES, FEATURES)) * 0.5


def image(seed: int) -> tuple[Encoding, np.ndarray]:
    """Features round the centre of each pixel's class, correlated; logits that are linear in them."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, SIZE).astype(np.uint8)
    label[rng.random(SIZE) < 0.1] = 255
    rows = CENTRES[np.where(label == 255, 0, label).ravel()] + rng.normal(size=(label.size, FEATURES)) @ MIX
    features = torch.from_numpy(rows.T.reshape(FEATURES, *SIZE)).float()
    logits = torch.from_numpy((rows @ WEIGHT.T + BIAS).T.reshape(CLASSES, *SIZE)).float()
    return Encoding(np.zeros((28, 32, 3), np.uint8), (28, 32), logits, {"decoder": features}), label


IMAGES = [image(seed) for seed in range(20)]
EVERY = 1000  # more pixels than an image has of one class: all of them are taken


def training_rows() -> tuple[np.ndarray, np.ndarray]:
    features = np.concatenate([e.features["decoder"].numpy().reshape(FEATURES, -1).T for e, _ in IMAGES])
    label = np.concatenate([label.ravel() for _, label in IMAGES])
    return features[label != 255].astype(np.float64), label[label != 255]


def fitted(score: Mahalanobis | VirtualLogit | RectifiedActivations) -> State:
    return score.state([score.observe(encoding, label, np.random.default_rng(0)) for encoding, label in IMAGES])


NEW, _ = image(99)
VECTORS = NEW.features["decoder"].numpy().reshape(FEATURES, -1).T.astype(np.float64)


def test_mahalanobis_against_its_formula() -> None:
    rows, label = training_rows()
    means = [rows[label == c].mean(0) for c in range(CLASSES)]
    covariance = sum(np.outer(row - means[c], row - means[c]) for row, c in zip(rows, label, strict=True)) / len(rows)
    inverse = np.linalg.inv(covariance)
    expected = [min(float((f - m) @ inverse @ (f - m)) for m in means) ** 0.5 for f in VECTORS]
    score = Mahalanobis(per_image=EVERY)
    np.testing.assert_allclose(score.score(NEW, fitted(score)).numpy().ravel(), expected, rtol=1e-3)


def test_mahalanobis_grows_with_the_distance() -> None:
    score = Mahalanobis(per_image=EVERY)
    state, found = fitted(score), []
    for step in (3.0, 6.0, 12.0, 1e4):
        far = torch.from_numpy(CENTRES.mean(0) + step * 5).float()[:, None, None].expand(FEATURES, *SIZE)
        found.append(float(score.score(Encoding(NEW.image, NEW.size, NEW.logits, {"decoder": far}), state).mean()))
    assert found == sorted(found)
    assert found[0] > float(score.score(NEW, state).mean())


def test_mahalanobis_leaves_out_classes_without_pixels_and_dead_channels_decide_little() -> None:
    score = Mahalanobis(per_image=EVERY)
    seen = []
    for encoding, label in IMAGES:
        encoding.features["decoder"][2] = 0.5
        seen.append(
            score.observe(encoding, np.where(label == 1, 255, label).astype(np.uint8), np.random.default_rng(0))
        )
        encoding.features["decoder"].copy_(image(len(seen) - 1)[0].features["decoder"])
    state = score.state(seen)
    assert len(state["means"]) == 2
    still, moved = NEW.features["decoder"].clone(), NEW.features["decoder"].clone()
    still[2], moved[2] = 0.5, 0.5001
    a, b = (score.score(Encoding(NEW.image, NEW.size, NEW.logits, {"decoder": f}), state) for f in (still, moved))
    assert (a - b).abs().max() < 0.1


def test_vim_against_its_formula() -> None:
    rows, _ = training_rows()
    origin = -np.linalg.pinv(WEIGHT) @ BIAS
    _, axes = np.linalg.eigh((rows - origin).T @ (rows - origin))
    rest = axes[:, : FEATURES - FEATURES // 2]
    logits = rows @ WEIGHT.T + BIAS
    alpha = logits.max(1).sum() / np.linalg.norm((rows - origin) @ rest, axis=1).sum()
    expected = []
    for f in VECTORS:
        residual = np.linalg.norm(rest @ (rest.T @ (f - origin)))
        expected.append(alpha * residual - np.log(np.exp(WEIGHT @ f + BIAS).sum()))
    score = VirtualLogit(per_image=EVERY)
    state = fitted(score)
    assert alpha > 0.5
    np.testing.assert_allclose(score.score(NEW, state).numpy().ravel(), expected, rtol=1e-3, atol=1e-3)
    # The virtual logit's probability, as the paper has it, orders pixels the same way.
    probability = [1 / (1 + np.exp(-value)) for value in expected]
    assert np.array_equal(np.argsort(probability), np.argsort(expected))


def test_react_against_its_formula() -> None:
    rows, _ = training_rows()
    limit = np.percentile(rows, 90)
    clipped = np.minimum(VECTORS, limit) @ WEIGHT.T + BIAS
    score = RectifiedActivations(per_image=EVERY)
    found = score.score(NEW, fitted(score)).numpy().ravel()
    np.testing.assert_allclose(found, -np.log(np.exp(clipped).sum(1)), rtol=1e-3, atol=1e-3)
    assert np.abs(found + np.log(np.exp(VECTORS @ WEIGHT.T + BIAS).sum(1))).max() > 0.1  # clipping did something


def test_a_linear_head_is_recovered() -> None:
    rows, label = training_rows()
    logits = torch.from_numpy(rows @ WEIGHT.T + BIAS)
    weight, bias = linear_head(Rows(torch.from_numpy(rows), logits, torch.from_numpy(label.astype(np.int64))))
    np.testing.assert_allclose(weight.numpy(), WEIGHT, atol=1e-8)
    np.testing.assert_allclose(bias.numpy(), BIAS, atol=1e-8)


def test_a_dead_channel_gets_no_weight() -> None:
    rows, label = training_rows()
    rows[:, 2] = 4.0
    logits = torch.from_numpy(rows @ WEIGHT.T + BIAS)
    weight, bias = linear_head(Rows(torch.from_numpy(rows), logits, torch.from_numpy(label.astype(np.int64))))
    np.testing.assert_allclose(weight[:, 2].numpy(), 0, atol=1e-8)
    np.testing.assert_allclose((rows @ weight.numpy().T + bias.numpy()), logits, atol=1e-8)


def test_pixels_are_spread_over_classes() -> None:
    label = np.array([0] * 100 + [1] * 100 + [2] * 3 + [255] * 50, np.uint8)
    chosen = spread_over_classes(label, 30, np.random.default_rng(0))
    assert np.bincount(label[chosen]).tolist() == [10, 10, 3]
    assert len(np.unique(chosen)) == len(chosen)
    assert spread_over_classes(label[203:], 30, np.random.default_rng(0)).size == 0


def test_without_labelled_pixels_it_is_said() -> None:
    score = Mahalanobis()
    nothing = score.observe(NEW, np.full(SIZE, 255, np.uint8), np.random.default_rng(0))
    with pytest.raises(InputError, match="no labelled pixel"):
        score.state([nothing])


def test_the_catalogue() -> None:
    for name in FITTED_SCORES:
        assert "20" in fitted_score(name, 100, 3).citation
    with pytest.raises(InputError, match="did you mean 'vim'"):
        fitted_score("vin", 100, 3)
