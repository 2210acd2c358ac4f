"""Raw maps of scores as files, and maps of other methods measured beside the scores of a world."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ignota
from ignota.cli import main
from ignota.data.datasets import open_dataset
from ignota.evaluation.component_reading import to_size
from ignota.formats import smiyc
from ignota.storage import bundle


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def mapped(trained: Path, streets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Maps of two scores of the two validation streets."""
    out = tmp_path_factory.mktemp("maps")
    images = open_dataset("cityscapes", streets, "val").image_paths
    assert run("maps", *images, "--scores", "max_logit,region:knn", "--world", trained, "--out", out, "--quiet") == 0
    return out


def test_maps_lie_on_the_grid_of_the_images(
    trained: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "large.png"
    Image.open(photo).resize((200, 100)).save(large)
    call = ("maps", photo, large, "--world", trained, "--size", 48, "--out", tmp_path / "maps")
    assert run(*call, "--scores", "max_logit") == 0
    assert f"2 images → {tmp_path / 'maps' / 'max_logit'}" in capsys.readouterr().out
    found = np.load(tmp_path / "maps" / "max_logit" / "large.npy")
    assert (found.dtype, found.shape) == (np.float32, (100, 200))
    world = bundle.load(trained, size=48)
    expected = world.scores(world.encode(large), ["max_logit"])["max_logit"].numpy()
    np.testing.assert_array_equal(found, to_size(expected, (100, 200)))


def test_a_call_goes_on_where_it_was(
    trained: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ("maps", photo, "--world", trained, "--out", tmp_path / "maps", "--scores")
    assert run(*call, "msp") == 0
    assert run(*call, "region:msp") == 0
    first = (tmp_path / "maps" / "msp" / "photo.npy").stat().st_mtime_ns
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("ignota.perception.networks.Networks.encode", lambda *_: pytest.fail("it was finished"))
        assert run(*call, "msp,region:msp") == 0
    assert "1 image, 1 of them finished before" in capsys.readouterr().out
    assert run(*call, "msp,energy") == 0
    assert (tmp_path / "maps" / "msp" / "photo.npy").stat().st_mtime_ns == first
    assert (tmp_path / "maps" / "energy" / "photo.npy").is_file()
    assert run(*call, "msp", "--again") == 0
    assert (tmp_path / "maps" / "msp" / "photo.npy").stat().st_mtime_ns != first
    again = (tmp_path / "maps" / "msp" / "photo.npy").stat().st_mtime_ns
    Image.new("RGB", (64, 32)).save(photo)
    assert run(*call, "msp") == 0
    assert (tmp_path / "maps" / "msp" / "photo.npy").stat().st_mtime_ns != again
    assert np.load(tmp_path / "maps" / "msp" / "photo.npy").shape == (32, 64)


def test_faults_of_maps(trained: Path, photo: Path, tmp_path: Path, wrong: Callable[..., str]) -> None:
    call = ("maps", photo, "--world", trained, "--out", tmp_path / "maps")
    assert "--scores" in wrong(*call)
    assert "did you mean 'msp'" in wrong(*call, "--scores", "msq")
    assert "no score was named" in wrong(*call, "--scores", ",")
    assert "--every is 1 or more" in wrong(*call, "--scores", "msp", "--every", 0)
    assert "gone.png" in wrong("maps", tmp_path / "gone.png", *call[2:], "--scores", "msp", "--quiet")


@pytest.mark.parametrize("command", ["evaluate anomaly", "compare"])
def test_maps_read_in_have_the_figures_of_the_score_they_came_from(
    trained: Path, streets: Path, mapped: Path, tmp_path: Path, command: str
) -> None:
    call = (*command.split(), "cityscapes", "--data", streets, "--world", trained, "--quiet")
    outside = ("--maps", f"other={mapped / 'max_logit'}", "--maps", f"third={mapped / 'region-knn'}")
    scores = ("--scores", "max_logit,region:knn")
    more = ("--draws", 5) if command == "compare" else ()
    assert run(*call, *scores, *outside, *more, "--json", tmp_path / "a.json") == 0
    found = json.loads((tmp_path / "a.json").read_text())
    if command == "compare":
        rows = {row.pop("name"): row for row in found["comparisons"][0]["scores"]}
    else:
        rows = found["scores"]
    for name, outside_name in (("max_logit", "other"), ("region:knn", "third")):
        for figure in ("component", "open_miou"):  # maps bring no threshold
            fixed = rows[name][figure].pop("fixed", None)
            assert (fixed is not None) == (name == "max_logit")
        assert rows[name] == rows[outside_name]


def test_the_public_door_reads_maps(trained: Path, streets: Path, mapped: Path) -> None:
    maps = {"other": mapped / "max_logit"}
    figures = ignota.evaluate_anomaly(trained, "cityscapes", streets, scores=["max_logit"], maps=maps, device="cpu")
    found = figures["scores"]
    assert isinstance(found, dict) and found["other"]["pooled"] == found["max_logit"]["pooled"]


def test_maps_in_the_benchmark_s_format(trained: Path, streets: Path, mapped: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (tmp_path / "h5").mkdir()
    for path in (mapped / "max_logit").iterdir():
        smiyc.write_anomaly(tmp_path / "h5" / f"{path.stem}.hdf5", np.load(path).astype(np.float16))
    call = ("evaluate", "anomaly", "cityscapes", "--data", streets, "--world", trained, "--quiet")
    names = ("--scores", "max_logit", "--maps", f"theirs={tmp_path / 'h5'}")
    assert run(*call, *names, "--json", tmp_path / "a.json") == 0
    found = json.loads((tmp_path / "a.json").read_text())["scores"]
    for metric, value in found["max_logit"]["pooled"].items():
        assert found["theirs"]["pooled"][metric] == pytest.approx(value, abs=0.01)


def test_parts_with_maps_are_joined(trained: Path, streets: Path, mapped: Path, tmp_path: Path) -> None:
    call = ("evaluate", "anomaly", "cityscapes", "--data", streets, "--world", trained, "--quiet")
    call = (*call, "--scores", "msp", "--maps", f"other={mapped / 'max_logit'}")
    assert run(*call, "--json", tmp_path / "one.json") == 0
    for part in ("1", "2"):
        assert run(*call, "--shard", f"{part}/2", "--state", tmp_path / part) == 0
    assert run("evaluate", "merge", tmp_path / "1", tmp_path / "2", "--json", tmp_path / "all.json") == 0
    assert (tmp_path / "all.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_faults_of_maps_read_in(
    trained: Path, streets: Path, mapped: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    call = ("evaluate", "anomaly", "cityscapes", "--data", streets, "--world", trained, "--quiet", "--scores", "msp")
    good = mapped / "max_logit"
    assert "--maps is NAME=DIR" in wrong(*call, "--maps", good)
    assert "no such folder" in wrong(*call, "--maps", f"a={tmp_path / 'gone'}")
    assert "called 'msp' as another score is" in wrong(*call, "--maps", f"msp={good}")
    assert "called 'a' as another score is" in wrong(*call, "--maps", f"a={good}", "--maps", f"a={good}")
    assert "are read at one scale" in wrong(*call, "--maps", f"a={good}", "--protocol", "dmlnet")
    assert "2 of 2 images of cityscapes have no map in" in wrong(*call, "--maps", f"a={tmp_path}")
