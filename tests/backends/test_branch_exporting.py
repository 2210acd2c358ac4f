"""A branch as one file gives what ignota's branch gives, at any size."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ignota.backends.branch_exporting import PortableBranch, PortableMetricNetwork, export_branch
from ignota.models.onnx_export import exported_program
from ignota.perception.branch import Branch, Branches, MetricNetwork, built
from ignota.scores.dml import METRIC_SCORES
from ignota.storage import bundle
from ignota.storage.branch_files import beside
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

SIZES = [(48, 96), (49, 83)]
SYSTEMS = ("paper", "released", "dmlnet")


@pytest.fixture(scope="module")
def world(trained: Path, thinned: Callable[[Any], Any]) -> OpenWorldModel:
    world = bundle.load(trained)
    twin = MetricNetwork(beside(world.networks, copy.deepcopy(world.networks.segmenter)), {"steps": 0})
    makers = dict(world.branches.makers) | {"dmlnet": partial(built, twin)}
    world = dataclasses.replace(world, branches=Branches(makers))
    for system in SYSTEMS:
        thinned(world.branch(system).networks.segmenter)
    return world


def street(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def check(world: OpenWorldModel, system: str, found: dict[str, np.ndarray], image: np.ndarray) -> None:
    """Every output against the branch's own reading of the same working image."""
    branch: Branch | MetricNetwork = world.branch(system)
    encoding = world.encode(image, min(image.shape[:2]))
    if isinstance(branch, MetricNetwork):
        seen = branch.read(encoding)
        expected = {"embedding": seen.embedding, "decoder": seen.features}
        expected |= {f"score_{name}": branch.score(seen, name) for name in METRIC_SCORES}
        labels = seen.known
    else:
        reading = branch.read(encoding)
        cells = branch.embedder(reading.features.flatten(1).T).T.view(-1, *reading.features.shape[1:])
        expected = {"meta_mass": reading.mass(), "channels": reading.channels, "decoder": reading.features}
        expected["embedding"], labels = cells, reading.known
    assert set(found) == {"labels", *expected}
    for name, values in expected.items():
        assert np.allclose(found[name], values.numpy(), atol=2e-3, rtol=1e-3), name
    assert (found["labels"] == labels).mean() > 0.999


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_program_equals_the_branch(world: OpenWorldModel, system: str) -> None:
    kind: Any = PortableMetricNetwork if system == "dmlnet" else PortableBranch
    program = exported_program(kind(world.branch(system), True)).module()
    for size in SIZES:
        image = street(size)
        found = {name: value.numpy() for name, value in program(torch.from_numpy(image)).items()}
        check(world, system, found, image)


@pytest.mark.long
@pytest.mark.parametrize("system", SYSTEMS)
def test_onnx_equals_the_branch(world: OpenWorldModel, system: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "branch.onnx"
    export_branch(world, system, "onnx", path, features=True)
    session = onnxruntime.InferenceSession(path)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["branch"] == system and json.loads(metadata["card"])
    names = [output.name for output in session.get_outputs()]
    for size in SIZES:
        image = street(size)
        check(world, system, dict(zip(names, session.run(None, {"image": image}), strict=True)), image)


def test_a_branch_that_is_not_there(world: OpenWorldModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no branch 'other'"):
        export_branch(world, "other", "onnx", tmp_path / "w.onnx")
    assert not list(tmp_path.iterdir())
