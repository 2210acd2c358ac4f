"""The paper's own two set-ups, two optimiser steps a stage, on generated data in the layouts of their data sets.

By default a small encoder stands in for ResNet-101, which the configuration names all the same.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ignota.cli import main
from ignota.training.settings import configuration, read_preset

# Without ImageNet weights (they need a hub), at sizes for a laptop.
SMALL = (
    "--segmenter.weights none --size 64 --closed_set.steps 2 --closed_set.batch 2 --closed_set.crop [64,64]"
    " --meta_channels.steps 2 --meta_channels.batch 2 --region_embedder.steps 2 --region_embedder.batch 2"
    " --embedder.steps 2 --embedder.batch 16 --fit.images 4"
    " --fit.objectness_size 56 --fit.things 4 --fit.coreset 30 --fit.reference 30 --incremental.shots [1]"
    " --device cpu --quiet"
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("preset", "layout", "architecture", "known"),
    [("cityscapes-16+3", "cityscapes", "deeplabv3plus", 16), ("bdd100k-anomaly", "bdd100k", "pspnet", 19)],
)
@pytest.mark.parametrize("encoder", ["resnet18", "resnet101"])
def test_two_steps(
    preset: str,
    layout: str,
    architecture: str,
    known: int,
    encoder: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert configuration(read_preset(preset)).segmenter.encoder == "resnet101"
    root, out = tmp_path / "data", tmp_path / "out"
    drawn = ["--layout", layout, "--size", "64x128", "--train", "4", "--val", "2", "--seed", "4", "--quiet"]
    assert main(["data", "synthesize", str(root), *drawn]) == 0
    small = ["--segmenter.encoder", encoder, *SMALL.split()]
    assert main(["run", preset, "--data", str(root), "--out", str(out), *small]) == 0, capsys.readouterr().err
    document = json.loads((out / "world" / "world.json").read_text())
    network = document["segmenter"]["smp"]
    assert (network["architecture"], network["encoder"], network["num_classes"]) == (architecture, encoder, known)
    branches = [f"{stage}_{name}" for stage in ("meta_channels", "region_embedder") for name in ("paper", "released")]
    for stage in ("closed_set", *(branches if known == 16 else ()), "embedder_paper", "embedder_released"):
        record = json.loads((out / "stages" / stage / "stage.json").read_text())
        step, loss = record["losses"][-1]
        assert step == 2 and math.isfinite(loss)
    results = json.loads((out / "results.json").read_text())
    assert results["closed_set"]["miou"] is not None
    assert set(results.get("incremental", {})) == ({"1-shot"} if known == 16 else set())
