"""NPM, PLM and FT on DMLNet's network, against loops over pixels, shots and classes."""

from __future__ import annotations

import math

import pytest
import torch

from ignota.incremental.methods import Head, Shot
from ignota.incremental.metric_methods import (
    MetricEncoding,
    MetricShot,
    at_size,
    composed_labels,
    latest_labels,
    metric_fine_tuned,
    metric_head_loss,
    metric_pseudo_label_heads,
    novel_prototype,
    novel_scores,
    npm_labels,
)
from ignota.structures import InputError

KNOWN, NOVEL, FEATURES = 3, 2, 8
SIZE = (10, 12)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distance(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def centre(c: int) -> list[float]:
    return [3.0 if i == c else 0.0 for i in range(KNOWN)]


def box(rows: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[:rows] = True
    return mask


class TestPrototypes:
    def test_mean_over_the_mask_then_over_shots(self) -> None:
        shots = [MetricShot(random(KNOWN, *SIZE, seed=i), box(i + 1)) for i in range(3)]
        expected = [0.0] * KNOWN
        for shot in shots:
            pixels = [(y, x) for y in range(SIZE[0]) for x in range(SIZE[1]) if shot.mask[y, x]]
            for c in range(KNOWN):
                expected[c] += sum(float(shot.embedding[c, y, x]) for y, x in pixels) / len(pixels) / 3
        assert novel_prototype(shots).tolist() == pytest.approx(expected, abs=1e-5)

    def test_the_mask_is_read_at_its_own_size(self) -> None:
        """Bilinear between pixel centres: at twice the width the values are 0, ¼, ¾ and 1 of the way."""
        embedding = torch.tensor([[[0.0, 4.0]]])
        for column, expected in enumerate((0.0, 1.0, 3.0, 4.0)):
            mask = torch.zeros(1, 4, dtype=torch.bool)
            mask[0, column] = True
            assert novel_prototype([MetricShot(embedding, mask)]).tolist() == [expected]

    def test_small_shots_count_only_where_there_is_no_large_one(self) -> None:
        size = (20, 20)
        small, large = torch.full((KNOWN, *size), 1.0), torch.full((KNOWN, *size), 5.0)
        one = MetricShot(small, box(1, size))  # 5 % of the image is not more than 5 %
        two = MetricShot(large, box(2, size))
        assert novel_prototype([one, two]).tolist() == [5.0] * KNOWN
        assert novel_prototype([one]).tolist() == [1.0] * KNOWN
        assert novel_prototype([MetricShot(small, box(0, size)), one]).tolist() == [1.0] * KNOWN

    def test_no_pixel_at_all_is_said(self) -> None:
        with pytest.raises(InputError, match="NPM has no prototype"):
            novel_prototype([MetricShot(random(KNOWN, *SIZE, seed=0), box(0))])


class TestNpm:
    @pytest.mark.parametrize("classes", [0, 1, 2])
    def test_against_a_loop(self, classes: int) -> None:
        f = random(KNOWN, 30, 40, seed=5) * 2
        prototypes = torch.tensor([[3.0, 0.8, 0.0], [-1.0, 0.5, 2.0]])[:classes]  # the first lies beside a centre
        found = npm_labels(f, prototypes)
        taken = near = 0
        for y in range(30):
            for x in range(40):
                vector = f[:, y, x].tolist()
                known = [-distance(vector, centre(c)) for c in range(KNOWN)]
                novel = [-distance(vector, row) for row in prototypes.tolist()]
                best = max(novel, default=-math.inf)
                near += best > -1.5
                assigned = best > -1.5 and (classes != 1 or best > max(known))
                taken += assigned
                expected = KNOWN + novel.index(best) if assigned else known.index(max(known))
                assert found[y, x] == expected
        assert (taken > 0) == (classes > 0)
        assert taken < near if classes == 1 else taken == near  # the second condition decides somewhere

    def test_the_score_is_the_negated_squared_distance(self) -> None:
        f, prototypes = random(KNOWN, 2, 3, seed=0), random(2, KNOWN, seed=1)
        for k in range(2):
            for y in range(2):
                for x in range(3):
                    expected = -distance(f[:, y, x].tolist(), prototypes[k].tolist())
                    assert float(novel_scores(f, prototypes)[k, y, x]) == pytest.approx(expected, rel=1e-5)

    def test_at_the_threshold_it_stays_known(self) -> None:
        f = torch.zeros(KNOWN, 1, 1)
        beside = torch.full((1, KNOWN), math.sqrt(0.5))  # a distance of 1.5 in single precision
        assert npm_labels(f, beside * 1.01).item() < KNOWN
        assert npm_labels(f, beside * 0.99).item() == KNOWN


def test_the_loss_of_a_head_against_a_loop() -> None:
    raw, label = random(7, 4, seed=0).double(), torch.arange(7) % 4
    entropy = variance = 0.0
    for row, c in zip(raw.tolist(), label.tolist(), strict=True):
        f = [value / 6 for value in row]
        scores = [-sum((x - (3.0 if i == k else 0.0)) ** 2 for i, x in enumerate(f)) for k in range(4)]
        entropy += math.log(sum(math.exp(score) for score in scores)) - scores[c]
        variance -= scores[c]
    assert float(metric_head_loss(raw, label)) == pytest.approx((entropy + 0.01 * variance) / 7)


CENTRES = torch.eye(KNOWN + NOVEL, FEATURES) * 4


def scene(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of five classes, and the true class of each pixel."""
    truth = torch.randint(0, KNOWN + NOVEL, SIZE, generator=torch.Generator().manual_seed(seed))
    return CENTRES[truth].permute(2, 0, 1) + random(FEATURES, *SIZE, seed=seed) * 0.3, truth


def shots(each: int = 2) -> list[Shot]:
    found = []
    for owner in range(NOVEL):
        for i in range(each):
            features, truth = scene(10 * owner + i)
            found.append(Shot(features, torch.where(truth < KNOWN, truth, 0), truth == KNOWN + owner, owner))
    return found


def encoded(seed: int) -> tuple[MetricEncoding, torch.Tensor]:
    features, truth = scene(seed)
    base = torch.nn.functional.one_hot(torch.where(truth < KNOWN, truth, 0), KNOWN).permute(2, 0, 1) * 3.0
    return MetricEncoding(base, features, SIZE), truth


def test_pseudo_labels_keep_what_was_known() -> None:
    heads = metric_pseudo_label_heads(shots(), KNOWN, NOVEL)
    assert [len(head.bias) for head in heads] == [KNOWN + 1, KNOWN + 2]
    encoding, truth = encoded(99)
    for found in (latest_labels(heads, encoding), composed_labels(heads, encoding)):
        assert (found == truth).float().mean() > 0.7


def test_without_pseudo_labels_the_last_class_is_all_that_is_left() -> None:
    encoding, _ = encoded(99)
    found = latest_labels([metric_fine_tuned(shots(), KNOWN, NOVEL)], encoding)
    assert (found == KNOWN + NOVEL - 1).float().mean() > 0.7


def test_composition_at_full_resolution_against_a_loop() -> None:
    heads = [Head(random(KNOWN + t + 1, FEATURES, seed=t), random(KNOWN + t + 1, seed=9 + t)) for t in range(NOVEL)]
    encoding = MetricEncoding(random(KNOWN, 5, 6, seed=1), random(FEATURES, 4, 3, seed=2), SIZE)
    base = at_size(encoding.embedding, SIZE)
    outputs = [at_size(head.outputs(encoding.features), SIZE) for head in heads]
    found, latest = composed_labels(heads, encoding), latest_labels(heads, encoding)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            expected = int(base[:, y, x].argmax())
            for t, grid in enumerate(outputs):
                if int(grid[:, y, x].argmax()) == KNOWN + t:
                    expected = KNOWN + t
            assert found[y, x] == expected
            assert latest[y, x] == int(outputs[-1][:, y, x].argmax())
    assert len(found.unique()) > 3
