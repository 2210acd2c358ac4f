"""FT and PLM on features whose classes are apart, so that what each must learn is known."""

from __future__ import annotations

import pytest
import torch

from ignota.incremental.heads import Head, Shot, every_head, fine_tuned, pseudo_label_heads, trained_head
from ignota.structures import InputError

KNOWN, NOVEL, FEATURES = 3, 2, 8
SIZE = (10, 12)
CENTRES = torch.eye(KNOWN + NOVEL, FEATURES) * 4


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

    monkeypatch.setattr("ignota.incremental.heads.trained_head", keep)
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
