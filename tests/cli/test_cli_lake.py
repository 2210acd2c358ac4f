"""segment --engine: a lake to Parquet, resumed after a kill, the same rows by both engines."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pytest
import torch
from PIL import Image

from ignota.cli import lake, main
from ignota.structures import InputError
from ignota.synthetic.streets import SyntheticStreets


def run(*words: object) -> int:
    return main([str(word) for word in words])


def rows(out: Path) -> list[dict]:
    return ds.dataset(out, partitioning="hive").to_table().sort_by("id").to_pylist()


def parts(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*.parquet")}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    streets = SyntheticStreets("anomaly", 6, (48, 96), 3)
    for number in range(6):
        folder = tmp_path / "photos" / ("day", "night")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(streets[number].image).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_one_row_a_frame(trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    call = ("segment", photos, "--world", trained, "--out", out, "--engine", "local")
    assert run(*call) == 0
    told = capsys.readouterr()
    assert "7 frames, 1 of them with an error" in told.out
    assert "bad.png is no picture" in told.err and told.err.count("\n") == 1
    found = rows(out)
    assert {Path(row["image"]).name for row in found} == {"bad.png", *(f"{n}.png" for n in range(6))}
    assert len(found) == 7 and len({row["source"] for row in found}) == 3
    assert [row["error"] is None for row in found].count(False) == 1
    before = parts(out)
    assert run(*call) == 0
    assert "7 frames, 7 of them finished before" in capsys.readouterr().out
    assert parts(out) == before
    shutil.copy(photos / "day" / "2.png", photos / "day" / "0.png")
    assert run(*call) == 0
    assert "7 frames, 6 of them finished before" in capsys.readouterr().out
    assert len(rows(out)) == 7
    before = parts(out)
    assert run(*call, "--again-errors") == 0
    assert "7 frames, 6 of them finished before, 1 of them with an error" in capsys.readouterr().out
    assert len(before.items() - parts(out).items()) == 1
    assert run(*call, "--again", "--quiet") == 0
    assert len(rows(out)) == 7 and not set(parts(out).values()) & set(before.values())


def test_a_world_that_learnt_gives_new_rows(world: Path, photos: Path, mask: Path, tmp_path: Path) -> None:
    call = ("segment", photos / "day", "--world", world, "--out", tmp_path / "out", "--engine", "local", "--quiet")
    assert run(*call) == 0
    before = {row["id"] for row in rows(tmp_path / "out")}
    teach = ("--image", photos / "day" / "0.png", "--mask", mask, "--world", world, "--quiet", "--force")
    assert run("learn", "crate", *teach) == 0
    assert run(*call) == 0
    found = rows(tmp_path / "out")
    assert len(found) == 3 and not before & {row["id"] for row in found} and len({row["world"] for row in found}) == 1


_SOON = """
import sys
from ignota.cli import main
from ignota.lake import parts
parts.SOON = 0.05
sys.exit(main())
"""
"""`ignota` that writes its first rows sooner, so that few frames will do."""


@pytest.mark.long
def test_a_killed_run_goes_on(trained: Path, tmp_path: Path) -> None:
    photos, whole, out = tmp_path / "photos", tmp_path / "whole", tmp_path / "out"
    photos.mkdir()
    streets = SyntheticStreets("anomaly", 6, (48, 96), 3)
    for number in range(40):
        Image.fromarray(streets[number % 6].image).save(photos / f"{number}.png")
    call = ["segment", str(photos), "--world", str(trained), "--engine", "local", "--quiet", "--out"]
    assert run(*call, whole) == 0
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", _SOON, *call, str(out)], env=env)
    limit = time.monotonic() + 200
    while not parts(out) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = parts(out)
    assert kept
    assert 0 < len(rows(out)) < 40
    assert run(*call, out) == 0
    assert kept.items() <= parts(out).items()
    assert rows(out) == rows(whole)


def test_calls_that_are_wrong(
    trained: Path, photos: Path, tmp_path: Path, wrong: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ("segment", photos, "--world", trained, "--out", tmp_path / "out")
    assert "go with --engine" in wrong(*call, "--workers", 2)
    assert "go with --engine" in wrong(*call, "--threads", 2)
    assert "go with --engine" in wrong(*call, "--again-errors")
    assert "one worker, not 2" in wrong(*call, "--engine", "local", "--workers", 2)
    assert "1 or more" in wrong(*call, "--engine", "local", "--threads", 0)
    assert "local or ray" in wrong(*call, "--engine", "spark")
    find = lake.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ray" else find(name))
    assert "pip install 'ignota[ray]'" in wrong(*call, "--engine", "ray")
    monkeypatch.setattr(lake, "find_spec", lambda name: None)
    assert "pip install 'ignota[parquet]'" in wrong(*call, "--engine", "local")


def test_where_no_frame_can_be_read_the_input_is_wrong(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    call = ("segment", tmp_path / "bad.png", "--world", trained, "--out", tmp_path / "out", "--engine", "local")
    assert run(*call) == 2
    told = capsys.readouterr()
    assert "bad.png is no picture" in told.err and told.err.count("\n") == 1
    assert len(rows(tmp_path / "out")) == 1


def test_threads_are_taken_before_the_world_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a session of ONNX Runtime is opened with holds for good."""
    seen = []

    def opened(args: object) -> None:
        seen.append(torch.get_num_threads())
        raise InputError("as far as this test goes")

    monkeypatch.setattr(lake, "opened_world", opened)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run("segment", tmp_path, "--world", "w", "--out", tmp_path / "out", "--engine", "local") == 2
    finally:
        torch.set_num_threads(before)
    assert "as far as" in capsys.readouterr().err and seen == [1]
