from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional.prototypes import assign_novel, novel_similarity
from ignota.incremental.methods import (
    Head,
    Shot,
    by_margin,
    every_head,
    fine_tuned,
    novel_prototype_method,
    pseudo_label_heads,
    trained_head,
)
from ignota.structures import InputError

KNOWN, NOVEL, FEATURES = 3, 2, 8
SIZE = (10, 12)
CENTRES = torch.eye(KNOWN + NOVEL, FEATURES) * 4


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return dot / lengths if lengths else 0.0


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestByThreshold:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1000), st.floats(-0.5, 0.9), st.booleans())
    def test_against_a_loop(self, seed: int, theta: float, inclusive: bool) -> None:
        """Equations 11 and 12."""
        embeddings, prototypes = random(9, 4, seed=seed), random(3, 4, seed=seed + 1)
        found = assign_novel(novel_similarity(embeddings, prototypes), theta, inclusive)
        for r, row in enumerate(embeddings.tolist()):
            similarity = [cosine(row, prototype) for prototype in prototypes.tolist()]
            best = max(similarity)
            if abs(best - theta) > 1e-5:
                assert found[r] == (similarity.index(best) if best > theta else -1)

    def test_at_the_threshold_only_the_released_code_accepts(self) -> None:
        embeddings, prototypes = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0], [0.0, -1.0]])
        theta = float(torch.nn.functional.normalize(embeddings, dim=1)[0, 1])
        assert assign_novel(novel_similarity(embeddings, prototypes), theta, inclusive=True).tolist() == [0]
        assert assign_novel(novel_similarity(embeddings, prototypes), theta, inclusive=False).tolist() == [-1]

    def test_nothing_taught_or_nothing_to_see(self) -> None:
        assert assign_novel(novel_similarity(random(2, 3, seed=0), torch.zeros(0, 3)), 0.1, True).tolist() == [-1, -1]
        assert assign_novel(novel_similarity(torch.zeros(0, 3), random(2, 3, seed=0)), 0.1, True).shape == (0,)


class TestByMargin:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1000))
    def test_against_a_loop(self, seed: int) -> None:
        excess, margin = random(8, 3, seed=seed), random(3, seed=seed + 2) / 2
        found = by_margin(excess, margin)
        for r in range(8):
            passing = [k for k in range(3) if excess[r, k] > margin[k]]
            assert found[r] == max(passing, key=lambda k: float(excess[r, k]) - max(0, float(margin[k])), default=-1)

    def test_a_margin_below_0_is_no_lead_over_other_taught_classes(self) -> None:
        margin = torch.tensor([0.0, -0.5])
        assert by_margin(torch.tensor([[0.3, 0.2], [-0.1, -0.3], [0.1, 0.2]]), margin).tolist() == [0, 1, 1]

    def test_at_the_margin_it_stays_known(self) -> None:
        assert by_margin(torch.tensor([[0.25]]), torch.tensor([0.25])).tolist() == [-1]

    def test_nothing_taught(self) -> None:
        found = by_margin(torch.zeros(4, 0), torch.zeros(0))
        assert found.tolist() == [-1] * 4
        assert found.dtype == torch.int64


class TestNovelPrototypeMethod:
    @pytest.mark.parametrize("seed", range(3))
    def test_against_a_loop(self, seed: int) -> None:
        features, known, novel = random(5, 4, 6, seed=seed), random(3, 5, seed=seed + 10), random(2, 5, seed=seed + 20)
        found = novel_prototype_method(features, known, novel)
        assert found.shape == (4, 6)
        for y in range(4):
            for x in range(6):
                vector = features[:, y, x].tolist()
                old = max(cosine(vector, row) for row in known.tolist())
                new = [cosine(vector, row) for row in novel.tolist()]
                assert found[y, x] == (new.index(max(new)) if max(new) > old else -1)
        assert 0 < (found >= 0).sum() < 24

    def test_nothing_taught(self) -> None:
        found = novel_prototype_method(random(5, 2, 3, seed=0), random(3, 5, seed=1), torch.zeros(0, 5))
        assert found.tolist() == [[-1] * 3] * 2


def scene(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of five classes, and the true class of each pixel."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, KNOWN + NOVEL, SIZE, generator=generator)
    noise = torch.randn(FEATURES, *SIZE, generator=generator) * 0.3
    return CENTRES[truth].permute(2, 0, 1) + noise, truth


def shots(each: int = 2) -> list[Shot]:
    found = []
    for owner in range(NOVEL):
        for i in range(each):
            features, truth = scene(10 * owner + i)
            closed = torch.where(truth < KNOWN, truth, 0)  # the closed set takes the unknown for class 0
            found.append(Shot(features, closed, truth == KNOWN + owner, owner))
    return found


def test_fine_tuning_forgets_everything() -> None:
    head = fine_tuned(shots(), KNOWN, NOVEL)
    features, truth = scene(99)
    found = head.labels(features)
    assert (found >= KNOWN)[truth < KNOWN].float().mean() > 0.9
    assert (found == truth)[truth >= KNOWN].float().mean() > 0.95


def test_pseudo_labels_keep_what_was_known() -> None:
    heads = pseudo_label_heads(shots(), KNOWN, NOVEL)
    assert [len(head.bias) for head in heads] == [KNOWN + 1, KNOWN + 2]
    features, truth = scene(99)
    closed = torch.where(truth < KNOWN, truth, 0)
    for found in (heads[-1].labels(features), every_head(heads, features, closed, KNOWN)):
        assert (found == truth).float().mean() > 0.95
    first = heads[0].labels(features)
    assert (first == 0)[truth == KNOWN + 1].float().mean() > 0.9  # the first head has never heard of the second class


def test_pseudo_labels_are_those_of_closed_set_and_earlier_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[torch.Tensor] = []

    def keep(features, targets, classes, seed, loss):
        given.extend(targets)
        weight = torch.zeros(classes, FEATURES)
        weight[KNOWN, KNOWN] = 1.0  # says class KNOWN where its feature is large, else class 0
        return Head(weight, torch.tensor([2.0] + [0.0] * (classes - 1)))

    monkeypatch.setattr("ignota.incremental.methods.trained_head", keep)
    pseudo_label_heads(shots(1), KNOWN, NOVEL)
    for t, seed in ((0, 0), (1, 10)):
        _, truth = scene(seed)
        expected = torch.where(truth <= KNOWN + t, truth, 0)
        assert torch.equal(given[t], expected)


def test_composition_by_hand() -> None:
    closed = torch.tensor([[0, 1, 2, 2]])
    features = torch.tensor([[[0.0, 1, 1, 0]], [[0.0, 0, 1, 1]]])
    first = Head(torch.tensor([[0.0, 0], [0, 0], [0, 0], [1, 0]]), torch.tensor([0.5, 0, 0, 0]))
    second = Head(torch.tensor([[0.0, 0], [0, 0], [0, 0], [0, 0], [0, 1]]), torch.tensor([0, 0.5, 0, 0, 0]))
    assert every_head([first, second], features, closed, 3).tolist() == [[0, 3, 4, 4]]
    assert every_head([first], features, closed, 3).tolist() == [[0, 3, 3, 2]]
    assert every_head([], features, closed, 3).tolist() == closed.tolist()


def test_the_same_seed_gives_the_same_head() -> None:
    features, truth = scene(1)
    a, b, c = (trained_head([features], [truth], 5, seed) for seed in (0, 0, 1))
    assert torch.equal(a.weight, b.weight)
    assert not torch.equal(a.weight, c.weight)
    nothing = trained_head([features], [torch.full(SIZE, 255)], 5, 0)
    assert nothing.weight.isfinite().all()


def test_features_of_inference_will_do() -> None:
    with torch.inference_mode():
        features, truth = scene(1)
        features = features * 1.0
    assert trained_head([features], [truth.clone()], 5, 0).weight.isfinite().all()


def test_every_class_needs_a_shot() -> None:
    with pytest.raises(InputError, match="no shot of novel class 1"):
        pseudo_label_heads(shots()[:2], KNOWN, NOVEL)
