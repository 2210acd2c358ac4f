"""A run that is killed at any moment and called again ends with the same bits as one that never was."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

KILLS = 5
EXPERIMENT = {
    "name": "killed",
    "size": 48,
    "data": {"train_length": 12, "evaluate_length": 2, "height": 48, "width": 96},
    "segmenter": {"weights": "none", "decoder_channels": 32},
    "closed_set": {"steps": 20, "batch": 2, "crop": [48, 64], "warmup": 2, "checkpoint_every": 2},
    "meta_channels": {"steps": 8, "batch": 2, "checkpoint_every": 2},
    "region_embedder": {"steps": 6, "batch": 2, "views": 2, "checkpoint_every": 2},
    "embedder": {"steps": 12, "batch": 16, "hidden": 16, "embedding": 8},
    "fit": {"objectness": "none", "things": 4, "coreset": 50, "reference": 50, "images": 8},
    "incremental": {"shots": [1]},
}


SYSTEMS = [
    f"{stage}_{name}" for stage in ("meta_channels", "region_embedder", "embedder") for name in ("paper", "released")
]


def call(file: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "ignota", "run", str(file), "--out", str(out), "--quiet", "--device", "cpu"]


def progress(out: Path) -> set[tuple[str, int]]:
    """Every checkpoint and record there is, by name and time: it changes whenever the run has got on."""
    found = set()
    for path in [*out.glob("stages/*/last.ckpt"), *out.glob("stages/*/stage.json")]:
        try:
            found.add((str(path), path.stat().st_mtime_ns))
        except FileNotFoundError:  # removed since it was listed
            continue
    return found


def run_and_kill(words: list[str], out: Path, moments: random.Random) -> bool:
    """Kills the run a random while after it has got on a random number of times; False if it ended before."""
    left = moments.randint(1, 5)
    with subprocess.Popen(words) as process:
        before = progress(out)
        while process.poll() is None and left:
            time.sleep(0.005)
            now = progress(out)
            left -= now != before
            before = now
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
    return process.returncode < 0


def figures(out: Path) -> dict[str, object]:
    found = json.loads((out / "results.json").read_text())
    return {key: value for key, value in found.items() if key != "seconds"}


@pytest.mark.long
def test_killed_at_random_moments(tmp_path: Path) -> None:
    file, whole, killed = tmp_path / "killed.yaml", tmp_path / "whole", tmp_path / "killed"
    file.write_text(yaml.safe_dump(EXPERIMENT))
    subprocess.run(call(file, whole), check=True)
    moments = random.Random(0)
    assert sum(run_and_kill(call(file, killed), killed, moments) for _ in range(KILLS)) >= 3
    subprocess.run(call(file, killed), check=True)

    stored = sorted(whole.glob("**/*.safetensors"))
    names = {path.parent.name if path.name == "weights.safetensors" else path.name for path in stored}
    assert names >= {"closed_set", "world", *SYSTEMS, *(f"branch-{name}.safetensors" for name in ("paper", "released"))}
    for tensors in stored:
        assert tensors.read_bytes() == (killed / tensors.relative_to(whole)).read_bytes(), tensors
    assert (killed / "world" / "world.json").read_bytes() == (whole / "world" / "world.json").read_bytes()
    assert figures(killed) == figures(whole)
    assert not [*killed.glob("stages/*/*.ckpt"), *killed.glob("stages/*/.*.part")]
