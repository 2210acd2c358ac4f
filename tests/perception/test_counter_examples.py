"""Which regions outside a mark are stored as counter-examples."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ignota.perception.counter_examples import MOST, OUTSIDE, counter_regions, farthest_points
from ignota.structures import RegionSet


def units(count: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), dim=1)


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
