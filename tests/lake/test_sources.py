"""Which files a lake consists of."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignota.data.files import as_name, as_text
from ignota.lake.sources import kind_of, sources
from ignota.structures import InputError


def names(words: list[str], out: Path) -> dict[str, list[str]]:
    return {source.uri: [Path(file.uri).name for file in source.files] for source in sources(words, str(out))}


def test_a_folder_gives_all_folders_inside(lake: Path, tmp_path: Path) -> None:
    found = names([str(lake)], tmp_path / "out")
    assert found == {
        f"{lake}/a": ["bad.png", "p1.png", "p2.png", "p10.png"],
        f"{lake}/a/deep": ["p1.png"],
        f"{lake}/clip.mkv": ["clip.mkv"],
        f"{lake}/shard.tar": ["shard.tar"],
        f"{lake}/t.parquet": ["t.parquet"],
    }


def test_paths_patterns_and_urls_name_the_same_files_once(lake: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = sources([str(lake)], str(out))
    assert sources([f"file://{lake}"], str(out)) == whole
    assert sources([str(lake), f"file://{lake}/a", str(lake / "clip.mkv")], str(out)) == whole
    assert names([f"{lake}/a/p*.png"], out) == {f"{lake}/a": ["p1.png", "p2.png", "p10.png"]}
    assert names([f"file://{lake}/**/p1.png"], out) == {f"{lake}/a": ["p1.png"], f"{lake}/a/deep": ["p1.png"]}


def test_other_file_systems_keep_their_address() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/sources/x/1.png", b"1")
    memory.pipe_file("/sources/x/2.png", b"22")
    try:
        (found,) = sources(["memory://sources"], "out")
        assert found.uri == "memory:///sources/x"
        assert [file.uri for file in found.files] == ["memory:///sources/x/1.png", "memory:///sources/x/2.png"]
        assert found.files[0].state != found.files[1].state
    finally:
        memory.rm("/sources", recursive=True)


def test_results_inside_the_lake_are_not_read(lake: Path) -> None:
    before = names([str(lake)], lake / "out")
    (lake / "out" / "x").mkdir(parents=True)
    (lake / "out" / "x" / "p.png").write_bytes(b"")
    assert names([str(lake)], lake / "out") == before
    assert f"{lake}/out/x" in names([str(lake)], lake / "elsewhere")


def test_links_that_lead_back_are_not_followed(lake: Path, tmp_path: Path) -> None:
    before = names([str(lake)], tmp_path / "out")
    (lake / "a" / "loop").symlink_to(lake)
    assert names([str(lake)], tmp_path / "out") == before
    (tmp_path / "link").symlink_to(lake / "a" / "deep")
    assert names([str(tmp_path / "link")], tmp_path / "out") == {f"{tmp_path}/link": ["p1.png"]}


def test_partitions_have_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("x/day 1", "y/day 1"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.png").write_bytes(b"")
    found = sources([str(tmp_path)], str(tmp_path / "out"))
    assert len({source.name for source in found}) == 2
    assert all(source.name.startswith("day_1-") for source in found)
    (tmp_path / "x" / ("n" * 200)).mkdir()
    (tmp_path / "x" / ("n" * 200) / "1.png").write_bytes(b"")
    (long,) = sources([str(tmp_path / "x" / ("n" * 200))], str(tmp_path / "out"))
    assert len(long.name) < 100


def test_a_changed_file_has_another_state(lake: Path) -> None:
    (before,) = sources([str(lake / "a" / "p1.png")], "out")
    (lake / "a" / "p1.png").write_bytes(b"changed")
    (after,) = sources([str(lake / "a" / "p1.png")], "out")
    assert before.files[0].uri == after.files[0].uri and before.files[0].state != after.files[0].state


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.JPG", "image"), ("a.mp4", "video"), ("a.tar", "webdataset"), ("a.tar.gz", "webdataset"),
     ("a.tgz", "webdataset"),     ("a.parquet", "parquet"), ("a.gz", None), ("tar", None), ("a.txt", None)],
)  # fmt: skip
def test_kinds_are_told_by_their_suffix(name: str, kind: str | None) -> None:
    assert kind_of(f"s3://bucket/{name}") == kind


@pytest.mark.parametrize(
    ("word", "line"),
    [("none", "no such file"), ("no*.png", "nothing to read"), ("lake/notes.txt", "is no image, video"),
     ("nowhere://x", "Protocol not known"), ("empty", "nothing to read")],
)  # fmt: skip
def test_what_names_nothing_is_refused(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, line: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=line):
        sources([word], "out")


@given(
    st.binary(max_size=12) | st.lists(st.sampled_from([b"\\", b"x", b"5c", b"ff", b"\xff", b"\xc3\xa4"])).map(b"".join)
)
def test_every_name_has_a_text_of_its_own(data: bytes) -> None:
    name = data.decode("utf-8", "surrogateescape")
    as_text(name).encode()
    assert as_name(as_text(name)) == name


def test_texts_of_names_are_readable() -> None:
    assert [as_text(name) for name in ("a/1.png", "stra\udcdfe.png", "C:\\x", "\\xff")] == [
        "a/1.png", "stra\\xdfe.png", "C:\\x", "\\x5cxff",
    ]  # fmt: skip
