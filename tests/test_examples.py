"""The examples run as they are."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from experiments import loop_picture
from PIL import Image

from ignota.cli import main
from ignota.data.images import read_image, read_label
from ignota.storage import bundle
from ignota.synthetic import SyntheticStreets

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ("results", "wild", "ablation-4")


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quickstart(trained: Path) -> None:
    said = script("examples/quickstart.py").main(str(trained), (48, 96))
    assert said[-1].endswith("bit for bit as before: True")
    assert "unknown regions" in said[0]


def test_the_notebook(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("IGNOTA_WORLD", str(trained))
    monkeypatch.setenv("IGNOTA_HEIGHT", "96")
    notebook = nbformat.read(ROOT / "examples" / "open_world.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    assert "marked pixels, IoU 0." in said and "conflicts: " in said
    assert said.rstrip().endswith("as before: True")


def test_the_readme_s_python(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ignota.world.previewing.FLOOD", 1.0)  # the tiny world hardly tells classes apart
    bundle.copy(trained, tmp_path / "my-world")
    Image.fromarray(SyntheticStreets("anomaly", 1, (48, 96), 4)[0].image).save(tmp_path / "photo.jpg")
    names: dict[str, Any] = {}
    exec(blocks[0], names)
    assert repr(names["world"]) == "World(tiny, 16 known, 1 taught)"
    names["world"].store.close()


@pytest.mark.slow
def test_the_readme_s_python_on_a_photograph(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped world learns the animal of a photograph from what it found unknown, and finds it there again."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    bundle.copy("camvid-11", tmp_path / "my-world")
    photo = shared_data / "road_anomaly_21_val" / "images" / "2.png"
    truth = read_label(shared_data / "road_anomaly_21_val" / "labels_masks" / photo.name) == 1
    Image.fromarray(read_image(photo)).save(tmp_path / "photo.jpg", quality=95)
    names: dict[str, Any] = {}
    exec(block, names)
    assert repr(names["world"]) == "World(camvid-11, 11 known, 1 taught)"
    assert names["preview"].iou > 0.5 and not names["preview"].doubts
    found = names["world"].segment("photo.jpg").labels == names["world"].classes.id_of("moose")
    assert (found & truth).sum() > 0.5 * truth.sum() and found[~truth].mean() < 0.1
    assert float(capsys.readouterr().out.splitlines()[-1]) == pytest.approx(found.mean())
    names["world"].store.close()


def test_the_readme_s_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line: `ignota` runs here, as does the server until the browser opens; `make` and `pip` are looked up."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [words for block in blocks for line in block.splitlines() if (words := shlex.split(line, comments=True))]
    assert len([words for words in lines if words[0] == "ignota"]) == 5
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ignota.world.previewing.FLOOD", 1.0)  # photographs are what the world was trained on
    monkeypatch.setattr("webbrowser.open", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    street = SyntheticStreets("anomaly", 1, (48, 96), 4)[0]
    assert street.label is not None
    for name in ("photo.jpg", "a.jpg"):
        Image.fromarray(street.image).save(tmp_path / name)
    Image.fromarray((street.label == 1).astype(np.uint8)).save(tmp_path / "a.png")
    for words in lines:
        if words[0] == "make":
            assert words[1] in targets
        elif words[0] == "pip":
            assert words[:2] == ["pip", "install"] and set(words[2][2:-1].split(",")) <= set(extras)
        elif words[0] == "ignota":
            more = ["--port", "0", "--memory", "16384"] if words[1] == "serve" else []  # this process has run others
            recipe = ["--recipe", "light"] if words[1] in ("segment", "learn", "serve") else []
            assert main([*words[1:], *recipe, *more]) == 0, words
        else:
            assert words == [".", ".venv/bin/activate"]
    for name in ("photo_labels.png", "photo_anomaly.png", "photo_overlay.jpg", "photo.json"):
        assert (tmp_path / "out" / name).is_file() and (tmp_path / "out2" / name).is_file()


def test_the_readme_is_short_and_its_figures_are_measured() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md") if path.stem in MEASURED)
    figures = re.findall(r"\d+\.\d(?: ± \d+\.\d)?", text.partition("## What to expect")[2].partition("\n## ")[0])
    assert len(figures) >= 7
    for figure in figures:
        assert f"| {figure} |" in pages, figure


@pytest.mark.parametrize("name", ["README.md", "examples/quickstart.py", "examples/own_segmenter.py"])
def test_worlds_are_opened_by_the_public_door(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "import ignota\n" in text
    assert not re.search(r"bundle\.load|OpenWorldModel|ignota\.world\.(marks|scene)|ignota\.engine", text)


def test_own_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    example = script("examples/own_segmenter.py")
    example.SETTINGS |= {"fit.things": 4, "fit.objectness": "none"}
    said = example.main()
    assert said[0] == "decoder: 24 channels, stride 8"
    assert said[-1].startswith("17 classes;")


def ignota(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def gravel(tmp_path: Path) -> Path:
    """Pictures in the form of the tutorial's data set."""
    for folder in ("pictures", "truth"):
        (tmp_path / "gravel" / folder).mkdir(parents=True)
    for i, sample in enumerate(SyntheticStreets("anomaly", 2, (48, 96), 3)):
        assert sample.label is not None
        truth = np.where(sample.label == 1, 255, np.where(sample.label == 255, 128, 0)).astype(np.uint8)
        Image.fromarray(sample.image).save(tmp_path / "gravel" / "pictures" / f"{i}.png")
        Image.fromarray(truth).save(tmp_path / "gravel" / "truth" / f"{i}_mask.png")
    return tmp_path / "gravel"


def test_a_score_and_a_data_set_of_one_s_own_in_every_command(
    trained: Path, gravel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], catalogues: None
) -> None:
    own = ("--plugin", ROOT / "examples" / "new_score.py", "--plugin", ROOT / "examples" / "new_dataset.py", "--quiet")
    names, new = "margin,region:margin,fuse:margin+knn,msp", tmp_path / "new"
    assert ignota("fit", "margin", "--world", trained, "--out", new, *own) == 0
    assert ignota("data", "check", "gravel", gravel, *own) == 0
    assert "gravel, val, 2 images: fine" in capsys.readouterr().out
    call = ("gravel", "--data", gravel, "--world", new, "--scores", names, *own)
    assert ignota("evaluate", "anomaly", *call, "--json", tmp_path / "e.json") == 0
    assert ignota("compare", *call, "--draws", 5, "--json", tmp_path / "c.json") == 0
    measured = json.loads((tmp_path / "e.json").read_text())["scores"]
    (ranking,) = json.loads((tmp_path / "c.json").read_text())["comparisons"]
    assert set(measured) == set(names.split(",")) == {row["name"] for row in ranking["scores"]}
    for row in ranking["scores"]:
        same = {metric: row[metric]["value"] for metric in ("aupr", "auroc", "fpr95")} | {"tpr5": row["tpr5"]}
        assert same == measured[row["name"]]["pooled"]
        assert row["component"] == measured[row["name"]]["component"]
    assert set(measured["margin"]["component"]) == {"oracle", "fixed"}  # its threshold travels in the world
    maps = tmp_path / "maps"
    assert ignota("maps", gravel / "pictures", "--scores", "margin", "--world", new, "--out", maps, *own) == 0
    assert np.load(maps / "margin" / "0.npy").shape == (48, 96)
    outside = ("--maps", f"again={maps / 'margin'}", "--json", tmp_path / "m.json")
    assert ignota("evaluate", "anomaly", *call, *outside) == 0
    again = json.loads((tmp_path / "m.json").read_text())["scores"]["again"]
    assert again["pooled"] == measured["margin"]["pooled"]
    capsys.readouterr()


@pytest.mark.parametrize("name", ["new_score", "new_dataset"])
def test_the_tutorial_s_code_is_short(name: str) -> None:
    lines = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) < 40


def test_the_readme_s_picture(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    words = ["--world", str(trained), "--out", str(tmp_path / "new" / "loop.jpg"), "--streets", "2", "--shots", "1"]
    path = loop_picture.main([*words, "--width", "200"])
    with Image.open(path) as picture:
        assert picture.size == (2 * 200 + 3 * 8, 2 * (100 + 26) + 3 * 8)
    assert "2 validation streets, seed 0" in capsys.readouterr().out


TWO_STEPS = {
    "size": 48,
    "data": {"train_length": 4, "evaluate_length": 2, "height": 48, "width": 96},
    "segmenter": {"encoder": "test_efficientnet", "weights": "none", "decoder_channels": 16},
    "closed_set": {"steps": 2, "batch": 2, "crop": [48, 64]},
    "meta_channels": {"branches": ["paper"], "steps": 2, "batch": 2},
    "region_embedder": {"steps": 2, "batch": 2, "hidden": 16, "embedding": 8, "views": 2},
    "embedder": {"steps": 2, "batch": 16, "hidden": 16, "embedding": 8},
    "fit": {"objectness": "none", "things": 4, "coreset": 50, "reference": 50, "images": 4},
    "incremental": {"shots": [1]},
}
SRUN = """#!/usr/bin/env bash
shift  # --kill-on-bad-exit=1
for task in 0 1; do SLURM_STEP_ID=0 SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NODEID=0 "$@" & done
wait -n && wait -n
"""


@pytest.mark.long
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("name", ["torchrun.sh", "slurm.sbatch"])
def test_two_processes_train_by(name: str, tmp_path: Path) -> None:
    """torchrun is the real one; for SLURM its `srun` is played by a script that sets the same variables."""
    file, out, srun = tmp_path / "two.yaml", tmp_path / "out", tmp_path / "srun"
    file.write_text(yaml.safe_dump(TWO_STEPS))
    srun.write_text(SRUN)
    srun.chmod(0o755)
    job = str(os.getpid() % 9000 + 1000)  # a port of its own follows from it
    slurm = {
        "NTASKS": "2",
        "NNODES": "1",
        "NTASKS_PER_NODE": "2",
        "NODELIST": "localhost",
        "JOB_NAME": "i",
        "JOB_ID": job,
    }
    environment = os.environ | {f"SLURM_{key}": value for key, value in slurm.items()} if name == "slurm.sbatch" else {}
    environment = dict(os.environ) | environment | {"DEVICES": "2", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    environment["PATH"] = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    words = [ROOT / "examples" / name, file, "--out", out, "--device", "cpu", "--quiet"]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert 0 <= json.loads((out / "results.json").read_text())["closed_set"]["miou"] <= 1
    assert yaml.safe_load((out / "config.yaml").read_text())["closed_set"]["frozen_norm"]
