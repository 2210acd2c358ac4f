"""Whenever a call is killed, the next one works, and nothing hidden or temporary stays behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ignota.cli import main
from ignota.synthetic.streets import SyntheticStreets

COMMANDS = ("learn", "forget", "segment", "discover", "export", "init")


@pytest.fixture
def start(world: Path, tmp_path: Path) -> Path:
    """A world that knows a class `barrel`, photos, and a mask."""
    folder = tmp_path / "start"
    (folder / "photos").mkdir(parents=True)
    streets = SyntheticStreets("anomaly", 3, (48, 96), 3)
    for number in range(3):
        Image.fromarray(streets[number].image).save(folder / "photos" / f"p{number}.png")
    pixels = np.zeros((48, 96), np.uint8)
    pixels[20:40, 30:60] = 255
    Image.fromarray(pixels).save(folder / "mask.png")
    shutil.move(world, folder / "world")
    shown = ("--image", folder / "photos" / "p1.png", "--mask", folder / "mask.png")
    words = ("learn", "barrel", *shown, "--world", folder / "world", "--force", "--quiet")
    assert main([str(word) for word in words]) == 0
    return folder


def check(found: list[dict[str, object]]) -> int:
    """Every kill against the call that was not killed; returns how many calls were killed before they were done."""
    whole = found[0]
    assert whole["code"] == 0, whole["said"]
    killed = 0
    for trial in found[1:]:
        killed += trial["code"] is None
        assert trial["code"] in (0, None), trial
        if trial["again"] != 0:  # done before it was killed, or on the disk already
            assert (trial["again"], trial["complaint"]) == (whole["again"], whole["complaint"]), trial
        names = [Path(str(name)) for name in trial["left"]]  # type: ignore[attr-defined]
        assert not [name for name in names if name.name[0] == "." or name.name.endswith(("-wal", "-shm", "-journal"))]
        assert trial["left"] == whole["left"], trial
    return killed


def kills(start: Path, place: Path, commands: Sequence[str], count: int, seed: int) -> int:
    """`count` kills of each command, all from one process, as loading everything takes the most time."""
    script = Path(__file__).with_name("killed_calls.py")
    words = [sys.executable, script, start, place, ",".join(commands), str(count), str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=1700, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(commands) * (count + 1)
    return sum(check(found[at : at + count + 1]) for at in range(0, len(found), count + 1))


@pytest.mark.long
def test_a_few_kills(start: Path, tmp_path: Path) -> None:
    """Of all commands but export, which takes half a minute a call."""
    commands = [name for name in COMMANDS if name != "export"]
    assert kills(start, tmp_path / "place", commands, 2, 0) >= len(commands)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("command", COMMANDS)
def test_thirty_kills(start: Path, tmp_path: Path, command: str, seed: int) -> None:
    assert kills(start, tmp_path / "place", (command,), 10, seed) >= 6
