"""Segmenters from sources and from world.json."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import nn

from ignota.models import opening
from ignota.models.build import SegmenterDescription, build_segmenter, describe, load_strictly
from ignota.models.opening import Hints, open_segmenter, triple
from ignota.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, ClosedSetSegmenter
from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec, decoder_features, to_channels_last
from ignota.models.tapped import TappedModule
from ignota.models.transformers_segmenter import TransformersSegmenter
from ignota.structures import InputError, Preprocessing

Make = Callable[[str], ClosedSetSegmenter]
SPEC = SmpSpec(5, decoder_channels=16)


def one_line(function: Callable[[], object], *words: str) -> None:
    with pytest.raises(InputError) as caught:
        function()
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def through_json(description: SegmenterDescription) -> SegmenterDescription:
    again = SegmenterDescription.from_json(json.loads(json.dumps(description.to_json())))
    assert again == description
    return again


@torch.no_grad()
def same(one: ClosedSetSegmenter, other: ClosedSetSegmenter, exact: bool = True) -> None:
    assert one.taps == other.taps and one.preprocessing == other.preprocessing
    images = torch.randn(2, 3, 40, 72)
    first, second = one.eval()(images), other.eval()(images)
    tolerance = {"atol": 1e-5, "rtol": 1e-4} if exact else {"atol": 0.05, "rtol": 0.05}
    torch.testing.assert_close(first.logits, second.logits, **tolerance)
    for name in one.taps:
        torch.testing.assert_close(first.features[name], second.features[name], **tolerance)


@pytest.mark.parametrize("kind", ["deeplabv3plus", "pspnet", "segformer", "mask2former", "exported", "exported_fixed"])
def test_a_description_and_weights_bring_the_segmenter_back(make: Make, kind: str, tmp_path: Path) -> None:
    first = make(kind)
    description, files = describe(first)
    for file in files:
        shutil.copyfile(file, tmp_path / file.name)
    weights = {name: value.clone() for name, value in first.state_dict().items()}
    second = build_segmenter(through_json(description), weights if description.has_weights else None, tmp_path)
    assert description.has_weights == (not files) == (not kind.startswith("exported"))
    same(first, second)


def test_half_precision_is_widened(make: Make) -> None:
    first = make("deeplabv3plus")
    weights = {k: v.half() if v.is_floating_point() else v for k, v in first.state_dict().items()}
    second = build_segmenter(describe(first)[0], weights)
    assert all(parameter.dtype == torch.float32 for parameter in second.parameters())
    assert torch.equal(second.state_dict()["classifier.weight"], weights["classifier.weight"].float())
    same(first, second, exact=False)


def test_weights_that_do_not_fit(make: Make) -> None:
    first = make("deeplabv3plus")
    description, weights = describe(first)[0], first.state_dict()
    name = "classifier.weight"
    one_line(lambda: build_segmenter(description, weights | {name: torch.zeros(1)}), name, "has shape (1,)")
    one_line(lambda: build_segmenter(description, weights | {"stranger": torch.zeros(1)}), "stranger")
    one_line(lambda: build_segmenter(description, {k: v for k, v in weights.items() if k != name}), name, "missing")
    one_line(lambda: build_segmenter(description, weights | {name: weights[name].int()}), "torch.int32")
    one_line(lambda: build_segmenter(dataclasses.replace(description, num_classes=6), weights), "num_classes is 6")


def test_a_program_in_the_bundle_is_checked(make: Make, tmp_path: Path) -> None:
    description, files = describe(make("exported"))
    one_line(lambda: build_segmenter(description, None, tmp_path), "cannot read")
    content = bytearray(files[0].read_bytes())
    content[-1] ^= 1
    (tmp_path / files[0].name).write_bytes(content)
    one_line(lambda: build_segmenter(description, None, tmp_path), "SHA-256")


def test_a_bundle_s_program_holds_no_pickle(make: Make) -> None:
    files = describe(make("exported"))[1]
    assert b"sample_inputs" not in files[0].read_bytes()


FACTORY = """
from torch import nn
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1))
def ready():
    from ignota.models.tapped import TappedModule
    return TappedModule(network(), {"first": "0"}, multiple=2)
"""


@pytest.mark.parametrize("function", ["network", "ready"])
def test_a_factory_in_a_world_needs_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    (tmp_path / "a_factory.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    source = f"a_factory:{function}"
    one_line(lambda: open_segmenter(source), "allow_code=True")
    first = open_segmenter(source, allow_code=True)
    description = through_json(describe(first)[0])
    same(first, build_segmenter(description, first.state_dict()))  # allowed once
    monkeypatch.setenv("IGNOTA_STATE", str(tmp_path / "another machine"))
    one_line(lambda: build_segmenter(description, first.state_dict()), "allow_code=True")
    same(first, build_segmenter(description, first.state_dict(), allow_code=True))
    strange = dataclasses.replace(description, options={"layer": {}})
    one_line(lambda: build_segmenter(strange, None, allow_code=True), "did you mean 'layers'")


def test_what_lives_in_memory_alone_cannot_be_described() -> None:
    net = TappedModule(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1)), multiple=2)
    one_line(lambda: describe(net), "from_factory")


def good() -> dict[str, Any]:
    return SegmenterDescription("smp", 5, smp=SPEC).to_json()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "smpp"}, "segmenter.kind: 'smpp' is unknown; did you mean 'smp'?"),
        ({"kind": None}, "segmenter.kind"),
        ({"num_classes": "5"}, "segmenter.num_classes"),
        ({"num_classes": 0}, "segmenter.num_classes"),
        ({"num_classes": True}, "segmenter.num_classes"),
        ({"num_clases": 5}, "did you mean 'num_classes'"),
        ({"preprocessing": {"mean": [1, 2], "std": [1, 1, 1]}}, "segmenter.preprocessing: mean"),
        ({"preprocessing": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "segmenter.preprocessing: std"),
        ({"preprocessing": []}, "segmenter.preprocessing"),
        ({"smp": {"num_classes": 5, "encodr": "x"}}, "did you mean 'encoder'"),
        ({"smp": {"num_classes": 5, "output_stride": -1}}, "segmenter.smp: output_stride"),
        ({"smp": {}}, "segmenter.smp: the field 'num_classes' is missing"),
        ({"kind": "exported", "file": "../../etc/passwd", "sha256": "0"}, "segmenter.file"),
        ({"kind": "exported", "file": "..", "sha256": "0"}, "segmenter.file"),
        ({"kind": "exported"}, "needs the field 'file'"),
        ({"kind": "transformers"}, "needs the field 'config'"),
        ({"kind": "transformers", "config": [1]}, "segmenter.config"),
        ({"kind": "module"}, "needs the field 'factory'"),
        ({"factory": 3}, "segmenter.factory"),
    ],
)
def test_damaged_json_names_the_field(change: dict[str, Any], words: str) -> None:
    one_line(lambda: SegmenterDescription.from_json(good() | change), words)


def test_json_that_is_no_object() -> None:
    for content in (None, [], "smp", 3):
        one_line(lambda content=content: SegmenterDescription.from_json(content), "JSON object")
    one_line(lambda: SegmenterDescription.from_json({}), "'kind' is missing")
    one_line(lambda: SegmenterDescription.from_json({"kind": "smp"}), "needs the field 'smp'")


def test_networks_that_cannot_be_built() -> None:
    for spec in (dataclasses.replace(SPEC, encoder="resnet999"), dataclasses.replace(SPEC, architecture="unet")):
        one_line(lambda spec=spec: build_segmenter(SegmenterDescription("smp", 5, smp=spec), None))
    wrong = SegmenterDescription("smp", 5, config={"_model_class": "Unett"})
    one_line(lambda: build_segmenter(wrong, None), "did you mean 'Unet'")
    wrong = SegmenterDescription("smp", 5, config={"_model_class": "Unet", "encoder_name": "nothing"})
    one_line(lambda: build_segmenter(wrong, None), "config.encoder_name: timm registers no encoder 'nothing'")


@pytest.mark.parametrize(
    "more",
    [{"checkpoint_path": "bomb"}, {"pretrained_cfg": {"file": "x"}}, {"pretrained": True}, {"cache_dir": "x"},
     {"pretrained_cfg_overlay": {}}, {"encoder_weights": "a/b"}, {"features_cls": None}],
    ids=repr,
)  # fmt: skip
def test_smp_hands_timm_numbers_alone(more: dict[str, Any]) -> None:
    config = {"_model_class": "Unet", "encoder_name": "tu-resnet18", "classes": 5} | more
    one_line(lambda: build_segmenter(SegmenterDescription("smp", 5, config=config), None), f"config.{next(iter(more))}")


@pytest.mark.parametrize("name", ["Unet", "DeepLabV3Plus"])
def test_a_folder_of_smp(tmp_path: Path, name: str) -> None:
    network = getattr(smp, name)("resnet18", encoder_weights=None, classes=5).eval()
    network.save_pretrained(tmp_path / "net")
    segmenter = open_segmenter(str(tmp_path / "net"))
    assert {"decoder", "stage2", "stage5"} <= set(segmenter.taps) and segmenter.num_classes == 5
    assert segmenter.preprocessing == Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        output = segmenter(images)
        assert torch.equal(network.segmentation_head[0](output.features["decoder"]), output.logits)
        assert torch.equal(network.encoder(images)[3], output.features["stage3"])
    if name == "Unet":
        again = build_segmenter(through_json(describe(segmenter)[0]), segmenter.state_dict())
        same(segmenter, again)
        state = network.state_dict()
        state.pop("segmentation_head.0.bias")
        safetensors.torch.save_file(state, tmp_path / "net" / "model.safetensors")
        one_line(lambda: open_segmenter(str(tmp_path / "net")), "segmentation_head.0.bias")
        (tmp_path / "net" / "model.safetensors").unlink()
        one_line(lambda: open_segmenter(str(tmp_path / "net")), "holds no model.safetensors")


def test_a_timm_encoder_brings_its_own_normalisation(tmp_path: Path) -> None:
    smp.FPN("tu-tf_efficientnet_lite0", encoder_weights=None, classes=5).save_pretrained(tmp_path)
    assert open_segmenter(str(tmp_path)).preprocessing == Preprocessing((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_our_own_state_dict(make: Make, tmp_path: Path, prefix: str) -> None:
    first = make("deeplabv3plus")
    path = tmp_path / "net.pth"
    torch.save({"state_dict": {prefix + name: value for name, value in first.state_dict().items()}}, path)
    one_line(lambda: open_segmenter(str(path)), "architecture=")
    same(first, open_segmenter(str(path), Hints("deeplabv3plus")))  # classes and width are read from the weights
    one_line(lambda: open_segmenter(str(path), Hints(encoder="resnet18")), str(path))
    torch.save(nn.Linear(2, 2).state_dict(), path)
    one_line(lambda: open_segmenter(str(path), Hints("deeplabv3plus")), "another network")


def test_a_state_dict_tells_of_its_detail(make: Make, tmp_path: Path) -> None:
    first = make("deeplabv3plus_detail")
    torch.save(first.state_dict(), tmp_path / "net.pth")
    same(first, open_segmenter(str(tmp_path / "net.pth"), Hints("deeplabv3plus")))


SMP: dict[str, dict[str, Any]] = {
    "Unet": {"decoder_channels": (32, 16, 8), "encoder_depth": 3},
    "UnetPlusPlus": {"decoder_channels": (32, 16, 8, 8, 8)},
    "MAnet": {"decoder_channels": (32, 16, 8, 8, 8), "decoder_pab_channels": 8},
    "Linknet": {},
    "FPN": {"decoder_pyramid_channels": 24, "decoder_segmentation_channels": 32},
    "PSPNet": {"psp_out_channels": 16},
    "DeepLabV3": {"decoder_channels": 16},
    "DeepLabV3Plus": {"decoder_channels": 16},
    "PAN": {"decoder_channels": 8},
    "UPerNet": {"decoder_channels": 16},
    "Segformer": {"decoder_segmentation_channels": 16},
}


OFTEN = ("Unet", "MAnet", "FPN", "PAN", "Segformer")


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.long) for name in SMP]
)
def test_a_checkpoint_of_any_smp_network(tmp_path: Path, name: str) -> None:
    """As Lightning keeps it: below a prefix, beside other tensors and settings."""
    torch.manual_seed(0)
    network = getattr(smp, name)("resnet18", encoder_weights=None, classes=5, **SMP[name]).eval()
    state = {f"model.{key}": value for key, value in network.state_dict().items()} | {"mean": torch.zeros(3)}
    hyper = {"arch": name, "encoder_name": "resnet18", "lr": 0.1}
    torch.save({"state_dict": state, "hyper_parameters": hyper, "epoch": 3}, tmp_path / "net.ckpt")
    told = open_segmenter(str(tmp_path / "net.ckpt"))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    given = open_segmenter(str(tmp_path / "net.pth"), Hints(name.lower(), "resnet18"))
    images, read = torch.randn(1, 3, 128, 256), []
    network.segmentation_head[0].register_forward_hook(lambda _, given, output: read.extend((given[0], output)))
    with torch.no_grad():
        network(images)
        for segmenter in (told, given):
            output = segmenter(images)
            torch.testing.assert_close(output.features["decoder"], read[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(output.logits, read[1], atol=1e-5, rtol=1e-4)
    again = build_segmenter(through_json(describe(given)[0]), given.state_dict())
    same(given, again)


def test_architectures_however_they_are_written(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "net.pth")
    for name, words in (
        ("Unet++", "it is of another network than smp's UnetPlusPlus"), ("deeplab-v3+", "smp's DeepLabV3Plus"),
        ("unett", "no architecture 'unett'; did you mean 'Unet'?"), ("fcn_resnet50", "than torchvision's fcn_resnet50"),
    ):  # fmt: skip
        one_line(lambda name=name: open_segmenter(str(tmp_path / "net.pth"), Hints(name, "resnet18")), words)


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("ran",)


def test_a_checkpoint_is_never_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}, "callbacks": Bomb()}, tmp_path / "net.ckpt")
    one_line(lambda: open_segmenter(str(tmp_path / "net.ckpt"), Hints("unet")), "save it again as .safetensors")
    assert capsys.readouterr().out == ""


def test_mean_and_std_of_the_caller_stay(tmp_path: Path) -> None:
    smp.Unet("resnet18", encoder_weights=None, classes=5).save_pretrained(tmp_path)
    given = open_segmenter(str(tmp_path), Hints(mean=(0.0, 0.0, 0.0)))
    assert given.preprocessing == Preprocessing((0.0, 0.0, 0.0), IMAGENET_STD)
    assert build_segmenter(through_json(describe(given)[0]), None).preprocessing == given.preprocessing
    torch.save(SmpSegmenter(SPEC).state_dict(), tmp_path / "net.pth")
    ours = open_segmenter(str(tmp_path / "net.pth"), Hints("deeplabv3plus", mean=(0.0, 0.1, 0.0)))
    assert ours.preprocessing == Preprocessing((0.0, 0.1, 0.0), (0.5, 0.5, 0.5))
    assert build_segmenter(through_json(describe(ours)[0]), None).preprocessing == ours.preprocessing
    for values in ([0.1], [0, 0, float("nan")], [0.0, 1.0, 1.0]):
        with pytest.raises(InputError, match="std wants three numbers"):
            triple("std", values)


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_torchvision(tmp_path: Path, name: str) -> None:
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5).eval()
    torch.save({"model": network.state_dict(), "epoch": 1}, tmp_path / "net.pth")
    segmenter = open_segmenter(str(tmp_path / "net.pth"), Hints(name))
    assert segmenter.num_classes == 5 and {"decoder", "stage5"} <= set(segmenter.taps)
    with torch.no_grad():
        images = torch.randn(1, 3, 64, 96)
        whole = nn.functional.interpolate(segmenter(images).logits, (64, 96), mode="bilinear")
        torch.testing.assert_close(whole, network(images)["out"], atol=1e-4, rtol=1e-3)
    same(segmenter, build_segmenter(through_json(describe(segmenter)[0]), segmenter.state_dict()))
    one_line(lambda: open_segmenter(f"torchvision:{name}"), "allow_download=True")
    one_line(lambda: open_segmenter("torchvision:fcn_resnet5"), "did you mean 'fcn_resnet50'")
    strange = SegmenterDescription("torchvision", 5, config={"name": "resnet18", "classes": 5})
    one_line(lambda: build_segmenter(strange, None), "config.name: torchvision has no segmenter 'resnet18'")
    strange = SegmenterDescription("torchvision", 5, config={"name": name, "classes": 10**9})
    one_line(lambda: build_segmenter(strange, None), "config.classes")


def test_sources_of_every_kind(saved: Callable[[str], Path], programs: tuple[Path, Path, nn.Module]) -> None:
    assert isinstance(open_segmenter(str(saved("segformer"))), TransformersSegmenter)
    assert open_segmenter(str(programs[0])).num_classes == 5


def test_what_a_hub_and_torchvision_send(saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are asked only by leave, for tensors and configurations alone."""
    from torchvision.models.segmentation import LRASPP_MobileNet_V3_Large_Weights as Published

    asked: list[Any] = []
    monkeypatch.setattr(opening, "snapshot_download", lambda *a, **k: asked.append((a, k)) or str(saved("segformer")))
    network = torchvision.models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None)
    monkeypatch.setattr(Published, "get_state_dict", lambda self, **k: asked.append(k) or network.state_dict())
    one_line(lambda: open_segmenter("somebody/segformer"), "a name on a hub: pass allow_download=True")
    one_line(lambda: open_segmenter("torchvision:lraspp_mobilenet_v3_large"), "allow_download=True")
    assert not asked
    assert open_segmenter("somebody/segformer", allow_download=True).num_classes == 5
    assert not [name for name in asked[0][1]["allow_patterns"] if name.endswith((".py", "*"))]
    found = open_segmenter("torchvision:lraspp_mobilenet_v3_large", allow_download=True)
    assert asked[1]["weights_only"] and asked[1]["check_hash"] and found.class_names[15] == "person"

    def fails(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(opening, "snapshot_download", fails)
    monkeypatch.setattr(Published, "get_state_dict", fails)
    for source in ("somebody/segformer", "torchvision:lraspp_mobilenet_v3_large"):
        one_line(lambda source=source: open_segmenter(source, allow_download=True), "could not be downloaded (OSError)")


def test_a_transformers_folder_with_a_pytorch_file(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = saved("segformer")
    first = open_segmenter(str(folder))
    shutil.copyfile(folder / "config.json", tmp_path / "config.json")
    torch.save(safetensors.torch.load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    same(first, open_segmenter(str(tmp_path)))
    torch.save({"weights": Bomb()}, tmp_path / "pytorch_model.bin")
    one_line(lambda: open_segmenter(str(tmp_path)), "save it again as .safetensors")


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "segformer").mkdir()
    one_line(lambda: open_segmenter(str(tmp_path / "segfomer")), "does not exist", "did you mean 'segformer'?")
    one_line(lambda: open_segmenter(str(tmp_path / "nowhere" / "x")), "does not exist")
    one_line(lambda: open_segmenter(str(tmp_path / "segformer")), "holds no config.json")
    (tmp_path / "notes.txt").touch()
    one_line(lambda: open_segmenter(str(tmp_path / "notes.txt")), "of no known kind")


def test_strict_loading_says_what_differs() -> None:
    layer = nn.BatchNorm2d(2)
    load_strictly(layer, {**layer.state_dict(), "weight": torch.full((2,), 3.0)}, "file")
    assert layer.weight.tolist() == [3.0, 3.0]
    one_line(lambda: load_strictly(layer, {}, "file"), "5 of 5 tensors are missing")


def test_smp_segmenters_of_this_package() -> None:
    one_line(lambda: SmpSegmenter(dataclasses.replace(SPEC, architecture="deeplabv3")), "did you mean 'deeplabv3plus'?")
    segmenter = to_channels_last(SmpSegmenter(SPEC).eval())
    segmenter.load_imagenet("package")
    one_line(lambda: segmenter.load_imagenet("/nowhere.pth"), "no weights at /nowhere.pth")
    output = segmenter(torch.randn(1, 3, 64, 64))
    assert decoder_features(output) is output.features["decoder"]
    assert torch.equal(segmenter.classifier(decoder_features(output)), output.logits)
