"""Opening a store: damage, other tables, read-only places, full disks; and what may be written into it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ignota.exemplars import store_files
from ignota.exemplars.migrations import create
from ignota.exemplars.rows import seal_open_rows
from ignota.exemplars.store import ExemplarRow, ExemplarStore
from ignota.perception.novel import Exemplar
from ignota.structures import InputError
from ignota.taxonomy import MAX_CLASSES, RESERVED_NAMES


def row(value: float = 1.0) -> ExemplarRow:
    exemplar = Exemplar("", {"decoder": torch.full((1, 3), value)}, {"decoder": torch.zeros(0, 3)}, {})
    return ExemplarRow(exemplar, "0" * 64, "box", "a.jpg")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_store(tmp_path_factory.mktemp("ready"))


@pytest.fixture
def path(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(ready, tmp_path))


def new_store(folder: Path) -> Path:
    path = folder / "exemplars.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    create(connection)
    connection.close()
    store = ExemplarStore(path)
    store.add("moose", (1, 2, 3), [row(), row(2.0)], "ann")
    store.rename("moose", "elk")
    store.close()
    return path


STATEMENTS = {
    "a cell": "UPDATE exemplar SET given = 'click'",
    "a colour": "UPDATE class SET colour = '[0, 0, 0]'",
    "a seal": "UPDATE history SET seal = x'00'",
    "a row less": "DELETE FROM exemplar WHERE id = 2",
    "no rows": "DELETE FROM change",
    "a row more": "INSERT INTO class (name, colour, taught_at) VALUES ('cow', '[1, 1, 1]', '')",
    "two rows swapped": "UPDATE exemplar SET id = 3 - id WHERE 0; UPDATE exemplar SET tensors = "
    "(SELECT tensors FROM exemplar e WHERE e.id = 3 - exemplar.id)",
    "no total": "DELETE FROM seal",
    "a view": "CREATE VIEW v AS SELECT 1",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON class BEGIN DELETE FROM history; END",
    "a table": "CREATE TABLE more (id INTEGER)",
    "a column": "ALTER TABLE class ADD COLUMN more TEXT",
    "no index": "DROP INDEX exemplar_class",
    "no version": "PRAGMA user_version = 0",
    "an older version": "PRAGMA user_version = 2",
    "a newer version": "PRAGMA user_version = 99",
}


@pytest.mark.parametrize("case", STATEMENTS)
@pytest.mark.parametrize("writable", [True, False])
def test_what_another_program_wrote_is_refused(path: Path, case: str, writable: bool) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(STATEMENTS[case])
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"damaged|schema version"):
        ExemplarStore(path, writable=writable)
    assert path.read_bytes() == before


def test_rows_that_cannot_be_printed_are_refused_even_if_sealed(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE history SET author = 'a\x1b[2J', seal = x''")
    seal_open_rows(connection)
    connection.close()
    with pytest.raises(InputError, match="cannot be printed"):
        ExemplarStore(path, writable=False)


def test_every_row_is_sealed_after_every_change(path: Path) -> None:
    store = ExemplarStore(path)
    store.add("cow", (1, 1, 1), [row()])
    store.merge("cow", "elk")
    store.recolour("elk", (7, 7, 7))
    store.undo()
    store.remove("elk")
    store.undo()
    store_files.check_store(store._connection, path)
    store.close()
    ExemplarStore(path, writable=False).close()


def test_a_schema_cannot_call_functions(path: Path) -> None:
    for store in (ExemplarStore(path), ExemplarStore(path, writable=False), ExemplarStore(None)):
        assert store._connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
        store.close()


# What may be written


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES | {"Unknown", "VOID", " ignore "}))
def test_reserved_names(path: Path, name: str) -> None:
    store = ExemplarStore(path)
    with pytest.raises(InputError, match="reserved"):
        store.add(name, (1, 2, 3), [row()])
    with pytest.raises(InputError, match="reserved"):
        store.rename("elk", name)
    assert [label.name for label in store.classes()] == ["elk"]


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "a\u202eb", "\ud800", "", "x" * 65])
def test_names_that_cannot_be_printed(path: Path, name: str) -> None:
    with pytest.raises(InputError, match="printable"):
        ExemplarStore(path).add(name, (1, 2, 3), [row()])


def test_authors_and_sources_are_escaped(path: Path) -> None:
    store = ExemplarStore(path)
    exemplar = ExemplarRow(row().exemplar, "0" * 64, "box", "caf\xe9\udcff.png")
    store.add("cow", (1, 2, 3), [exemplar], "eve\x1b]0;x\x07")
    (card,) = store.cards("cow")
    assert (card.author, card.source) == ("eve\\x1b]0;x\\x07", "caf\xe9\\udcff.png")
    assert store.history()[-1].author == "eve\\x1b]0;x\\x07"
    store.close()
    ExemplarStore(path, writable=False).close()


def test_the_last_free_place_is_given_once(path: Path) -> None:
    """Two processes teach a class each where there is room for one; forgetting, then undoing that, is no way round."""
    one, two = ExemplarStore(path), ExemplarStore(path)
    one.most = two.most = 3
    one.add("a", (1, 1, 1), [row()])
    gone = one.add("b", (1, 1, 1), [row()]) and one.remove("b")
    two.add("c", (2, 2, 2), [row()])
    for act in (lambda: one.add("d", (3, 3, 3), [row()]), lambda: one.undo(gone)):
        with pytest.raises(InputError, match=f"full with {MAX_CLASSES} classes"):
            act()
    assert [label.name for label in two.classes()] == ["elk", "a", "c"]
    one.add("a", (1, 1, 1), [row()])  # another example takes no place
    two.remove("c")
    one.undo(gone)
    one.most = 1  # as a world that an older version had overfilled
    one.remove("a")
    assert len(one.classes()) == 2


def test_a_class_that_another_process_has_merged_meanwhile(path: Path) -> None:
    one, two = ExemplarStore(path), ExemplarStore(path)
    one.add("cow", (1, 1, 1), [row()])
    two.merge("cow", "elk")
    for act in (
        lambda: one.merge("cow", "elk"), lambda: one.merge("elk", "cow"), lambda: one.rename("cow", "bull"),
        lambda: one.recolour("cow", (1, 1, 1)), lambda: one.remove("cow"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"no taught class 'cow' .any more."):
            act()


# Where it can be read


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root; another user keeps those it has."""
    rights = os.geteuid()
    if rights == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(rights)


def names(path: Path) -> list[str]:
    store = ExemplarStore(path, writable=False)
    try:
        return [label.name for label in store.classes()]
    finally:
        store.close()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may look into."""
    folder = Path(tempfile.mkdtemp(prefix="ignota-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_another_users_world(public: Path) -> None:
    path = new_store(public)
    public.chmod(0o555)
    path.chmod(0o444)
    with as_nobody():
        assert names(path) == ["elk"]
        with pytest.raises(InputError, match=f"another user's.*`ignota init MY-WORLD --from {public}`"):
            ExemplarStore(path)
    path.chmod(0o000)
    with as_nobody(), pytest.raises(InputError, match="may not be read: ask its owner"):
        names(path)


def test_another_users_world_that_was_killed_while_it_was_written(public: Path) -> None:
    """A write-ahead log beside the store, as older versions left it, is read as well, without a file of our own."""
    path = new_store(public)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    whole = path.read_bytes()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("UPDATE class SET name = 'deer', seal = x'' WHERE hidden = 0")
    connection.execute("BEGIN")
    seal_open_rows(connection)
    connection.execute("COMMIT")
    log = path.with_name(f"{path.name}-wal").read_bytes()
    connection.close()
    path.write_bytes(whole)
    path.with_name(f"{path.name}-wal").write_bytes(log)
    for file in public.iterdir():
        file.chmod(0o444)
    public.chmod(0o555)
    with as_nobody():
        assert names(path) == ["deer"]
    assert {file.name for file in public.iterdir()} == {path.name, f"{path.name}-wal"}


def test_a_store_with_a_log_is_read_where_nothing_can_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    version = store_files.version
    calls: list[int] = []

    def refused(connection: sqlite3.Connection) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise sqlite3.OperationalError("unable to open database file")
        return version(connection)

    monkeypatch.setattr(store_files, "version", refused)
    store = ExemplarStore(path, writable=False)
    assert [label.name for label in store.classes()] == ["elk"] and len(calls) > 1


def test_reading_lays_nothing_beside_the_store(path: Path) -> None:
    store = ExemplarStore(path, writable=False)
    store.exemplars()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    store.close()
    ExemplarStore(path).close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="mounting a small disk takes the rights of root")
@pytest.mark.parametrize("log", [False, True])
def test_a_disk_that_is_really_full(tmp_path: Path, log: bool) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        path = new_store(disk)
        if log:
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.close()
        with (disk / "filler").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(bytes(4096))
        assert names(path) == ["elk"]
        with pytest.raises(OSError, match="No space left") as full:
            ExemplarStore(path).add("cow", (1, 2, 3), [row()])
        assert full.value.filename == str(path)
        (disk / "filler").unlink()
        store = ExemplarStore(path)
        assert [label.name for label in store.classes()] == ["elk"]
        store.add("cow", (1, 2, 3), [row()])
        store.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_reader_opens_while_another_process_writes(path: Path) -> None:
    """The seals are compared with one state of the store, not with two."""
    stop = threading.Event()

    def write() -> None:
        store = ExemplarStore(path)
        while not stop.is_set():
            store.recolour("elk", (1, 2, 3))
        store.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(8):
            ExemplarStore(path, writable=False).close()
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("companion", ["-wal", "-journal", "-shm"])
def test_what_lies_beside_a_store_must_be_a_regular_file(path: Path, companion: str) -> None:
    os.mkfifo(path.with_name(path.name + companion))
    for writable in (True, False):
        with pytest.raises(InputError, match="no regular file"):
            ExemplarStore(path, writable=writable)
