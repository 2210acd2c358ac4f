"""run, demo and adapt, as small as they go."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tests.own_networks import taught

from ignota.cli import main
from ignota.training.configuration import ExperimentConfig
from ignota.training.settings import configuration, leaves, presets, read_preset


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


@pytest.fixture
def tiny_file(tiny: ExperimentConfig, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(plain(dataclasses.asdict(tiny))))
    return path


def test_run_writes_everything_and_goes_on(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: Callable[..., str]
) -> None:
    out = tmp_path / "out"
    call = ["run", str(tiny_file), "--out", str(out), "--incremental.shots", "[1]"]
    assert main([*call, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert {"results.json", "report.html", "config.yaml", "world"} <= {path.name for path in out.iterdir()}
    assert yaml.safe_load((out / "config.yaml").read_text())["incremental"]["shots"] == [1]
    first = json.loads((out / "results.json").read_text())
    document = (out / "world" / "world.json").read_bytes()
    assert main([*call, "--quiet"]) == 0
    again = json.loads((out / "results.json").read_text())
    assert (out / "world" / "world.json").read_bytes() == document
    assert {key: value for key, value in again.items() if key != "seconds"} == {
        key: value for key, value in first.items() if key != "seconds"
    }
    assert main(["classes", "--world", str(out / "world")]) == 0


SPOILT: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "cut image": (lambda image, label: image.write_bytes(image.read_bytes()[:300]), "is damaged or cut short"),
    "no image": (lambda image, label: image.write_text("hello"), "is no picture"),
    "unknown label id": (
        lambda image, label: Image.fromarray(np.full((48, 96), 77, np.uint8)).save(label),
        "label value 77",
    ),
    "label of another size": (
        lambda image, label: Image.fromarray(np.zeros((40, 96), np.uint8)).save(label),
        "does not fit its image",
    ),
    "missing label": (
        lambda image, label: [path.unlink() for path in label.parent.glob(f"{label.stem.removesuffix('labelIds')}*")],
        "have no label",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_training_on_a_spoilt_data_set_is_one_line(
    case: str, tiny_file: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, (spoil, words) = Path(shutil.copytree(streets, tmp_path / "streets")), SPOILT[case]
    for image in root.glob("leftImg8bit/train/*/*.png"):
        label = str(image).replace("leftImg8bit/", "gtFine/").replace("_leftImg8bit", "_gtFine_labelIds")
        spoil(image, Path(label))
    data = ["--data", str(root), "--data.dataset", "cityscapes", "--quiet"]
    assert main(["run", str(tiny_file), "--out", str(tmp_path / "out"), *data]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("ignota: ") and words in error
    assert "Traceback" not in error and "worker" not in error
    assert not (tmp_path / "out" / "world").exists()


def test_another_configuration_leaves_a_finished_run_as_it_is(
    trained: Path, tiny: ExperimentConfig, tiny_file: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    shutil.copytree(trained, tmp_path / "out" / "world")
    (tmp_path / "out" / "config.yaml").write_text("of the first run")
    call = ("run", tiny_file, "--out", tmp_path / "out", "--quiet")
    assert "was trained with another configuration" in wrong(*call, "--embedder.steps", 3)


def test_a_full_disk_ends_a_run_in_one_line(
    tiny_file: Path, tmp_path: Path, full_disk: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    full_disk(1)  # the configuration is written, the first checkpoint is not
    assert main(["run", str(tiny_file), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no space left" in error
    written = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == {"config.yaml", "hash"}


@pytest.mark.parametrize("setting", ["--segmenter.weights", "--fit.frozen_weights"])
def test_a_run_asks_no_hub_without_leave(
    setting: str, tiny_file: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    line = wrong("run", tiny_file, "--out", tmp_path / "out", "--quiet", setting, "hub")
    assert "pass --allow-download" in line


SMALL = [
    "--size", "48", "--fit.images", "6", "--fit.things", "4", "--fit.coreset", "50", "--fit.objectness", "none",
    "--embedder.steps", "2", "--embedder.batch", "16", "--device", "cpu",
]  # fmt: skip


def test_adapt(streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: Callable[..., str]) -> None:
    from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec

    torch.manual_seed(0)
    network = SmpSegmenter(SmpSpec(16, decoder_channels=32))
    torch.save(taught(network, network.classifier, streets, network.preprocessing).state_dict(), tmp_path / "mine.pth")
    call = ["adapt", str(tmp_path / "mine.pth"), "--data", str(streets), "--out", str(tmp_path / "mine"), *SMALL]
    split, named = ["--split", "cityscapes:16+3"], ["--architecture", "deeplabv3plus"]
    assert "say --architecture and --encoder" in wrong(*call, *split)
    assert "19 known ones: give --split or --classes" in wrong(*call, "--dataset", "cityscapes", *named)
    for option in (["--mean", "1,2"], ["--std", "1,b,2"], ["--std", "0,0,0"]):
        assert f"{option[0]} wants three numbers" in wrong(*call, *split, *named, *option)
    assert "--taps wants TAP=NODE" in wrong(*call, *split, *named, "--taps", "decoder")
    assert "taps are named for those alone: no --taps" in wrong(*call, *split, *named, "--taps", "decoder=x")
    assert "--classes names 1 classes, the segmenter has 16" in wrong(*call, *split, *named, "--classes", "road")
    assert main([*call, *split, *named, "--target-fpr", "0.1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "mIoU on 8 images of cityscapes" in shown[0] and shown[0].endswith(str(tmp_path / "mine-check.jpg"))
    assert (tmp_path / "mine-check.jpg").is_file()
    document = json.loads((tmp_path / "mine" / "world.json").read_text())
    assert len(document["taxonomy"]["classes"]) == 16
    assert document["recipes"]["light"]["target_fpr"] == 0.1
    assert document["results"]["check"]["miou"] > 2 * document["results"]["check"]["most_frequent"]
    assert "exists already" in wrong(*call, *split)


def test_the_demo_runs_the_synthetic_preset_and_shows_its_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ignota.training import experiment

    pooled = {"pooled": {"aupr": 0.8125, "auroc": 0.9, "fpr95": 0.1}}
    results = {
        "closed_set": {"miou": 0.615},
        "anomaly": {
            "scores": dict.fromkeys(("msp", "max_logit", "raml_paper", "raml"), pooled),
            "raml_minus_max_logit": {"low": -0.01, "mean": 0.02, "high": 0.05},
        },
        "incremental": {"5-shot": {"methods": {"raml": {"miou": dict.fromkeys(("all", "novel", "old", "harmonic"))}}}},
    }
    seen: list[tuple[ExperimentConfig, Path, None, torch.device, bool]] = []
    monkeypatch.setattr(experiment, "run_experiment", lambda *args: seen.append(args) or results)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--seed", "7", "--device", "cpu", "--closed_set.steps", "3"]) == 0
    config, out, _, device, quiet = seen[0]
    assert (config.name, config.seed, config.closed_set.steps, config.size) == ("synthetic-16+3", 7, 3, 160)
    assert (out, device, quiet) == (Path("runs/demo"), torch.device("cpu"), False)
    shown = capsys.readouterr().out
    assert (
        "closed set: 61.50 mIoU" in shown and shown.count("81.25") == 4 and "+2.0 (95 % interval -1.0 to +5.0)" in shown
    )
    assert "–" in shown and str(Path("runs/demo/report.html")) in shown
    assert main(["demo", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", presets())
def test_presets_are_whole(name: str) -> None:
    config = configuration(read_preset(name))
    assert config.name == name


def test_a_configuration_survives_its_file(tiny: ExperimentConfig, tiny_file: Path) -> None:
    assert configuration(read_preset(str(tiny_file))) == tiny
    assert len(leaves()) > 50


def test_data_is_the_root_and_data_dots_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ignota.training import experiment

    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(experiment, "run_experiment", lambda *args: seen.append(args))
    for call in (["--data", "there", "--data.split", "camvid:8+1"], ["--data=there", "--data.split=camvid:8+1"]):
        assert main(["run", "camvid-11", "--out", str(tmp_path / "o"), *call, "--size", "64", "--device", "cpu"]) == 0
        config, out, root, device, quiet, *_ = seen.pop()
        assert (config.data.split, config.size, config.seed) == ("camvid:8+1", 64, 0)
        assert (out, root, device, quiet) == (tmp_path / "o", Path("there"), torch.device("cpu"), False)
