"""Similarities to known and taught classes, against slow loops."""

from __future__ import annotations

import pytest
import torch

from ignota.perception.features import FeatureSpace, TaughtRows, nearest_similarity, owner_similarity


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def test_owner_similarity_is_the_mean_of_the_largest_cosines_of_each_class() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors, rows = torch.randn(7, 5, generator=generator), torch.randn(6, 5, generator=generator)
    owner = torch.tensor([0, 1, 0, 0, 1, 0])
    found = owner_similarity(vectors, rows, owner, 3, 3)
    for r in range(7):
        for c in range(2):
            best = sorted((cosine(vectors[r], rows[i]) for i in range(6) if owner[i] == c), reverse=True)[:3]
            assert float(found[r, c]) == pytest.approx(sum(best) / len(best), abs=1e-5)
    assert found[:, 2].tolist() == [-1.0] * 7


def test_nearest_similarity() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors, rows = torch.randn(4, 5, generator=generator), torch.randn(6, 5, generator=generator)
    for r, value in enumerate(nearest_similarity(vectors, rows, 2).tolist()):
        best = sorted((cosine(vectors[r], row) for row in rows), reverse=True)[:2]
        assert value == pytest.approx(sum(best) / 2, abs=1e-5)
    assert nearest_similarity(vectors, rows[:0], 2).tolist() == [-1.0] * 4


def test_vectors_are_the_taps_one_under_the_other_standardised_and_of_unit_length() -> None:
    generator = torch.Generator().manual_seed(2)
    near, far = torch.randn(4, 2, generator=generator), torch.randn(4, 3, generator=generator)
    mean, std = torch.randn(5, generator=generator), torch.rand(5, generator=generator) + 0.5
    known, rows = torch.randn(6, 5, generator=generator), torch.randn(3, 5, generator=generator)
    of = torch.tensor([0, 1, 0, 2, 1, 0], dtype=torch.uint8)
    space = FeatureSpace(("near", "far"), mean, std, known, of, 2)
    found = space.embed({"far": far, "near": near})
    for r in range(4):
        raw = [*near[r].tolist(), *far[r].tolist()]
        moved = [(v - m) / s for v, m, s in zip(raw, mean.tolist(), std.tolist(), strict=True)]
        length = sum(v * v for v in moved) ** 0.5
        assert found[r].tolist() == pytest.approx([v / length for v in moved], abs=1e-5)
    torch.testing.assert_close(space.known_similarity(found), nearest_similarity(found, known, 2))
    taught = rows_of(rows, [0, 1, 1])
    nearest, both = (owner_similarity(found, rows, taught.owner, 2, k) for k in (1, 2))
    torch.testing.assert_close(space.taught_similarity(found, taught), torch.stack([nearest[:, 0], both[:, 1]], 1))


def rows_of(
    rows: torch.Tensor, owner: list[int], against: torch.Tensor | None = None, against_owner: list[int] | None = None
) -> TaughtRows:
    """Two classes, of one exemplar and of two, with margin 0."""
    against = rows[:0] if against is None else against
    return TaughtRows(
        rows, torch.tensor(owner), against, torch.tensor(against_owner or [], dtype=torch.long), torch.zeros(2),
        torch.tensor([1, 2]),
    )  # fmt: skip


def test_excess_sets_a_class_against_training_pixels_and_its_own_counter_examples() -> None:
    generator = torch.Generator().manual_seed(5)
    found, known, rows, against = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (5, 7, 6, 4))
    known = known / known.norm(dim=1, keepdim=True)
    space = FeatureSpace(("far",), torch.zeros(4), torch.ones(4), known, torch.zeros(7, dtype=torch.uint8), 2)
    owner, against_owner = [0, 0, 1, 1, 1, 1], [1, 1, 0, 1]
    surprise = torch.rand(5, generator=generator, dtype=torch.float64)
    taught = rows_of(rows, owner, against, against_owner)
    excess = space.excess(found, space.nearest(found), surprise, taught)

    def best(one: torch.Tensor, many: list[torch.Tensor], k: int) -> float:
        cosines = sorted((float(one @ other / one.norm() / other.norm()) for other in many), reverse=True)[:k]
        return sum(cosines) / len(cosines)

    for r in range(5):
        for k in range(2):
            own = best(found[r], [rows[p] for p in range(6) if owner[p] == k], k + 1)  # as many as there are exemplars
            other = best(found[r], [*known, *(against[a] for a in range(4) if against_owner[a] == k)], 2)
            assert float(excess[r, k]) == pytest.approx(own - other + float(surprise[r]) / (k + 1))


def test_a_class_without_any_region_resembles_nothing() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(6)), dim=1)
    space = FeatureSpace(("far",), torch.zeros(4), torch.ones(4), vectors[:0], torch.zeros(0, dtype=torch.uint8), 2)
    taught = rows_of(vectors[:1], [1], vectors[1:2], [1])
    excess = space.excess(vectors, space.nearest(vectors), torch.zeros(3), taught)
    assert excess[:, 0].tolist() == [0.0] * 3  # -1 for the class, -1 for what is not: there is neither
    assert bool(excess.isfinite().all())


def test_regions_that_are_sure_vouch_for_all_but_themselves() -> None:
    generator = torch.Generator().manual_seed(3)
    vectors, known = torch.randn(6, 5, generator=generator), torch.randn(7, 5, generator=generator)
    of = torch.tensor([0, 1, 0, 2, 1, 0, 0], dtype=torch.uint8)
    space = FeatureSpace(("far",), torch.zeros(5), torch.ones(5), known, of, 2)
    sure = torch.tensor([True, False, True, False, False, True])
    for without in (None, 0):
        found = space.vouched_similarity(vectors, sure, space.nearest(vectors, without))
        rows = [known[i] for i in range(7) if without is None or int(of[i]) != without]
        for r in range(6):
            others = [vectors[i] for i in range(6) if bool(sure[i]) and i != r]
            best = sorted((cosine(vectors[r], row) for row in [*rows, *others]), reverse=True)[:2]
            assert float(found[r]) == pytest.approx(sum(best) / 2, abs=1e-5)
    nobody = torch.zeros(6, dtype=torch.bool)
    alone = space.vouched_similarity(vectors, nobody, space.nearest(vectors))
    torch.testing.assert_close(alone, space.known_similarity(vectors))
    few = FeatureSpace(("far",), torch.zeros(5), torch.ones(5), known[:1], of[:1], 2)  # fewer than count
    torch.testing.assert_close(
        few.vouched_similarity(vectors, sure, few.nearest(vectors)), few.known_similarity(vectors)
    )


def test_the_nearest_class_is_that_of_the_nearest_mean() -> None:
    generator = torch.Generator().manual_seed(4)
    vectors, known = torch.randn(4, 5, generator=generator), torch.randn(7, 5, generator=generator)
    of = torch.tensor([0, 3, 0, 2, 3, 0, 0], dtype=torch.uint8)  # class 1 has no pixel
    space = FeatureSpace(("far",), torch.zeros(5), torch.ones(5), known, of, 2)
    for without in (None, 3, 0):
        means = [known[of == c].mean(0) for c in (0, 2, 3) if c != without]
        found = space.class_similarity(vectors, without)
        for r in range(4):
            assert float(found[r]) == pytest.approx(max(cosine(vectors[r], mean) for mean in means), abs=1e-5)
    empty = FeatureSpace(("far",), torch.zeros(5), torch.ones(5), known[:0], of[:0], 2)
    assert empty.class_similarity(vectors).tolist() == [-1.0] * 4
