"""What a class is like and what it is not, from its exemplars, against slow loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ignota.perception.features import FeatureSpace
from ignota.perception.novel import Exemplar, class_rows, counter_excess

CPU = torch.device("cpu")


def units(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), dim=1)


def space(known: torch.Tensor) -> FeatureSpace:
    return FeatureSpace(("t",), torch.zeros(6), torch.ones(6), known, torch.zeros(len(known), dtype=torch.uint8), 2)


def shown(parts: torch.Tensor, whole: torch.Tensor, against: torch.Tensor) -> Exemplar:
    return Exemplar("a", {"t": whole}, {"t": parts}, {}, {"t": against.half()})


def test_a_counter_example_is_judged_by_the_others() -> None:
    known, rows, against = units(7, 0), units(4, 1), units(5, 2)
    for shots in (1, 5):
        found = counter_excess(space(known), rows, against, shots)
        check(found, known, rows, against, min(shots, 2))
    assert counter_excess(space(known), rows, against[:0], 1).shape == (0,)
    assert counter_excess(space(known), rows[:0], against, 1).shape == (0,)


def check(found: torch.Tensor, known: torch.Tensor, rows: torch.Tensor, against: torch.Tensor, counted: int) -> None:
    for a in range(5):
        like = sum(sorted((float(against[a] @ row) for row in rows), reverse=True)[:counted]) / counted
        others = [*known, *(against[b] for b in range(5) if b != a)]
        best = sorted((float(against[a] @ other) for other in others), reverse=True)[:2]
        assert float(found[a]) == pytest.approx(like - sum(best) / 2, abs=1e-5)


def test_an_example_stands_against_another_ones_surroundings() -> None:
    vectors = units(8, 3)
    first = shown(vectors[:1], vectors[1:2], vectors[4:7])
    second = shown(vectors[4:5], vectors[5:6], vectors[7:8])
    rows, against = class_rows(space(units(5, 4)), [first, second], CPU)
    torch.testing.assert_close(rows, vectors[[0, 1, 4, 5]])
    torch.testing.assert_close(against, vectors[[6, 7]], atol=1e-3, rtol=0)  # stored in half precision


def test_a_negative_mark_stands_against_the_examples_before_it_alone() -> None:
    vectors = units(8, 5)
    wrong = Exemplar("a", {}, {}, {}, {"t": vectors[:1].half()})
    example = shown(vectors[:2], vectors[2:3], vectors[5:6])
    rows, against = class_rows(space(units(5, 6)), [example, wrong], CPU)
    torch.testing.assert_close(rows, vectors[[1, 2]])
    assert len(against) == 2
    rows, against = class_rows(space(units(5, 6)), [example, wrong, example], CPU)
    assert len(rows) == 5  # shown again, it is an example again
    torch.testing.assert_close(against, vectors[[5, 5]], atol=1e-3, rtol=0)
