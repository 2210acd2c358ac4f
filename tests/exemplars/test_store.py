"""The exemplar store: what is written, undone, migrated, shared between processes, and what a kill leaves."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ignota.exemplars.migrations import VERSION, create
from ignota.exemplars.rows import pack
from ignota.exemplars.store import ExemplarRow, ExemplarStore
from ignota.formats.rle import encode_rle
from ignota.perception.novel import Exemplar
from ignota.structures import InputError


def row(name: str, value: float) -> ExemplarRow:
    exemplar = Exemplar(name, {"decoder": torch.full((1, 3), value)}, {"decoder": torch.zeros(0, 3)}, {})
    return ExemplarRow(exemplar, "0" * 64, "box", "a.jpg", encode_rle(np.eye(3, dtype=bool)), b"jpeg")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    connection = sqlite3.connect(tmp_path / "exemplars.sqlite", isolation_level=None)
    create(connection)
    connection.close()
    return tmp_path / "exemplars.sqlite"


@pytest.fixture
def store(path: Path) -> ExemplarStore:
    return ExemplarStore(path)


def shown(store: ExemplarStore) -> list[tuple[str, tuple[int, int, int], list[float]]]:
    """Everything that a world reads of a store."""
    values = [(e.name, float(e.whole["decoder"][0, 0])) for e in store.exemplars()]
    return [(c.name, c.colour, [v for name, v in values if name == c.name]) for c in store.classes()]


def test_rows_come_back_and_go(store: ExemplarStore, path: Path) -> None:
    store.add("moose", (1, 2, 3), [row("moose", 1.0), row("moose", 2.0)], "ann")
    two = ExemplarStore(path, writable=False)
    assert shown(two) == [("moose", (1, 2, 3), [1.0, 2.0])]
    card = two.cards("moose")[1]
    assert (card.source, card.given, card.author, card.thumbnail) == ("a.jpg", "box", "ann", b"jpeg")
    assert card.mask == encode_rle(np.eye(3, dtype=bool))
    assert two.cards("boat") == ()
    store.remove("moose")
    assert shown(two) == []
    with pytest.raises(InputError, match="no taught class 'moose'"):
        store.remove("moose")


def test_every_action_is_undone_to_what_was_before(store: ExemplarStore) -> None:
    states = [shown(store)]
    for act in (
        lambda: store.add("moose", (1, 2, 3), [row("moose", 1.0)]),
        lambda: store.add("boat", (4, 5, 6), [row("boat", 2.0), row("boat", 3.0)]),
        lambda: store.add("moose", (9, 9, 9), [row("moose", 4.0)]),
        lambda: store.rename("boat", "ship"),
        lambda: store.recolour("ship", (7, 8, 9)),
        lambda: store.merge("ship", "moose"),
        lambda: store.remove("moose"),
        lambda: store.add("moose", (0, 0, 0), [row("moose", 5.0)]),
    ):
        act()
        states.append(shown(store))
    assert states[6] == [("moose", (1, 2, 3), [1.0, 2.0, 3.0, 4.0])]
    assert states[7] == []
    for before in reversed(states[:-1]):
        store.undo()
        assert shown(store) == before
    with pytest.raises(InputError, match="nothing to undo"):
        store.undo()
    events = store.history()
    assert [e.action for e in events] == [
        "learn",
        "learn",
        "learn",
        "rename",
        "recolour",
        "merge",
        "forget",
        "learn",
    ] + ["undo"] * 8
    assert [e.undone_by for e in events[:8]] == [16, 15, 14, 13, 12, 11, 10, 9]


def test_an_older_event_is_undone_unless_a_later_one_rests_on_it(store: ExemplarStore) -> None:
    first = store.add("moose", (1, 2, 3), [row("moose", 1.0)])
    second = store.add("boat", (4, 5, 6), [row("boat", 2.0)])
    third = store.add("moose", (1, 2, 3), [row("moose", 3.0)])
    with pytest.raises(InputError, match=rf"event {third} \(learn 'moose'\) rests on event {first}"):
        store.undo(first)
    store.undo(second)
    assert shown(store) == [("moose", (1, 2, 3), [1.0, 3.0])]
    store.undo(third)
    store.undo(first)
    assert shown(store) == []
    for key in (first, 99):
        with pytest.raises(InputError, match=f"no event {key} that can be undone"):
            store.undo(key)


def test_a_forgotten_name_that_was_taken_again(store: ExemplarStore) -> None:
    store.add("moose", (1, 2, 3), [row("moose", 1.0)])
    gone = store.remove("moose")
    store.add("moose", (4, 5, 6), [row("moose", 2.0)])
    before = shown(store)
    with pytest.raises(InputError, match="has that name now"):
        store.undo(gone)
    assert shown(store) == before
    store.rename("moose", "elk")
    store.undo(gone)
    assert [c.name for c in store.classes()] == ["moose", "elk"]


def test_a_failed_transaction_leaves_nothing(store: ExemplarStore) -> None:
    broken = ExemplarRow(row("boat", 1.0).exemplar, None, "mask")  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        store.add("boat", (1, 2, 3), [row("boat", 1.0), broken])
    assert store.classes() == () and store.history() == () and store.state() == 0


@pytest.mark.parametrize(("shipped", "remedy"), [(True, "ignota init"), (False, "open it with writable=True")])
def test_a_read_only_store_says_how_to_teach(path: Path, shipped: bool, remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        ExemplarStore(path, writable=False, immutable=shipped).add("boat", (1, 2, 3), [row("boat", 1.0)])


VERSION_1 = """
CREATE TABLE class (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, colour TEXT NOT NULL, taught_at TEXT NOT NULL);
CREATE TABLE exemplar (id INTEGER PRIMARY KEY, class INTEGER NOT NULL REFERENCES class(id) ON DELETE CASCADE,
  image_sha256 TEXT NOT NULL, source TEXT NOT NULL, tensors BLOB NOT NULL);
CREATE TABLE history (id INTEGER PRIMARY KEY, at TEXT NOT NULL, action TEXT NOT NULL, class TEXT NOT NULL,
  exemplars INTEGER NOT NULL);
INSERT INTO class VALUES (4, 'moose', '[1, 2, 3]', '2026-01-01');
INSERT INTO history VALUES (7, '2026-01-01', 'learn', 'moose', 1);
PRAGMA user_version = 1;
"""


@pytest.mark.parametrize("writable", [True, False])
def test_a_store_of_version_1_is_read_and_brought_forward(tmp_path: Path, writable: bool) -> None:
    path = tmp_path / "exemplars.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.execute("INSERT INTO exemplar VALUES (9, 4, 'abc', 'mask', ?)", (pack(row("", 6.0).exemplar),))
    connection.commit()
    connection.close()
    store = ExemplarStore(path, writable=writable)
    assert shown(store) == [("moose", (1, 2, 3), [6.0])]
    assert [(e.key, e.action) for e in store.history()] == [(7, "learn")]
    assert store.cards()[0].given == "mask"
    with pytest.raises(InputError, match="nothing to undo" if writable else "open it with writable=True"):
        store.undo()
    if writable:
        store.add("moose", (1, 2, 3), [row("moose", 7.0)])
        store.undo()
        assert store._connection.execute("PRAGMA foreign_key_check").fetchall() == []
    store.close()
    stored = sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0]
    assert stored == (VERSION if writable else 1)


def test_a_store_of_the_future_is_refused(path: Path) -> None:
    sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close()
    with pytest.raises(InputError, match="schema version 99"):
        ExemplarStore(path)


def test_two_stores_on_one_file_see_each_other(store: ExemplarStore, path: Path) -> None:
    other = ExemplarStore(path)
    before = other.state()
    store.add("moose", (1, 2, 3), [row("moose", 1.0)])
    assert other.state() > before
    other.add("boat", (4, 5, 6), [row("boat", 2.0)])
    assert [name for name, _, _ in shown(store)] == ["moose", "boat"]
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        other._connection.execute("UPDATE exemplar SET class = 77")


EXPECTED = {
    (): [],
    ("learn",): [("moose", [1.0, 2.0])],
    ("learn", "learn2"): [("moose", [1.0, 2.0]), ("boat", [3.0])],
    ("learn", "learn2", "merge"): [("moose", [1.0, 2.0, 3.0])],
    ("learn", "learn2", "merge", "undo"): [("moose", [1.0, 2.0]), ("boat", [3.0])],
    ("learn", "learn2", "merge", "undo", "forget"): [("boat", [3.0])],
}


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.long)])
def test_a_kill_before_any_statement_loses_nothing_acknowledged(tmp_path: Path, stride: int) -> None:
    writer = Path(__file__).with_name("killed_writer.py")
    done = subprocess.run(
        [sys.executable, writer, tmp_path, str(stride)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    lines = done.stdout.splitlines()
    assert len(lines) * stride > 40, done.stdout  # one for each statement of the five steps, or each fifth
    steps = list(EXPECTED)
    for line in lines:
        number, *told = line.split()
        acknowledged = tuple(word for word in told if word != "end")
        store = ExemplarStore(tmp_path / f"{number}.sqlite")
        found = [(name, values) for name, _, values in shown(store)]
        at = steps.index(acknowledged)
        # a step that was committed but not yet acknowledged may be there, whole
        assert found in [EXPECTED[step] for step in steps[at : at + 2]], line
        assert store._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store.close()
