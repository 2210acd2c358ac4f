"""Seeded damage to every file of a world: exit 2 with one line, or the very same output; never anything else."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ignota.cli import main
from ignota.exemplars.rows import COLUMNS
from ignota.storage import bundle
from ignota.storage.seals import sealed

HOSTILE = (
    None, True, False, -1, 0, 1, 2, 10**30, -(10**9), 1e308, -1e308, 1e-320, 0.5, "", "x", "a\x1b[31m", "../weights",
    "hf-hub:a/b", "local-dir:/tmp", "http://127.0.0.1:9/x", "/etc/passwd", "tf_efficientnet_lite1", [], {}, [0], [[]],
    ["decoder"], {"a": 1}, [1e308] * 3, [0.0, 0.0, 0.0], 65536, 300, "\ud800", "decoder", "paper",
)  # fmt: skip
_LIMIT = 120
"""Seconds after which a call counts as hanging."""

Run = Callable[[Path], tuple[int, str, dict[str, bytes]]]


@pytest.fixture
def run(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """`segment` on a small photo: exit code, standard error, and what it wrote."""

    def expired(*_: object) -> None:
        raise AssertionError(f"a call took more than {_LIMIT} seconds")

    def call(world: Path) -> tuple[int, str, dict[str, bytes]]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        capsys.readouterr()
        signal.alarm(_LIMIT)
        code = main(["segment", str(photo), "--world", str(world), "--out", str(out), "--size", "64", "--quiet"])
        signal.alarm(0)
        written = {path.name: path.read_bytes() for path in sorted(out.glob("*"))}
        return code, capsys.readouterr().err, written

    previous = signal.signal(signal.SIGALRM, expired)
    yield call
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def taught(source: str | Path, folder: Path, photo: Path, mask: Path) -> Path:
    """A copy of a world that was taught a class, so that its store holds rows of every kind."""
    bundle.copy(source, folder)
    words = ["--image", str(photo), "--mask", str(mask), "--world", str(folder), "--size", "64", "--force", "--quiet"]
    for name in ("crate", "boat"):
        assert main(["learn", name, *words]) == 0
    assert main(["rename", "boat", "ship", "--world", str(folder), "--quiet"]) == 0
    assert main(["forget", "ship", "--world", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def tiny_world(trained: Path, tmp_path: Path, photo: Path, mask: Path) -> Path:
    return taught(trained, tmp_path / "w", photo, mask)


@pytest.fixture
def shipped_world(tmp_path: Path, photo: Path, mask: Path) -> Path:
    return taught("camvid-8+3", tmp_path / "w", photo, mask)


def changed_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """One fault of a disk or a cable, somewhere; near the start half of the time, where formats have their headers."""
    reach = min(len(data), 4000) if rng.random() < 0.5 else len(data)
    at, length = int(rng.integers(reach)), int(rng.integers(1, 64))
    kind = int(rng.integers(6))
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + data[at + length :]
    if kind == 3:
        return data[:at] + rng.bytes(length) + data[at:]
    if kind == 4:
        return data[:at] + bytes(length) + data[at + length :]
    return data[:at] + rng.bytes(length) + data[at + length :]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value of a document, but for what no one reads back: provenance and results below."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, child in inner:
        found += [(*path, key)] if key in ("provenance", "results", "digest") else places(child, (*path, key))
    return found


def changed_value(document: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """One value replaced by a hostile one, dropped, or joined by one that does not belong there."""
    spoilt = copy.deepcopy(document)
    every = places(spoilt)
    *way, last = every[int(rng.integers(len(every)))]
    parent: Any = spoilt
    for key in way:
        parent = parent[key]
    kind = rng.random()
    if kind < 0.15:
        del parent[last]
    elif kind < 0.2 and isinstance(parent, dict):
        parent[f"{last}x"] = parent[last]
    elif kind < 0.4 and type(parent[last]) in (int, float):
        parent[last] = type(parent[last])(parent[last] * float(rng.choice([-1, 1.5, 10, 1e6])))
    else:
        parent[last] = HOSTILE[int(rng.integers(len(HOSTILE)))]
    return spoilt


def changed_rows(store: Path, rng: np.random.Generator) -> None:
    """One cell of a store written by another program, or a table, view or trigger that does not belong there."""
    connection = sqlite3.connect(store, isolation_level=None)
    tables = [table for table in COLUMNS if connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]]
    table = tables[int(rng.integers(len(tables)))]
    (key,) = connection.execute(f"SELECT id FROM {table} ORDER BY random() LIMIT 1").fetchone()
    column = str(rng.choice([*COLUMNS[table], "seal"]))
    statements = [
        (f"UPDATE {table} SET {column} = ? WHERE id = ?", (HOSTILE[int(rng.integers(5, 20))], key)),
        (f"DELETE FROM {table} WHERE id = ?", (key,)),
        ("CREATE TRIGGER t AFTER INSERT ON history BEGIN DELETE FROM class; END", ()),
        ("CREATE VIEW v AS SELECT * FROM class", ()),
        ("CREATE TABLE more (id INTEGER)", ()),
        ("DROP INDEX exemplar_class", ()),
        ("DELETE FROM seal", ()),
        (f"PRAGMA user_version = {int(rng.choice([0, 1, 2, 4, 99]))}", ()),
        ("ALTER TABLE class ADD COLUMN more TEXT", ()),
    ]
    chosen = 0 if rng.random() < 0.6 else int(rng.integers(1, len(statements)))
    try:
        connection.execute(*statements[chosen])
    except (sqlite3.Error, OverflowError):  # the value does not fit the column: another fault will do
        connection.execute("CREATE TABLE more (id INTEGER)")
    connection.close()


def check(world: Path, run: Run, spoil: Callable[[np.random.Generator], object], number: int, same: bool) -> Counter:
    """Spoils the world `number` times and looks what a call makes of it; same: an answer must be the old one."""
    whole = {path.name: path.read_bytes() for path in world.iterdir()}
    code, error, before = run(world)
    assert (code, error) == (0, "") and before
    told: Counter[str] = Counter()
    for seed in range(number):
        spoil(np.random.default_rng([15, seed]))
        code, error, written = run(world)
        if code == 0:
            assert error == "", (seed, error)
            assert not same or written == before, seed
            told["same" if written == before else "other"] += 1
        else:
            assert code == 2 and error.count("\n") == 1 and error.startswith("ignota: "), (seed, code, error)
            assert "Traceback" not in error and len(error) < 700, (seed, error)
            assert not written, seed
            told["refused"] += 1
        for path in world.iterdir():
            if path.name not in whole:
                path.unlink()
        for name, content in whole.items():
            (world / name).write_bytes(content)
    return told


def document_spoiler(world: Path, reseal: bool = False) -> Callable[[np.random.Generator], object]:
    """Mutates bytes or values of world.json; reseal: values alone, under a digest that is right."""
    file = world / "world.json"
    data = file.read_bytes()

    def spoil(rng: np.random.Generator) -> None:
        if not reseal and rng.random() < 0.5:
            file.write_bytes(changed_bytes(data, rng))
            return
        spoilt = changed_value(json.loads(data), rng)
        if reseal:
            try:
                spoilt = sealed(spoilt, world)
            except (ValueError, TypeError, KeyError, AttributeError, OSError):  # nothing can be sealed
                spoilt.pop("digest", None)
        file.write_text(json.dumps(spoilt, ensure_ascii=True))

    return spoil


def file_spoiler(file: Path) -> Callable[[np.random.Generator], object]:
    data = file.read_bytes()
    return lambda rng: file.write_bytes(changed_bytes(data, rng))


def store_spoiler(file: Path) -> Callable[[np.random.Generator], object]:
    data = file.read_bytes()
    return lambda rng: file.write_bytes(changed_bytes(data, rng)) if rng.random() < 0.5 else changed_rows(file, rng)


SPOILERS: dict[str, Callable[[Path], Callable[[np.random.Generator], object]]] = {
    "document": document_spoiler,
    "tensors": lambda world: file_spoiler(world / "weights.safetensors"),
    "store": lambda world: store_spoiler(world / "exemplars.sqlite"),
    "resealed document": lambda world: document_spoiler(world, reseal=True),
}


@pytest.mark.parametrize("kind", SPOILERS)
def test_a_few_mutations(kind: str, tiny_world: Path, run: Run) -> None:
    told = check(tiny_world, run, SPOILERS[kind](tiny_world), 6, same=kind != "resealed document")
    assert told["refused"] >= 2, told


@pytest.mark.parametrize("number", [pytest.param(8, marks=pytest.mark.long), pytest.param(60, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", SPOILERS)
def test_many_mutations_of_a_shipped_world(kind: str, number: int, shipped_world: Path, run: Run) -> None:
    told = check(shipped_world, run, SPOILERS[kind](shipped_world), number, same=kind != "resealed document")
    assert told["refused"] > 0.4 * number, told


def test_mutations_of_a_document_of_schema_1(
    tiny_world: Path, run: Run, schema_1: Callable[[Path], dict[str, Any]]
) -> None:
    """It has no seals, so that only what the values may be protects it."""
    schema_1(tiny_world)
    told = check(tiny_world, run, document_spoiler(tiny_world), 6, same=False)
    assert told["refused"] >= 2, told


@pytest.mark.soak
def test_many_mutations_of_a_document_of_schema_1(
    shipped_world: Path, run: Run, schema_1: Callable[[Path], dict[str, Any]]
) -> None:
    schema_1(shipped_world)
    told = check(shipped_world, run, document_spoiler(shipped_world), 40, same=False)
    assert told["refused"] > 10, told
