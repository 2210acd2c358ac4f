"""A world as one file: equal to ignota at any size, self-contained, and of use to who has onnxruntime alone."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ignota.backends.exporting import SCORES, PortableWorld, export_world, magnification
from ignota.models.onnx_export import OPSET, exported_program
from ignota.perception.features import FeatureSpace
from ignota.perception.perception import closed_labels
from ignota.scores.score import LEVEL
from ignota.storage import bundle
from ignota.structures import Encoding, InputError
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.world.model import OpenWorldModel

onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.slow
SIZES = [(48, 96), (49, 83), (76, 132), (33, 40)]


@pytest.fixture(scope="module")
def world(trained: Path, thinned: Callable[[Any], Any]) -> OpenWorldModel:
    world = bundle.load(trained)
    thinned(world.networks.segmenter), thinned(world.networks.frozen)
    return world


@pytest.fixture(scope="module")
def program(world: OpenWorldModel) -> torch.export.ExportedProgram:
    """The world as both kinds of files hold it, as tracing takes long."""
    return exported_program(PortableWorld(world, "knn", features=True))


@pytest.fixture(scope="module")
def graph(
    world: OpenWorldModel, program: torch.export.ExportedProgram, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("export") / "world.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ignota.models.onnx_export.exported_program", lambda module: program)
        export_world(world, "onnx", path, features=True)
    assert [file.name for file in path.parent.iterdir()] == ["world.onnx"]  # all tensors inside, no draft left
    return path


def street(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def run(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": image}), strict=True))


def encoded(world: OpenWorldModel, image: np.ndarray) -> Encoding:
    """As a graph reads an image of any size: the frozen encoder keeps pace with it."""
    networks, frozen = world.networks, world.networks.frozen
    assert frozen is not None
    own, frozen.size = frozen.size, round(magnification(networks) * min(image.shape[:2]))
    try:
        return world.encode(image, min(image.shape[:2]))
    finally:
        frozen.size = own


def check(world: OpenWorldModel, found: dict[str, Any], image: np.ndarray) -> None:
    """Every output against what ignota computes by itself."""
    encoding = encoded(world, image)
    maps = world.scores(encoding, SCORES)
    for name, expected in maps.items():
        near = (
            0.03 if name == "knn" else 1e-3
        )  # the picture that a graph enlarges is off by a grey level here and there
        assert np.allclose(found[f"score_{name}"], expected.numpy(), atol=near, rtol=1e-3), name
    assert np.allclose(found["logits"], encoding.logits.numpy(), atol=1e-3)
    assert (found["labels"] == closed_labels(encoding)).mean() > 0.999
    _, spread, threshold = world.known.states["knn"][LEVEL].tolist()
    unknown = found["score_knn"] > threshold
    assert np.array_equal(found["labels_with_unknown"] == UNKNOWN_INDEX, unknown)
    assert np.array_equal(found["labels_with_unknown"][~unknown], found["labels"][~unknown])
    assert np.allclose(found["anomaly"], 1 / (1 + np.exp(-(found["score_knn"] - threshold) / spread)), atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_onnx_equals_the_world(world: OpenWorldModel, graph: Path, size: tuple[int, int]) -> None:
    image = street(size)
    found = run(graph, image)
    check(world, found, image)
    encoding = encoded(world, image)
    for tap, grid in encoding.features.items():
        off = np.abs(found[tap] - grid.numpy()).mean() / np.abs(grid.numpy()).mean()
        assert off < (0.05 if tap.startswith("frozen/") else 1e-3), tap
    for name, space in world.known.spaces.items():
        cells = torch.from_numpy(found[f"embedding_{name}"]).flatten(1).T
        assert torch.allclose(cells.norm(dim=1), torch.ones(len(cells)), atol=1e-4)
        assert cells.shape[1] == space.prototypes.shape[1]


def test_the_embedding_is_that_of_the_world_s_own_space(world: OpenWorldModel, graph: Path) -> None:
    """On a grid of stride 8 of flat grey, where every way to bring taps to it agrees."""
    image = np.full((64, 128, 3), 128, np.uint8)
    found, space = run(graph, image), world.known.space
    assert isinstance(space, FeatureSpace)
    cells = torch.from_numpy(found["embedding"]).flatten(1).T
    assert cells.shape == (8 * 16, space.known.shape[1])
    nearest = 1 - space.known_similarity(cells).view(8, 16)
    fine = torch.nn.functional.interpolate(nearest[None, None], size=found["logits"].shape[1:], mode="bilinear")
    whole = torch.nn.functional.interpolate(fine, size=(64, 128), mode="bilinear")[0, 0]
    assert np.allclose(whole.numpy(), found["score_knn"], atol=1e-3)


def test_an_exported_program_equals_the_world(
    world: OpenWorldModel, program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "world.pt2"
    monkeypatch.setattr("ignota.backends.exporting.exported_program", lambda module: program)
    export_world(world, "exported-program", path, score="knn", features=True)
    extra = {"ignota.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra["ignota.json"])["score"] == "knn"
    for size in SIZES[:2]:
        image = street(size)
        check(world, {name: value.numpy() for name, value in program(torch.from_numpy(image)).items()}, image)


def test_metadata_tells_how_to_use_it(world: OpenWorldModel, graph: Path) -> None:
    told = onnxruntime.InferenceSession(graph).get_modelmeta().custom_metadata_map
    assert told["opset"] == str(OPSET) and told["working_size"] == "48" and told["unknown"] == "254"
    assert json.loads(told["labels"]) == {str(i): name for i, name in enumerate(world.taxonomy.names)}
    thresholds = json.loads(told["thresholds"])
    assert set(thresholds) == set(SCORES)
    assert thresholds["knn"] == float(world.known.states["knn"][LEVEL][2])  # a rounded one would part other pixels
    assert "raml" in told["left_out"]


def test_a_stranger_runs_it(graph: Path, tmp_path: Path) -> None:
    """The example of docs/export.md, in a process that has neither ignota nor torch."""
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    from PIL import Image

    Image.fromarray(street((90, 180))).save(tmp_path / "photo.jpg")
    (tmp_path / "camvid-11.onnx").write_bytes(graph.read_bytes())
    guard = "import sys\nsys.modules['ignota'] = sys.modules['torch'] = None\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", guard + example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "% unknown" in done.stdout
    with Image.open(tmp_path / "photo_labels.png") as labels:
        assert labels.size == (96, 48)


def test_a_score_that_no_graph_holds_is_refused(world: OpenWorldModel) -> None:
    with pytest.raises(InputError, match="no score 'raml'"):
        PortableWorld(world, "raml", False)


def test_without_onnx_it_is_told_what_to_install(
    world: OpenWorldModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"ignota\[onnx\]"):
        export_world(world, "onnx", tmp_path / "world.onnx")
    assert not [*tmp_path.iterdir()]


def test_features_of_an_objectness_network_are_refused(trained: Path) -> None:
    world = bundle.load(trained)
    networks = dataclasses.replace(world.networks, taps=(*world.networks.taps, "objectness/block8"))
    with pytest.raises(InputError, match="features of its objectness network, which no graph holds"):
        PortableWorld(dataclasses.replace(world, networks=networks), "knn", False)


def test_a_frozen_encoder_that_sees_less_than_the_segmenter_is_refused(trained: Path, tmp_path: Path) -> None:
    world = bundle.load(trained, size=96)
    with pytest.raises(InputError, match="--size 60 or less"):
        export_world(world, "onnx", tmp_path / "world.onnx")
    assert not list(tmp_path.iterdir())
