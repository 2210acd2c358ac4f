"""Similarities to taught classes, against slow loops, and the exemplar store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import torch

from ignota.structures import InputError
from ignota.world.exemplars import ExemplarRow, ExemplarStore, create
from ignota.world.novel import Exemplar
from ignota.world.spaces import nearest_similarity, owner_similarity


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


def row(name: str, value: float) -> ExemplarRow:
    exemplar = Exemplar(name, {"decoder": torch.full((1, 3), value)}, {"decoder": torch.zeros(0, 3)}, {})
    return ExemplarRow(exemplar, "0" * 64, "mask")


def store(tmp_path: Path) -> ExemplarStore:
    connection = sqlite3.connect(tmp_path / "exemplars.sqlite", isolation_level=None)
    create(connection)
    connection.close()
    return ExemplarStore(tmp_path / "exemplars.sqlite")


def test_rows_come_back_and_go(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.add("moose", (1, 2, 3), [row("moose", 1.0), row("moose", 2.0)])
    two = ExemplarStore(tmp_path / "exemplars.sqlite", writable=False)
    assert [(c.name, c.colour, c.exemplars) for c in two.classes()] == [("moose", (1, 2, 3), 2)]
    assert [float(e.whole["decoder"][0, 0]) for e in two.exemplars()] == [1.0, 2.0]
    one.remove("moose")
    assert two.classes() == () and two.exemplars() == ()
    with pytest.raises(KeyError):
        one.remove("moose")


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    one = store(tmp_path)
    broken = ExemplarRow(row("boat", 1.0).exemplar, None, "mask")
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        one.add("boat", (1, 2, 3), [row("boat", 1.0), broken])
    assert one.classes() == ()


def test_a_read_only_store_says_how_to_get_a_copy(tmp_path: Path) -> None:
    store(tmp_path).close()
    with pytest.raises(InputError, match="ignota init"):
        ExemplarStore(tmp_path / "exemplars.sqlite", writable=False).add("boat", (1, 2, 3), [row("boat", 1.0)])
