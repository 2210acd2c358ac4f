"""`seal` and `upgrade`: documents rewritten in place, never half of one."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ignota.exemplars.rows import pack
from ignota.storage import bundle
from ignota.storage.seals import read_json, world_fingerprint
from ignota.storage.upgrading import seal, upgrade
from ignota.structures import InputError

SchemaOne = Callable[[Path], dict[str, Any]]


pytestmark = pytest.mark.slow


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "world"))


@pytest.fixture
def taught_1(folder: Path, photos: list[NDArray[np.uint8]], schema_1: SchemaOne) -> Path:
    """A world of schema 1 with a store of version 2 that was taught a class, renamed and partly undone."""
    world = bundle.load(folder, writable=True)
    mask = np.zeros(photos[0].shape[:2], bool)
    mask[20:50, 30:70] = True
    world.learn("crate", [(photos[0], mask)], force=True, author="ann")
    (row,) = world.store.exemplars()
    (card,) = world.store.cards()
    world.store.close()
    schema_1(folder)
    connection = sqlite3.connect(folder / "exemplars.sqlite", isolation_level=None)
    connection.execute("INSERT INTO class VALUES (1, 'box', '[1, 2, 3]', 0, '2026-01-01')")
    connection.execute(
        "INSERT INTO exemplar VALUES (1, 1, 0, ?, 'a.png', 'mask', 'ann\x1b[2J', '2026-01-01', ?, ?, ?)",
        (card.image_sha256, json.dumps(card.mask), card.thumbnail, pack(row)),
    )
    connection.execute("INSERT INTO history VALUES (1, '2026-01-01', 'ann', 'learn', 'crate', '', 1, NULL)")
    connection.execute("INSERT INTO history VALUES (2, '2026-01-02', 'ann', 'rename', 'crate', 'box', 1, NULL)")
    for change in ("(1, 'class', 1, 'hidden', 1, 0)", "(1, 'exemplar', 1, 'hidden', 1, 0)",
                   "(2, 'class', 1, 'name', 'crate', 'box')"):  # fmt: skip
        connection.execute(f"INSERT INTO change VALUES {change}")
    connection.close()
    return folder


def same(one: Any, other: Any, photo: NDArray[np.uint8]) -> None:
    a, b = one.segment(photo), other.segment(photo)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.anomaly, b.anomaly)


def test_upgrade_keeps_answers_exemplars_and_history(taught_1: Path, photos: list[NDArray[np.uint8]]) -> None:
    before = bundle.load(taught_1)
    mark, history, cards = world_fingerprint(before), before.store.history(), before.store.cards()
    assert [event.action for event in history] == ["learn", "rename"]
    assert cards[0].author == "ann\\x1b[2J"  # what cannot be printed is escaped
    assert upgrade(taught_1)
    after = bundle.load(taught_1, writable=True)
    assert read_json(taught_1 / "world.json")["schema"] == 2
    assert (world_fingerprint(after), after.store.history(), after.store.cards()) == (mark, history, cards)
    same(before, after, photos[1])
    assert after.undo().action == "rename"
    assert after.classes.names[-1] == "crate"
    after.store.close()
    assert {path.name for path in taught_1.iterdir()} == {"world.json", "weights.safetensors", "exemplars.sqlite"}
    assert not upgrade(taught_1)


def test_a_copy_of_a_world_of_schema_1_is_of_schema_2(taught_1: Path, photos: list[NDArray[np.uint8]]) -> None:
    bundle.copy(taught_1, taught_1.parent / "copy")
    assert read_json(taught_1.parent / "copy" / "world.json")["schema"] == 2
    same(bundle.load(taught_1), bundle.load(taught_1.parent / "copy"), photos[1])


@pytest.mark.parametrize(
    "instants", [pytest.param(4, marks=pytest.mark.long), pytest.param(24, marks=pytest.mark.soak)]
)
def test_a_kill_at_any_step_leaves_a_world(
    taught_1: Path, photos: list[NDArray[np.uint8]], tmp_path: Path, instants: int
) -> None:
    before = bundle.load(taught_1)
    script = Path(__file__).with_name("killed_upgrade.py")
    call = [sys.executable, script, taught_1, tmp_path, str(instants)]
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    folders = [Path(line) for line in done.stdout.splitlines()]
    assert len(folders) >= instants, done.stdout
    schemas = set()
    for folder in folders:
        schemas.add(read_json(folder / "world.json")["schema"])
        world = bundle.load(folder)
        same(before, world, photos[1])
        assert world.store.history() == before.store.history()
        world.store.close()
        upgrade(folder)
        assert read_json(folder / "world.json")["schema"] == 2
    assert 1 in schemas


def test_seal_takes_an_edit_that_is_right(folder: Path) -> None:
    document = read_json(folder / "world.json")
    document["recipes"]["light"]["threshold"] = 0.25
    del document["digest"], document["files"]
    (folder / "world.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"`ignota seal {folder}`"):
        bundle.load(folder)
    branches = ("branch-paper.safetensors", "branch-released.safetensors")
    assert seal(folder) == ("weights.safetensors", *branches, "world.json")
    assert bundle.load(folder).known.recipe.threshold == 0.25
    assert seal(folder) == ()


@pytest.mark.parametrize("spoil", [
    lambda folder, document: document["recipes"]["light"].update(threshold="high"),
    lambda folder, document: document["recipes"]["light"].update(taps=["decoder"]),
    lambda folder, document: document["branches"].update(dmlnet={"file": "branch-dmlnet.safetensors", "settings": {}}),
    lambda folder, document: document.update(branches=[1]),
    lambda folder, document: document.update(segmenter=None),
    lambda folder, document: document.update(schema=1),
    lambda folder, document: document.update(schema=[2]),
    lambda folder, document: (folder / "weights.safetensors").write_bytes(b"no tensors"),
])  # fmt: skip
def test_seal_refuses_what_cannot_be_opened_and_writes_nothing(
    folder: Path, spoil: Callable[[Path, dict[str, Any]], object]
) -> None:
    document = read_json(folder / "world.json")
    spoil(folder, document)
    (folder / "world.json").write_text(json.dumps(document))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError):
        seal(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_shipped_worlds_are_neither_sealed_nor_upgraded() -> None:
    for act in (seal, upgrade):
        with pytest.raises(InputError, match="shipped and read-only"):
            act("camvid-11")
