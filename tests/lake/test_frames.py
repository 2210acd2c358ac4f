"""Frames of every kind of file, faults as frames, and what is left of files that were read in part."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ignota.lake.frames import Frame, read_span
from ignota.lake.rows import as_table, empty_row
from ignota.lake.sources import Source, sources
from ignota.lake.spans import Finished, Span, frame_id, spans
from ignota.structures import InputError

NONE = Finished({}, {})


def frames(path: Path | str, finished: Finished = NONE, every: int = 1) -> list[Frame]:
    (source,) = sources([str(path)], "out")
    return [frame for span in spans(source, finished, "w", every) for frame in read_span(span)]


def told(found: list[Frame]) -> list[tuple[int | None, int | None, bool]]:
    """Number, how many there are, whether there is an image."""
    return [(frame.frame, frame.frames, frame.pixels is not None) for frame in found]


def test_images_of_a_folder_come_in_order_and_a_bad_one_with_its_fault(make: SimpleNamespace, lake: Path) -> None:
    (source, *_) = sources([str(lake / "a")], "out")
    found = [frame for span in spans(source, NONE, "w", 1) for frame in read_span(span)]
    assert [Path(frame.image).name for frame in found] == ["bad.png", "p1.png", "p2.png", "p10.png"]
    assert found[0].pixels is None and "is no picture" in str(found[0].error)
    for number, frame in enumerate(found[1:]):
        np.testing.assert_array_equal(frame.pixels, make.streets[number].image)
        assert frame.error is None and frame.source == source.name


def test_the_last_frame_of_a_video_tells_how_many_there_are(make: SimpleNamespace, lake: Path) -> None:
    found = frames(lake / "clip.mkv")
    assert told(found) == [(0, None, True), (1, None, True), (2, None, True), (3, None, True), (4, 5, True)]
    np.testing.assert_array_equal(found[3].pixels, make.streets[3].image)
    assert told(frames(lake / "clip.mkv", every=3)) == [(0, None, True), (3, 5, True)]


def test_what_is_there_of_a_video_is_not_given_again(lake: Path) -> None:
    clip = str(lake / "clip.mkv")
    assert told(frames(clip, Finished({clip: {0, 1, 3}}, {}))) == [(2, None, True), (4, 5, True)]
    assert told(frames(clip, Finished({clip: {0, 1, 3, 4}}, {clip: 5}))) == [(2, 5, True)]
    assert frames(clip, Finished({clip: {0, 1, 2, 3, 4}}, {clip: 5})) == []
    assert frames(clip, Finished({clip: {0, 3}}, {clip: 5}), every=3) == []
    assert told(frames(clip, Finished({clip: {0, 3}}, {clip: 5}), every=2)) == [(2, None, True), (4, 5, True)]


def test_a_video_cut_short_keeps_its_frames_and_ends_with_its_fault(make: SimpleNamespace, lake: Path) -> None:
    path = lake / "long.mkv"
    make.clip(path, 12)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    found = frames(path)
    assert len(found) >= 3
    assert all(frame.error is None for frame in found[:-1])
    last = found[-1]
    assert "cut short" in str(last.error) and last.frame == len(found) - 1 and last.frames == len(found)
    done = set(range(len(found)))
    assert frames(path, Finished({str(path): done}, {str(path): len(found)})) == []
    again = frames(path, Finished({str(path): done - {1}}, {}))
    assert [frame.frame for frame in again] == [1]  # the fault has its row


def test_a_file_that_cannot_be_read_is_one_frame_with_its_fault(make: SimpleNamespace, lake: Path) -> None:
    for name, line in (("x.mp4", "no video"), ("x.tar", "damaged or cut short"), ("x.parquet", "cannot be read")):
        (lake / name).write_bytes(b"hello there, this is none of them" * 40)
        (found,) = frames(lake / name)
        assert found.frame == 0 and found.frames == 1 and line in str(found.error)
    make.tar(lake / "none.tar", {"1.txt": b"x"})
    (found,) = frames(lake / "none.tar")
    assert "holds no image" in str(found.error)


def test_a_tar_file_gives_its_images_by_name(make: SimpleNamespace, lake: Path) -> None:
    found = frames(lake / "shard.tar")
    assert told(found) == [(0, None, True), (1, None, False), (2, 3, True)]
    assert [frame.member for frame in found] == ["1.png", "2.png", "3.png"]
    assert "shard.tar: 2.png" in str(found[1].error)
    np.testing.assert_array_equal(found[2].pixels, make.streets[5].image)
    whole = (lake / "shard.tar").read_bytes()
    (lake / "cut.tar").write_bytes(whole[: whole.index(b"3.png") + 600])
    cut = frames(lake / "cut.tar")
    assert told(cut)[:2] == [(0, None, True), (1, None, False)]
    assert cut[-1].pixels is None and cut[-1].frames == len(cut)


def test_a_member_that_unpacks_to_more_than_is_allowed_is_refused(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ignota.lake.frames.LARGEST", 100)
    assert [frame.pixels for frame in frames(lake / "shard.tar")] == [None] * 3
    assert "more than 100 bytes" in str(frames(lake / "shard.tar")[0].error)


def test_parquet_columns_of_bytes_and_of_structs(make: SimpleNamespace, lake: Path) -> None:
    found = frames(lake / "t.parquet")
    assert told(found) == [(0, None, True), (1, 2, True)]
    np.testing.assert_array_equal(found[1].pixels, make.streets[7].image)
    table = pa.table({"photo": [{"bytes": make.png(1), "path": "x"}, {"bytes": None, "path": "y"}, None]})
    pq.write_table(table, lake / "struct.parquet")
    assert told(frames(lake / "struct.parquet")) == [(0, None, True), (1, None, False), (2, 3, False)]
    pq.write_table(pa.table({"a": [b"1"], "b": [b"2"]}), lake / "two.parquet")
    assert "2 binary columns" in str(frames(lake / "two.parquet")[0].error)


def test_files_elsewhere_are_read_alike(lake: Path) -> None:
    memory = fsspec.filesystem("memory")
    try:
        for name in ("a/p1.png", "a/bad.png", "clip.mkv", "shard.tar", "t.parquet"):
            memory.pipe_file(f"/frames/{name}", (lake / name).read_bytes())
            here, there = frames(lake / name), frames(f"memory://frames/{name}")
            assert told(there) == told(here)
            for ours, theirs in zip(here, there, strict=True):
                assert theirs.image == f"memory:///frames/{name}" and theirs.id != ours.id
                if ours.pixels is not None:
                    np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    finally:
        memory.rm("/frames", recursive=True)


def test_pieces_of_work_travel_as_text(lake: Path) -> None:
    clip = str(lake / "clip.mkv")
    for source in sources([str(lake)], "out"):
        for span in spans(source, Finished({clip: {1, 2}}, {}), "w", 2):
            assert Span.from_json(span.to_json()) == span


def test_names_of_frames_depend_on_all_that_decides_their_row(lake: Path) -> None:
    (source,) = sources([str(lake / "clip.mkv")], "out")
    (file,) = source.files
    (other,) = sources([str(lake / "t.parquet")], "out")[0].files
    ids = {frame_id("w", file, 0), frame_id("v", file, 0), frame_id("w", file, 1), frame_id("w", other, 0)}
    assert len(ids) == 4 and all(len(text) == 32 for text in ids)
    assert frame_id("w", file, 0) == frame_id("w", file, 0)


def test_a_folder_is_cut_into_small_pieces(make: SimpleNamespace, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(make.png(0))
    (source,) = sources([str(tmp_path)], "out")
    assert isinstance(source, Source)
    assert [len(span.files) for span in spans(source, NONE, "w", 1)] == [8, 8, 4]
    done = Finished({file.uri: {None} for file in source.files[:15]}, {})
    assert [len(span.files) for span in spans(source, done, "w", 1)] == [5]


def test_a_large_image_elsewhere_is_refused(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/large/1.png", make.png(0))
    monkeypatch.setattr("ignota.lake.frames.LARGEST", 100)
    try:
        assert "more than 100 bytes" in str(frames("memory://large/1.png")[0].error)
    finally:
        memory.rm("/large", recursive=True)
    with pytest.raises(InputError, match="cannot read"):
        frames("memory://large/1.png")


def test_names_that_are_no_utf8_end_no_run(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "f\udcfc"
    folder.mkdir()
    (folder / "\udcff.png").write_bytes(make.png(0))
    (folder / "\\xff.png").write_bytes(make.png(1))
    make.clip(tmp_path / "clip.mkv", 1)
    (tmp_path / "clip.mkv").rename(folder / "\udcfe.mkv")
    with tarfile.open(folder / "s.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name, data in (("straße.png", make.png(2)), ("böse.png", b"broken")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    found = [f for s in sources([str(tmp_path)], "out") for span in spans(s, NONE, "w", 1) for f in read_span(span)]
    rows = as_table([empty_row("w", frame) for frame in found]).to_pylist()
    assert {(Path(row["image"]).name, row["member"]) for row in rows} == {
        (r"\xff.png", None), (r"\x5cxff.png", None), (r"\xfe.mkv", None),
        ("s.tar", r"stra\xdfe.png"), ("s.tar", r"b\xf6se.png"),
    }  # fmt: skip
    assert [row["member"] for row in rows if row["error"] is not None] == [r"b\xf6se.png"]
    images = {Path(frame.image).name: frame.pixels for frame in found if frame.member is None}
    np.testing.assert_array_equal(images[r"\xff.png"], make.streets[0].image)
    np.testing.assert_array_equal(images[r"\x5cxff.png"], make.streets[1].image)
