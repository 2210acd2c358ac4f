"""`export`, `benchmark` and the options that say how the networks run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ignota.backends import exporting
from ignota.cli import main


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IGNOTA_CACHE", str(tmp_path_factory.mktemp("cache")))


def call(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def noted(module: Any, path: Path, names: Sequence[str], metadata: Mapping[str, Any]) -> None:
    """In place of a graph: what would stand in it."""
    path.write_text(json.dumps({"names": names, "metadata": metadata}))


def test_export_writes_one_file(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in a file is the matter of backends/test_exporting.py, and takes a minute to trace."""

    monkeypatch.setattr(exporting, "write_onnx", noted)
    target = tmp_path / "sub" / "w.onnx"
    call("export", "--world", world, "--format", "onnx", "--out", target, "--score", "energy")
    assert "short side of 48" in capsys.readouterr().out
    assert [file.name for file in target.parent.iterdir()] == ["w.onnx"]
    found = json.loads(target.read_text())
    assert found["metadata"]["score"] == "energy"
    assert "anomaly" in found["names"] and "decoder" not in found["names"]


def test_export_writes_a_branch(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., str]
) -> None:
    monkeypatch.setattr(exporting, "write_onnx", noted)
    call("export", "--world", world, "--branch", "paper", "--out", tmp_path / "w.onnx")
    found = json.loads((tmp_path / "w.onnx").read_text())
    assert found["metadata"]["branch"] == "paper" and found["names"] == ["labels", "meta_mass", "channels"]
    both = ["--branch", "paper", "--score", "energy"]
    assert "leave one of the two out" in wrong("export", "--world", world, *both, "--out", tmp_path / "v.onnx")
    assert "ignota fit --branches" in wrong("export", "--world", world, "--branch", "x", "--out", tmp_path / "v.onnx")


@pytest.mark.long
def test_an_exported_file_runs(world: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    call("export", "--world", world, "--format", "onnx", "--out", tmp_path / "w.onnx", "--score", "energy")
    session = onnxruntime.InferenceSession(tmp_path / "w.onnx")
    assert session.get_modelmeta().custom_metadata_map["score"] == "energy"
    assert "anomaly" in [output.name for output in session.get_outputs()]


def test_what_cannot_be_exported(
    wrong: Callable[..., str], world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ".pt2" in wrong("export", "--world", world, "--format", "exported-program", "--out", tmp_path / "w.onnx")
    assert "onnx or exported-program" in wrong("export", "--world", world, "--format", "tflite", "--out", "w.x")
    assert "no score" in wrong("export", "--world", world, "--out", tmp_path / "w.onnx", "--score", "raml")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "ignota[onnx]" in wrong("export", "--world", world, "--out", tmp_path / "w.onnx")


def test_benchmark_shows_and_writes_a_table(
    world: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "found.json"
    call("benchmark", "--world", world, "--images", photo, "--backends", "torch,onnx-int8", "--rounds", 1,
         "--json", target)  # fmt: skip
    shown = capsys.readouterr().out
    assert "--backend torch" in shown and "--calibrate" in shown
    found = json.loads(target.read_text())
    assert found["backends"]["torch"]["labels"] == 1 and "fault" in found["backends"]["onnx-int8"]


def test_benchmark_refuses(wrong: Callable[..., str], world: Path) -> None:
    assert "'torch-bf16'" in wrong("benchmark", "--world", world, "--backends", "torch-bf15")
    assert "1 or more" in wrong("benchmark", "--world", world, "--rounds", 0)


def test_segment_in_tiles_and_again_by_another_backend(
    world: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    def labels(out: str, *words: object) -> np.ndarray:
        call("segment", photo, "--world", world, "--size", 160, "--out", tmp_path / out, *words)
        with Image.open(tmp_path / out / "photo_labels.png") as picture:
            return np.array(picture)

    whole, tiled = labels("whole", "--tile", 0), labels("tiled", "--tile", 160)
    assert whole.shape == tiled.shape and (whole == tiled).mean() > 0.5
    capsys.readouterr()
    labels("whole", "--tile", 0)
    assert "1 of them finished before" in capsys.readouterr().out
    labels("whole", "--tile", 160)  # other results than those that lie there
    assert "finished before" not in capsys.readouterr().out


def test_backends_that_cannot_run(wrong: Callable[..., str], world: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "--calibrate" in wrong("segment", photo, "--world", world, "--out", out, "--backend", "onnx-int8")
    assert "--tile" in wrong("segment", photo, "--world", world, "--out", out, "--tile", 8)
    assert "torch-bf16" in wrong("segment", photo, "--world", world, "--out", out, "--backend", "tensorrt")
    assert "no file" in wrong(
        "segment", photo, "--world", world, "--out", out, "--backend", "onnx-int8", "--calibrate", "nothing/*.png"
    )
