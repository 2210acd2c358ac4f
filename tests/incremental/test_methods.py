from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional.prototypes import assign_novel, novel_similarity
from ignota.incremental.methods import by_margin, novel_prototype_method


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
