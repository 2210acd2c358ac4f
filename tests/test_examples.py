"""The examples run as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from ignota.anomaly.fitted_scores import FITTED_SCORES
from ignota.data.datasets import DATASETS
from ignota.data.synthetic import SyntheticStreets
from ignota.world import bundle

ROOT = Path(__file__).resolve().parents[1]


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
    assert "of them recognised; it takes" in said
    assert said.rstrip().endswith("as before: True")


def test_own_segmenter() -> None:
    said = script("examples/own_segmenter.py").main()
    assert said[0] == "decoder: 24 channels, stride 8"
    assert said[-1].startswith("17 classes;")


@pytest.fixture
def catalogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples add entries to the catalogues; afterwards they are as before."""
    monkeypatch.setattr("ignota.anomaly.fitted_scores.FITTED_SCORES", dict(FITTED_SCORES))
    monkeypatch.setattr("ignota.data.datasets.DATASETS", dict(DATASETS))


def test_new_score(trained: Path, streets: Path, tmp_path: Path, catalogues: None) -> None:
    said = script("examples/new_score.py").main(str(trained), str(streets), str(tmp_path / "new"))
    assert [line.partition(": ")[0] for line in said] == ["margin", "region:margin", "fuse:margin+knn"]
    assert all("(48, 96)" in line for line in said)
    world = bundle.load(tmp_path / "new")
    assert "margin" in world.known.recipe.extra
    assert float(world.known.states["margin"]["mean"]) > 0


def test_new_dataset(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], catalogues: None) -> None:
    for folder in ("pictures", "truth"):
        (tmp_path / folder).mkdir()
    for i, sample in enumerate(SyntheticStreets("anomaly", 2, (48, 96), 3)):
        assert sample.label is not None
        truth = np.where(sample.label == 1, 255, np.where(sample.label == 255, 128, 0)).astype(np.uint8)
        Image.fromarray(sample.image).save(tmp_path / "pictures" / f"{i}.png")
        Image.fromarray(truth).save(tmp_path / "truth" / f"{i}_mask.png")
    assert script("examples/new_dataset.py").main(str(tmp_path), str(trained)) == 0
    shown = capsys.readouterr().out
    assert "gravel, val, 2 images: fine" in shown
    assert "gravel, 2 images" in shown
    assert "region:max_logit" in shown


@pytest.mark.parametrize("name", ["new_score", "new_dataset"])
def test_the_tutorial_s_code_is_short(name: str) -> None:
    lines = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) < 40


def test_the_readme_s_picture(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    words = ["--world", str(trained), "--out", str(tmp_path / "new" / "loop.jpg"), "--streets", "2", "--shots", "1"]
    path = script("docs/make_pictures.py").main([*words, "--width", "200"])
    with Image.open(path) as picture:
        assert picture.size == (2 * 200 + 3 * 8, 2 * (100 + 26) + 3 * 8)
    assert "2 validation streets, seed 0" in capsys.readouterr().out
