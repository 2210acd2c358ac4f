"""What every pixel score must do, and slow oracles for the two that learn from training images."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
import torch

from ignota.functional.scores import smooth, suppress_boundaries
from ignota.scores.dml import MetricHead
from ignota.scores.duir import Resynthesis
from ignota.scores.feature_scores import Mahalanobis, NearestNeighbours, RectifiedActivations, VirtualLogit, joined_taps
from ignota.scores.heads import Ensemble, MaximisedEntropy, MonteCarloDropout
from ignota.scores.logit_scores import LOGIT_SCORES
from ignota.scores.rbm import RoadMachine
from ignota.scores.score import AnomalyScore
from ignota.scores.windows import Reconstruction
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX

FEATURE_SCORES: dict[str, AnomalyScore] = {
    "mahalanobis": Mahalanobis("near"),
    "mahalanobis_far": Mahalanobis("far"),
    "vim": VirtualLogit("near"),
    "vim_far": VirtualLogit("far"),
    "react": RectifiedActivations("near"),
    "react_far": RectifiedActivations("far"),
    "dml": MetricHead("mixed", "near", hidden=8, steps=4),
    "dml_eds_far": MetricHead("eds", "far", hidden=8, steps=4),
    "dml_mmsp": MetricHead("mmsp", "near", hidden=8, steps=4),
    "ensemble": Ensemble("near", hidden=8, steps=4),
    "mc_dropout_far": MonteCarloDropout("far", hidden=8, steps=4, passes=3),
    "max_entropy": MaximisedEntropy("near", hidden=8, steps=4),
}
IMAGE_SCORES: dict[str, AnomalyScore] = {
    "autoencoder": Reconstruction(short=48, side=16, steps=2),
    "rbm": RoadMachine(short=48, steps=4, per_image=20),
    "duir": Resynthesis(short=48, side=32, per_image=2, draws=1, compares=1),
}
NEAREST = NearestNeighbours(("near", "far"), coreset=40, neighbours=3, per_image=20)
SCORES = LOGIT_SCORES | FEATURE_SCORES | IMAGE_SCORES | {"knn": NEAREST}
SIZE = (6, 9)
KNOWN = (np.arange(54, dtype=np.uint8) % 4).reshape(SIZE)
"""A label map without void."""


def encoding(logits: torch.Tensor, seed: int = 0) -> Encoding:
    generator = torch.Generator().manual_seed(seed)
    taps = {"near": torch.randn(5, 6, 9, generator=generator), "far": torch.randn(3, 3, 5, generator=generator)}
    image = np.random.default_rng(seed).integers(0, 256, (48, 72, 3), np.uint8)
    return Encoding(image, (48, 72), logits, taps)


def random_encoding(seed: int, scale: float = 3.0) -> Encoding:
    return encoding(torch.randn(4, *SIZE, generator=torch.Generator().manual_seed(100 + seed)) * scale, seed)


LABEL = np.zeros(SIZE, np.uint8)
LABEL[4:, :5] = IGNORE_INDEX


def observations(name: str, images: list[Encoding]) -> list[dict[str, torch.Tensor]]:
    return [SCORES[name].observe(image, LABEL, np.random.default_rng(i)) for i, image in enumerate(images)]


@functools.cache
def fitted(name: str) -> dict[str, torch.Tensor]:
    return SCORES[name].state(observations(name, [random_encoding(i) for i in range(4)]))


EXTREMES = {
    "random": torch.randn(4, *SIZE),
    "zero": torch.zeros(4, *SIZE),
    "constant": torch.full((4, *SIZE), -7.5),
    "huge": torch.randn(4, *SIZE, generator=torch.Generator().manual_seed(1)) * 1e30,
    "one_class_wins_by_far": torch.tensor([1e6, -1e6, -1e6, -1e6])[:, None, None].expand(4, *SIZE),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("kind", EXTREMES)
def test_finite_on_the_grid_of_the_logits(name: str, kind: str) -> None:
    found = SCORES[name].score(encoding(EXTREMES[kind]), fitted(name))
    assert found.shape == SIZE
    assert found.dtype == torch.float32
    assert found.isfinite().all()


STRANGE = {"zero": 0.0, "constant": -7.5, "huge": 1e30, "minus_huge": -1e30}


@pytest.mark.parametrize("name", IMAGE_SCORES)
@pytest.mark.parametrize("shade", [0, 255])
def test_finite_on_blank_pictures(name: str, shade: int) -> None:
    def blank(seed: int) -> Encoding:
        return dataclasses.replace(random_encoding(seed), image=np.full((48, 72, 3), shade, np.uint8))

    state = SCORES[name].state(observations(name, [blank(i) for i in range(3)]))
    for image in (blank(5), random_encoding(5)):
        assert SCORES[name].score(image, state).isfinite().all()
    small = dataclasses.replace(random_encoding(1), image=np.full((5, 7, 3), shade, np.uint8))
    assert SCORES[name].score(small, state).shape == SIZE


@pytest.mark.parametrize("name", FEATURE_SCORES)
@pytest.mark.parametrize("trained_on", ["random", *STRANGE])
@pytest.mark.parametrize("seen", ["random", *STRANGE])
def test_finite_on_strange_features(name: str, trained_on: str, seen: str) -> None:
    def image(kind: str, seed: int) -> Encoding:
        found = random_encoding(seed)
        if kind == "random":
            return found
        flat = {tap: torch.full_like(grid, STRANGE[kind]) for tap, grid in found.features.items()}
        return dataclasses.replace(found, features=flat)

    state = SCORES[name].state(observations(name, [image(trained_on, i) for i in range(3)]))
    found = SCORES[name].score(image(seen, 5), state)
    assert found.shape == SIZE
    assert found.isfinite().all()


@pytest.mark.parametrize(
    "name", ["sml", "mahalanobis", "vim", "react", "dml", "ensemble", "max_entropy", *IMAGE_SCORES]
)
def test_void_pixels_leave_no_trace(name: str) -> None:
    label = KNOWN.copy()
    label[:, :4] = 255
    image, other = random_encoding(0), random_encoding(0)
    other.logits[:, :, :4] = 99.0
    other.features["near"][:, :, :4] = -55.0
    other.image[:, :32] = 211
    a, b = (SCORES[name].observe(i, label, np.random.default_rng(0)) for i in (image, other))
    seen = SCORES[name].observe(image, LABEL, np.random.default_rng(0))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(a[key].shape != seen[key].shape or not torch.equal(a[key], seen[key]) for key in a)
    nothing = SCORES[name].observe(image, np.full(SIZE, 255, np.uint8), np.random.default_rng(0))
    states = [SCORES[name].state(part) for part in ([a], [nothing, a])]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", LOGIT_SCORES)
def test_weaker_logits_are_more_anomalous(name: str) -> None:
    logits = torch.rand(4, *SIZE, generator=torch.Generator().manual_seed(5)) * 8 + 0.1
    state = fitted(name)
    strong, weak = (LOGIT_SCORES[name].score(encoding(logits * factor), state) for factor in (1.0, 0.5))
    assert (weak > strong - 1e-6).all()
    assert weak.mean() > strong.mean() + 1e-3


@pytest.mark.parametrize("name", SCORES)
def test_the_order_of_training_images_is_irrelevant(name: str) -> None:
    images = [random_encoding(i) for i in range(4)]
    seen = observations(name, images)
    there, back = SCORES[name].state(seen), SCORES[name].state(seen[::-1])
    assert there.keys() == back.keys()
    a, b = (SCORES[name].score(random_encoding(9), state) for state in (there, back))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["sml", "knn"])
def test_void_pixels_are_not_learnt_from(name: str) -> None:
    image, other = random_encoding(0), random_encoding(0)
    void = torch.from_numpy(LABEL == IGNORE_INDEX)
    other.logits[:, void] = 1e4
    other.features["near"][:, void] = -1e4
    other.features["far"][:, 2:, :3] = -1e4  # coarse cells that reach into the void are let be
    image.features["far"][:, 2:, :3] = -1e4
    seen, again = observations(name, [image]), observations(name, [other])
    for key, value in seen[0].items():
        assert torch.equal(value, again[0][key]), key


@pytest.mark.parametrize("name", SCORES)
def test_deterministic_and_cited(name: str) -> None:
    image, state = random_encoding(3), fitted(name)
    again = fitted.__wrapped__(name)  # not the one that is kept
    assert torch.equal(SCORES[name].score(image, state), SCORES[name].score(image, again))
    assert "20" in SCORES[name].citation or "19" in SCORES[name].citation


class TestStandardizedMaxLogits:
    def statistics(self, images: list[Encoding]) -> list[tuple[float, float]]:
        values: list[list[float]] = [[] for _ in range(4)]
        for image in images:
            for y, x in np.argwhere(LABEL != IGNORE_INDEX):
                column = image.logits[:, y, x].tolist()
                values[column.index(max(column))].append(max(column))
        found = []
        for row in values:
            mean = sum(row) / len(row) if row else 0.0
            variance = sum((v - mean) ** 2 for v in row) / len(row) if row else 0.0
            found.append((mean, math.sqrt(variance) or 1.0))
        return found

    def test_statistics_against_a_loop(self) -> None:
        images = [random_encoding(i) for i in range(3)]
        for image in images:
            image.logits[2] = -100.0  # a class that is never predicted
        state = SCORES["sml"].state(observations("sml", images))
        for c, (mean, std) in enumerate(self.statistics(images)):
            assert float(state["mean"][c]) == pytest.approx(mean, abs=1e-4)
            assert float(state["std"][c]) == pytest.approx(std, abs=1e-4)

    def test_score_against_a_loop(self) -> None:
        images = [random_encoding(i) for i in range(3)]
        statistics, new = self.statistics(images), random_encoding(8)
        raw, labels = torch.zeros(1, *SIZE), torch.zeros(1, *SIZE, dtype=torch.long)
        for y, x in np.ndindex(*SIZE):
            column = new.logits[:, y, x].tolist()
            winner = column.index(max(column))
            mean, std = statistics[winner]
            raw[0, y, x], labels[0, y, x] = -(max(column) - mean) / std, winner
        state = SCORES["sml"].state(observations("sml", images))
        expected = smooth(suppress_boundaries(raw, labels))[0]  # both have oracles of their own
        torch.testing.assert_close(SCORES["sml"].score(new, state), expected, atol=1e-3, rtol=1e-3)


class TestNearestNeighbours:
    def test_against_a_loop(self) -> None:
        score = NearestNeighbours(("near",), coreset=1000, neighbours=3, per_image=1000)
        images = [random_encoding(i) for i in range(2)]
        state = score.state([score.observe(image, LABEL, np.random.default_rng(0)) for image in images])
        rows = [
            image.features["near"][:, y, x].double() for image in images for y, x in np.argwhere(LABEL != IGNORE_INDEX)
        ]
        mean = sum(rows) / len(rows)
        std = (sum((row - mean) ** 2 for row in rows) / len(rows)).sqrt()
        new = random_encoding(7)
        found = score.score(new, state)
        for y, x in itertools.product(range(0, 6, 2), range(0, 9, 3)):
            vector = (new.features["near"][:, y, x].double() - mean) / std
            cosines = []
            for row in rows:
                other = (row - mean) / std
                cosines.append(float(vector @ other / (vector.norm() * other.norm())))
            assert float(found[y, x]) == pytest.approx(1 - sum(sorted(cosines)[-3:]) / 3, abs=1e-4)

    def test_training_images_are_near_and_strange_ones_far(self) -> None:
        score, state = NearestNeighbours(("near",), 1000, 1, 1000), None
        image = random_encoding(0)
        state = score.state([score.observe(image, LABEL, np.random.default_rng(0))])
        labelled = torch.from_numpy(LABEL != IGNORE_INDEX)
        assert score.score(image, state)[labelled].abs().max() < 1e-4
        assert score.score(random_encoding(1), state).mean() > 0.05

    def test_samples_and_coreset_have_their_sizes(self) -> None:
        score = NearestNeighbours(("near", "far"), coreset=7, neighbours=3, per_image=5)
        seen = [score.observe(random_encoding(i), LABEL, np.random.default_rng(i)) for i in range(3)]
        assert [len(o["vectors"]) for o in seen] == [5, 5, 5]
        assert score.state(seen)["coreset"].shape == (7, 8)
        assert score.state(seen[:1])["coreset"].shape == (5, 8)
        again = score.observe(random_encoding(0), LABEL, np.random.default_rng(0))
        assert torch.equal(again["vectors"], seen[0]["vectors"])

    def test_constant_features_stay_finite(self) -> None:
        score = NearestNeighbours(("flat",), 10, 3)
        flat = Encoding(np.zeros((4, 4, 3), np.uint8), (4, 4), torch.zeros(2, 2, 2), {"flat": torch.ones(3, 2, 2)})
        state = score.state([score.observe(flat, np.zeros((2, 2), np.uint8), np.random.default_rng(0))])
        assert score.score(flat, state).isfinite().all()

    def test_joined_is_on_stride_8(self) -> None:
        image = random_encoding(0)
        grid = joined_taps(image, ("far", "near"))
        assert grid.shape == (8, *SIZE)
        assert torch.equal(grid[3:], image.features["near"])
        assert float(grid[0, 0, 0]) == pytest.approx(float(image.features["far"][0, 0, 0]))
        fine = Encoding(np.zeros((20, 32, 3), np.uint8), (20, 32), torch.zeros(2, 6, 8), {"fine": torch.randn(2, 6, 8)})
        averaged = joined_taps(fine, ("fine",))
        assert averaged.shape == (2, 3, 4)
        torch.testing.assert_close(averaged[:, 1, 2], fine.features["fine"][:, 2:4, 4:6].mean((1, 2)))

    def test_a_coarser_tap_is_resized_to_the_logits(self) -> None:
        score = NearestNeighbours(("far",), 10, 3)
        image = random_encoding(0)
        found = score.score(image, score.state([score.observe(image, LABEL, np.random.default_rng(0))]))
        assert found.shape == SIZE
