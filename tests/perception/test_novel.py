"""What a class is like and what it is not, from its exemplars, against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ignota.perception.features import FeatureSpace
from ignota.perception.novel import (
    MOST,
    OUTSIDE,
    Exemplar,
    class_rows,
    counter_excess,
    counter_regions,
    farthest_points,
)
from ignota.structures import RegionSet

CPU = torch.device("cpu")


def units(count: int, seed: int = 0) -> torch.Tensor:
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


def test_farthest_points_against_a_loop() -> None:
    vectors, first = units(40), torch.tensor([3, 17])
    chosen = first.tolist()
    while len(chosen) < 9:
        nearest = [max(float(vectors[i] @ vectors[c]) for c in chosen) for i in range(40)]
        chosen.append(int(np.argmin(nearest)))
    assert farthest_points(vectors, 9, first).tolist() == chosen


def test_without_a_first_point_it_starts_at_the_one_most_like_the_mean() -> None:
    vectors = units(40)
    found = farthest_points(vectors, 3, torch.zeros(0, dtype=torch.long))
    assert found[0] == (vectors @ vectors.mean(0)).argmax() and len(set(found.tolist())) == 3
    assert farthest_points(vectors[:2], 3, torch.zeros(0, dtype=torch.long)).tolist() == [0, 1]


def test_only_regions_outside_the_mark_are_counter_examples() -> None:
    ids = np.arange(1, 11, dtype=np.int32).repeat(20)[None].repeat(10, 0)  # ten stripes of 200 pixels
    marked = np.zeros(ids.shape, bool)
    marked[:, 60:100] = True  # stripes 4 and 5
    marked[:, 40:41] = True  # a twentieth of stripe 3: still outside
    marked[:, 117:120] = True  # more than a tenth of stripe 6: neither
    found = counter_regions(RegionSet(ids, 10), marked, units(10), torch.tensor([3, 4]))
    assert OUTSIDE == 0.1 and sorted(found.tolist()) == [0, 1, 2, 6, 7, 8, 9]


def test_the_nearest_to_the_class_are_kept_and_the_others_are_spread() -> None:
    count = 3 * MOST
    ids = np.arange(1, count + 1, dtype=np.int32)[None].repeat(2, 0)
    marked = np.zeros(ids.shape, bool)
    marked[:, :2] = True
    vectors = units(count)
    found = counter_regions(RegionSet(ids, count), marked, vectors, torch.tensor([0, 1])).tolist()
    near = (vectors[2:] @ vectors[:2].T).amax(1)
    hardest = (near.argsort(descending=True)[: MOST // 2] + 2).tolist()
    assert len(found) == len(set(found)) == MOST and found[: MOST // 2] == hardest
    drawn = torch.randperm(count - 2, generator=torch.Generator().manual_seed(1))[:MOST] + 2
    worst = [float((vectors[2:] @ vectors[some].T).amax(1).min()) for some in (torch.tensor(found), drawn)]
    assert worst[0] > worst[1]  # nothing in the image is as far from those kept as from some drawn at random
