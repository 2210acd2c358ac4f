"""segment over many images and videos: order, resuming after a kill, the table of unknown regions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ignota.cli import main, pictures, results
from ignota.cli.inputs import PARTS
from ignota.formats.rle import decode_mask
from ignota.storage import bundle
from ignota.synthetic.streets import SyntheticStreets
from ignota.world.teaching import exemplar


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Synthetic streets with unknown things, numbered so that natural and alphabetical order differ."""
    folder = tmp_path / "photos"
    folder.mkdir()
    streets = SyntheticStreets("anomaly", 4, (48, 96), 3)
    for number, name in enumerate(("p1", "p2", "p10", "p11")):
        Image.fromarray(streets[number].image).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Seven frames of a street that moves."""
    path = tmp_path / "clip.mkv"
    street = SyntheticStreets("anomaly", 1, (48, 160), 5)[0].image
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"FFV1"), 10, (96, 48))
    for number in range(7):
        writer.write(np.ascontiguousarray(street[:, 8 * number : 8 * number + 96, ::-1]))
    writer.release()
    return path


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that were segmented, not passed over."""
    names: list[str] = []
    inner = pictures.describe_scene

    def note(path: Path, *rest: object) -> dict[str, object]:
        names.append(path.stem)
        return inner(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pictures, "describe_scene", note)
    return names


def test_the_table_says_what_the_pictures_show(trained: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("segment", photos, "--world", trained, "--out", out, "--quiet") == 0
    rows = pq.read_table(out / "regions.parquet").to_pylist()
    assert len(rows) > 4
    names = list(dict.fromkeys(row["name"] for row in rows))
    assert len(names) > 1 and names == [name for name in ("p1", "p2", "p10", "p11") if name in names]
    world = bundle.load(trained)
    known = {label.name for label in world.classes.classes}
    seen = {name: np.zeros((48, 96), bool) for name in ("p1", "p2", "p10", "p11")}
    for row in rows:
        assert (row["image"], row["frame"]) == (str(photos / f"{row['name']}.png"), None)
        mask = decode_mask(row["rle"]["counts"], tuple(row["rle"]["size"]))
        columns, lines = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        assert row["box"] == [columns[0], lines[0], columns[-1] + 1, lines[-1] + 1]
        assert row["area"] == mask.sum()
        assert row["nearest"] in known
        assert not (seen[row["name"]] & mask).any()
        seen[row["name"]] |= mask
        assert len(row["embedding"]) == world.known.space.known.shape[1]
        assert np.linalg.norm(row["embedding"]) == pytest.approx(1, abs=1e-5)
        anomaly = np.asarray(Image.open(out / f"{row['name']}_anomaly.png")) / 65535
        assert row["score"] == pytest.approx(float(anomaly[mask].mean()), abs=1e-5)
    for name, mask in seen.items():
        ids = world.segment(photos / f"{name}.png").object_ids()
        np.testing.assert_array_equal(mask, ids > 0)


def test_embeddings_are_what_learn_would_keep(trained: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("segment", photos / "p1.png", "--world", trained, "--out", out, "--quiet") == 0
    world = bundle.load(trained)
    encoding = world.encode(photos / "p1.png")
    scene = world.segment(encoding)
    space = world.known.space
    rows = pq.read_table(out / "regions.parquet").to_pylist()
    assert len(rows) == len(scene.unknown) > 0
    compared = 0
    for row, region in zip(rows, scene.unknown, strict=True):
        if region.area < 16:
            continue
        kept = exemplar(world, "thing", encoding, scene.tables, region.mask)
        np.testing.assert_allclose(row["embedding"], space.embed(kept.whole)[0].numpy(), atol=1e-5)
        compared += 1
    assert compared


def test_videos_give_every_nth_frame(trained: Path, photos: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("segment", clip, photos / "p10.png", photos / "p2.png", "--world", trained, "--out", out, "--quiet")
    assert run(*words, "--every", 3) == 0
    frames = ["clip_000000", "clip_000003", "clip_000006"]
    names = {path.name for path in out.iterdir()}
    assert names == {f"{name}{part}" for name in [*frames, "p10", "p2"] for part in PARTS} | {"regions.parquet"}
    rows = pq.read_table(out / "regions.parquet").to_pylist()
    order = list(dict.fromkeys(row["name"] for row in rows))
    assert order == [name for name in [*frames, "p10", "p2"] if name in order]
    assert {row["frame"] for row in rows if row["image"] == str(clip)} <= {0, 3, 6}
    assert json.loads((out / "clip_000003.json").read_text())["frame"] == 3


def test_a_folder_gives_its_videos_too(trained: Path, clip: Path, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.move(clip, folder)
    shutil.copy(photo, folder)
    assert run("segment", folder, "--world", trained, "--out", tmp_path / "out", "--every", 6, "--quiet") == 0
    assert {path.stem for path in (tmp_path / "out").glob("*.json")} == {"clip_000000", "clip_000006", "photo"}


def test_what_is_finished_is_not_done_again(
    world: Path, photos: Path, mask: Path, tmp_path: Path, worked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    call = ("segment", photos, "--world", world, "--out", out)
    assert run("segment", photos / "p2.png", "--world", world, "--out", out) == 0
    assert run(*call) == 0
    assert worked == ["p2", "p1", "p10", "p11"]
    assert "4 images, 1 of them finished before" in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert run(*call) == 0
    assert len(worked) == 4
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "p1_overlay.jpg").unlink()
    (out / "p2.json").write_text("{")
    os.utime(photos / "p10.png", (1, 1))
    assert run(*call, "--quiet") == 0
    assert worked[4:] == ["p1", "p2", "p10"]
    assert run(*call, "--quiet", "--again") == 0
    assert worked[7:] == ["p1", "p2", "p10", "p11"]
    assert (
        run("learn", "crate", "--image", photos / "p1.png", "--mask", mask, "--world", world, "--quiet", "--force") == 0
    )
    assert run(*call, "--quiet") == 0
    assert worked[11:] == ["p1", "p2", "p10", "p11"]  # the world knows more now
    assert run("forget", "crate", "--world", world, "--quiet") == 0
    assert run(*call, "--quiet", "--size", 64) == 0
    assert len(worked) == 19


def test_finished_frames_of_a_video_are_passed_over(
    trained: Path, clip: Path, tmp_path: Path, worked: list[str]
) -> None:
    call = ("segment", clip, "--world", trained, "--out", tmp_path / "out", "--quiet")
    assert run(*call, "--every", 3) == 0
    assert len(worked) == 3
    assert run(*call) == 0
    assert len(worked) == 7


def test_the_table_keeps_what_earlier_calls_found(trained: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("p10", "p1"):
        assert run("segment", photos / f"{name}.png", "--world", trained, "--out", out, "--quiet") == 0
    rows = pq.read_table(out / "regions.parquet").to_pylist()
    assert list(dict.fromkeys(row["name"] for row in rows)) == ["p1", "p10"]
    assert len({row["world"] for row in rows}) == 1
    (out / "foreign.json").write_text('{"regions": [{"box": 3}]}')
    (out / "broken.json").write_text("{")
    assert run("segment", photos / "p1.png", "--world", trained, "--out", out, "--quiet") == 0
    assert pq.read_table(out / "regions.parquet").to_pylist() == rows


@pytest.mark.long
def test_a_killed_run_goes_on(trained: Path, photos: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(16):
        shutil.copy(photos / f"p{(1, 2, 10, 11)[number % 4]}.png", many / f"{number}.png")
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run("segment", many, "--world", trained, "--out", whole, "--quiet") == 0
    call = [sys.executable, "-m", "ignota", "segment", str(many), "--world", str(trained), "--out", str(out), "--quiet"]
    process = subprocess.Popen(call, env=os.environ | {"OMP_NUM_THREADS": "1"})
    limit = time.monotonic() + 120
    while len(list(out.glob("*.json"))) < 4 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "regions.parquet").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("*.json")}
    assert 4 <= len(finished) < 16
    (out / ".3_labels.png.0123abcd.part").write_bytes(b"cut")
    (out / "3.json").unlink()
    del finished["3.json"]
    assert run("segment", many, "--world", trained, "--out", out, "--quiet") == 0
    assert all((out / name).stat().st_mtime_ns == written for name, written in finished.items())
    theirs = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == theirs


def test_without_pyarrow_there_is_no_table(
    trained: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "find_spec", lambda name: None)
    assert run("segment", photo, "--world", trained, "--out", tmp_path / "out") == 0
    assert "pip install 'ignota[parquet]'" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_table_that_cannot_be_written_leaves_the_old_one(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], full_disk: Callable[[int], None]
) -> None:
    out = tmp_path / "out"
    assert run("segment", photos / "p1.png", "--world", trained, "--out", out, "--quiet") == 0
    before = (out / "regions.parquet").read_bytes()
    full_disk(4)
    assert run("segment", photos / "p2.png", "--world", trained, "--out", out, "--quiet") == 1
    assert "no space left" in capsys.readouterr().err
    assert (out / "regions.parquet").read_bytes() == before
    assert not list(out.glob(".*"))


def test_names_that_a_video_would_take(
    trained: Path, clip: Path, photo: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    shutil.copy(photo, tmp_path / "clip_000004.png")
    call = ("--world", "no-world-is-read", "--out", tmp_path / "out")
    assert "would both be written as clip_000004" in wrong("segment", clip, tmp_path / "clip_000004.png", *call)
    assert "--every is 1 or more" in wrong("segment", clip, "--every", 0, *call)
    (tmp_path / "bad.mp4").write_text("hello")
    line = wrong("segment", tmp_path / "bad.mp4", "--world", trained, "--out", tmp_path / "out")
    assert "is no video that can be read" in line


def test_a_video_cut_short_keeps_its_whole_frames(
    trained: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = clip.read_bytes()
    clip.write_bytes(whole[: int(len(whole) * 0.6)])
    assert run("segment", clip, "--world", trained, "--out", tmp_path / "out") == 2
    told = capsys.readouterr()
    assert "of 7 frames: it is cut short" in told.err
    assert told.err.count("\n") == 1
    assert len(list((tmp_path / "out").glob("*.json"))) >= 2
    assert (tmp_path / "out" / "regions.parquet").is_file()


def test_all_files_of_a_call_have_the_classes_that_it_began_with(
    world: Path, photos: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process teaches and forgets while a folder is segmented."""
    from ignota.data.images import read_image

    inner, other = pictures.write_scene, bundle.load(world, writable=True)
    steps = [
        lambda: other.learn("other", [(photos / "p1.png", read_image(mask)[:, :, 0])], force=True),
        lambda: other.rename("other", "crate"),
        lambda: other.forget("crate"),
    ]

    def write(*args: object) -> None:
        inner(*args)  # type: ignore[arg-type]
        if steps:
            steps.pop(0)()

    monkeypatch.setattr(pictures, "write_scene", write)
    out = tmp_path / "out"
    call = ("segment", photos, "--world", world, "--out", out, "--quiet")
    assert run(*call) == 0 and not steps
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    assert len(results) == 4 and all(result["classes"][-1]["name"] != "other" for result in results)
    assert len({json.dumps([c["name"] for c in result["classes"]]) for result in results}) == 1
    assert len({result["made_by"]["world"] for result in results}) == 1
    other.learn("other", [(photos / "p1.png", read_image(mask)[:, :, 0])], force=True)
    other.store.close()
    assert run(*call) == 0
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    assert all(result["classes"][-1]["name"] == "other" for result in results)  # none was taken for finished


def test_one_bad_file_stops_no_folder(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is not UTF-8 is an image like others; a failing disk is reported, and the others go on."""
    odd = os.fsdecode(b"p\xff.png")
    shutil.copy(photos / "p1.png", photos / odd)
    (photos / "p3.png").symlink_to("/proc/self/mem")  # reading it is an I/O error
    out = tmp_path / "out"
    assert run("segment", photos, "--world", trained, "--out", out, "--quiet") == 2
    error = capsys.readouterr().err
    assert error.startswith("ignota: cannot read ") and error.count("\n") == 1 and "p3.png" in error
    assert {path.stem for path in out.glob("*.json")} == {"p1", "p2", "p10", "p11", Path(odd).stem}
    assert json.loads((out / f"{Path(odd).stem}.json").read_text())["image"] == str(photos / r"p\xff.png")
    names = {row["name"] for row in pq.read_table(out / "regions.parquet").to_pylist()}
    assert r"p\xff" in names
    (photos / "p3.png").unlink()
    assert run("segment", photos, "--world", trained, "--out", out, "--quiet") == 0
    found = tmp_path / "found"
    table = out / "regions.parquet"
    assert run("discover", table, "--world", trained, "--out", found, "--smallest", 2, "--quiet") == 0  # pictures found
    assert run("export-labels", "coco", out, "--out", tmp_path / "coco", "--quiet") == 0
