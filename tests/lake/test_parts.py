"""Part files: written whole, read back, never two rows of one frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from ignota.lake import parts as module
from ignota.lake.frames import Frame, read_span
from ignota.lake.parts import Again, Parts, settle, sole_writer
from ignota.lake.rows import as_table, empty_row
from ignota.lake.sources import Source, sources
from ignota.lake.spans import Finished, spans
from ignota.structures import InputError

NONE = Finished({}, {})


def rows(found: list[Source], world: str = "w") -> pa.Table:
    """A row of each frame, nothing seen in it."""
    frames: list[Frame] = [f for s in found for span in spans(s, NONE, world, 1) for f in read_span(span)]
    return as_table([empty_row(world, frame) for frame in frames])


def stored(out: Path | str) -> list[dict]:
    return ds.dataset(str(out), partitioning="hive").to_table().sort_by("id").to_pylist()


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def test_what_was_written_is_finished(lake: Path, out: str) -> None:
    found = sources([str(lake)], out)
    writer = Parts(out)
    assert writer.add(rows(found)) == 15
    assert not Path(out).exists()
    writer.flush()
    assert {path.name for path in Path(out).iterdir()} == {f"source={source.name}" for source in found}
    assert len({row["id"] for row in stored(out)}) == 15
    for source in found:
        assert list(spans(source, settle(out, source, "w"), "w", 1)) == []
    assert settle(out, found[2], "w") == Finished({f"{lake}/clip.mkv": {0, 1, 2, 3, 4}}, {f"{lake}/clip.mkv": 5})


def test_rows_are_written_when_they_are_many_or_old(lake: Path, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(sources([str(lake / "t.parquet"), str(lake / "clip.mkv")], out))
    writer = Parts(out, rows=3)
    writer.add(table.slice(0, 2))
    assert not Path(out).exists()
    writer.add(table.slice(2, 2))
    assert len(stored(out)) == 4
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    writer = Parts(out + "2")
    written = []
    for number, now in enumerate((0.5, 1.5, 3.0, 3.6, 7.5, 7.7)):  # it waits for 1, then 2, then 4 seconds
        clock[0] = now
        writer.add(table.slice(number, 1))
        written.append(len(stored(out + "2")) if Path(out + "2").exists() else 0)
    assert written == [0, 2, 2, 4, 4, 6]


def test_a_frame_that_comes_twice_is_kept_once(lake: Path, out: str) -> None:
    table = rows(sources([str(lake / "clip.mkv")], out))
    writer = Parts(out)
    assert writer.add(pa.concat_tables([table.slice(0, 3), table.slice(0, 1)])) == 3
    assert writer.add(table.slice(1, 3)) == 1
    writer.flush()
    assert writer.add(table) == 1
    writer.flush()
    assert sorted(row["frame"] for row in stored(out)) == [0, 1, 2, 3, 4]


def test_rows_that_are_there_twice_are_mended(lake: Path, out: str) -> None:
    (source,) = sources([str(lake / "clip.mkv")], out)
    table = rows([source])
    for piece in (table, table.slice(1, 2)):  # as two writers might leave them that no lock could keep apart
        writer = Parts(out)
        writer.add(piece)
        writer.flush()
    assert len(stored(out)) == 7
    assert settle(out, source, "w").frames == {source.uri: {0, 1, 2, 3, 4}}
    assert sorted(row["frame"] for row in stored(out)) == [0, 1, 2, 3, 4]


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("change", "world", "again", "left"),
    [(lambda lake: None, "w", None, {"p1.png", "p2.png", "p10.png", "bad.png"}),
     (lambda lake: changed(lake / "a" / "p2.png"), "w", None, {"p1.png", "p10.png", "bad.png"}),
     (lambda lake: (lake / "a" / "p2.png").unlink(), "w", None, {"p1.png", "p2.png", "p10.png", "bad.png"}),
     (lambda lake: None, "other", None, set()),
     (lambda lake: None, "w", "errors", {"p1.png", "p2.png", "p10.png"}),
     (lambda lake: None, "w", "all", set())],
)  # fmt: skip
def test_rows_that_no_longer_hold_go(
    lake: Path, out: str, change: Callable[[Path], object], world: str, again: Again | None, left: set[str]
) -> None:
    writer = Parts(out)
    writer.add(rows(sources([str(lake / "a")], out)))
    writer.flush()
    (lake / "a" / "deep" / "p1.png").touch()
    change(lake)
    source = next(s for s in sources([str(lake / "a")], out) if s.uri.endswith("/a"))
    finished = settle(out, source, world, again)
    assert {Path(uri).name for uri in finished.frames} == left - {"p2.png"} | ({"p2.png"} & left & there(source))
    assert {Path(row["image"]).name for row in stored(out) if "deep" not in row["image"]} == left
    assert len([row for row in stored(out) if "deep" in row["image"]]) == 1


def there(source: Source) -> set[str]:
    return {Path(file.uri).name for file in source.files}


def test_a_part_that_is_none_is_named(lake: Path, out: str) -> None:
    (source,) = sources([str(lake / "clip.mkv")], out)
    folder = Path(out) / f"source={source.name}"
    folder.mkdir(parents=True)
    (folder / "part-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"part-0\.parquet is no part file .* remove it"):
        settle(out, source, "w")
    pq.write_table(pa.table({"id": ["1"]}), folder / "part-0.parquet")
    with pytest.raises(InputError, match="is no part file"):
        settle(out, source, "w")


def test_remnants_of_a_killed_writer_are_not_read(lake: Path, out: str) -> None:
    (source,) = sources([str(lake / "clip.mkv")], out)
    folder = Path(out) / f"source={source.name}"
    folder.mkdir(parents=True)
    (folder / ".part-1.parquet.0123abcd.part").write_bytes(b"cut")
    assert settle(out, source, "w") == NONE


def test_one_writer_at_a_time(out: str) -> None:
    with sole_writer(out), pytest.raises(InputError, match="another command writes to"), sole_writer(out):
        pass
    with sole_writer(out):
        pass
    with pytest.raises(InputError, match="is no folder"), sole_writer(f"{out}/.lock"):
        pass


def test_rows_may_lie_elsewhere(lake: Path) -> None:
    memory = fsspec.filesystem("memory")
    out = "memory://parts"
    try:
        (source,) = sources([str(lake / "clip.mkv")], out)
        with sole_writer(out):
            writer = Parts(out)
            writer.add(rows([source]))
            writer.flush()
        assert [path for path in memory.find("/parts") if path.endswith(".parquet")]
        assert settle(out, source, "w").totals == {source.uri: 5}
        assert settle(out, source, "other") == NONE
        assert memory.find("/parts") == []
    finally:
        if memory.exists("/parts"):
            memory.rm("/parts", recursive=True)


def test_the_same_rows_give_the_same_file(lake: Path, out: str) -> None:
    table = rows(sources([str(lake / "a")], out))
    backwards = table.take(list(range(table.num_rows))[::-1])
    for name, given in (("1", table), ("2", backwards)):
        writer = Parts(out + name)
        writer.add(given)
        writer.flush()
    files = [
        {str(p.relative_to(o)): p.read_bytes() for p in o.rglob("*.parquet")}
        for o in (Path(out + "1"), Path(out + "2"))
    ]
    assert files[0] == files[1] and len(files[0]) == 2
