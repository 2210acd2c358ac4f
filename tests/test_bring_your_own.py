"""Every call of docs/bring-your-own.md, typed as it stands there; and segmenters that do not know their classes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from tests.own_networks import IMAGENET, SmallNetwork, taught, write_onnx

from ignota.cli import main
from ignota.data.datasets import open_dataset
from ignota.perception.networks import network_input
from ignota.taxonomy import CITYSCAPES

PAGE = Path(__file__).parents[1] / "docs" / "bring-your-own.md"
CALLS = re.findall(r"^ignota (adapt .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
SMALL = [
    "--size", "48", "--fit.images", "3", "--fit.things", "2", "--fit.coreset", "50", "--fit.reference", "20",
    "--fit.objectness", "none", "--fit.scores", "[]", "--fit.trusted", "0", "--fit.weights", "[0.3, 0.3, 0.4]",
    "--embedder.steps", "1", "--embedder.batch", "8", "--device", "cpu",
]  # fmt: skip
LONG = ("worlds/checkpoint", "worlds/hub", "worlds/half", "worlds/permuted")
"""Kinds that differ from another one only before anything is fitted."""


def small(root: Path, mean: float | None = None) -> SmallNetwork:
    network = SmallNetwork()
    how = IMAGENET if mean is None else type(IMAGENET)((mean,) * 3, (mean,) * 3)
    taught(network, network.classifier, root, how)
    return network


def smp_network(root: Path) -> torch.nn.Module:
    import segmentation_models_pytorch as smp

    network = smp.Unet("resnet18", encoder_weights=None, classes=19)
    return taught(network, network.segmentation_head[0], root)


def segformer(root: Path, out: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_sizes": [16, 24, 32, 48], "depths": [1] * 4, "num_attention_heads": [1] * 4}
    names = dict(enumerate(reversed(CITYSCAPES.names)))  # by name, whatever their order
    config = transformers.SegformerConfig(**sizes, decoder_hidden_size=64, id2label=names, sr_ratios=[1] * 4)
    network = transformers.SegformerForSemanticSegmentation(config)
    taught(network, network.decode_head.classifier, root)
    for values in (network.decode_head.classifier.weight, network.decode_head.classifier.bias):
        values.data = values.data.flip(0)
    network.save_pretrained(out)


def warmed(network: torch.nn.Module, root: Path) -> None:
    """Gives batch norm the statistics of images: with those it starts with, a deep network says the same everywhere."""
    images = open_dataset("cityscapes", root, "train")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    batch = [network_input(images[i].image, IMAGENET, torch.device("cpu")) for i in range(len(images))]
    with torch.no_grad():
        network.train()(torch.cat(batch).contiguous())


def torchvision_network(root: Path, out: Path) -> None:
    from torchvision import models

    network = models.get_model("fcn_resnet50", weights=None, weights_backbone=None, num_classes=19)
    warmed(network, root)
    torch.save(taught(network, network.classifier[4], root).state_dict(), out)


def program(network: torch.nn.Module, out: Path) -> None:
    side = torch.export.Dim
    free = {2: 4 * side("h", min=2, max=512), 3: 4 * side("w", min=2, max=512)}
    torch.export.save(torch.export.export(network, (torch.randn(1, 3, 48, 96),), dynamic_shapes=(free,)), out)


def code(root: Path, out: Path) -> None:
    torch.save(small(root).state_dict(), out / "weights.pth")
    (out / "my_networks.py").write_text(
        "import torch\nfrom pathlib import Path\nfrom tests.own_networks import SmallNetwork\n"
        "def build():\n    network = SmallNetwork()\n    folder = Path(__file__).parent\n"
        "    network.load_state_dict(torch.load(folder / 'weights.pth', weights_only=True))\n    return network\n"
    )


def permuted(root: Path) -> SmallNetwork:
    network = small(root)
    for values in (network.classifier.weight, network.classifier.bias):
        values.data = values.data.flip(0)
    return network


def checkpoint(root: Path, out: Path) -> None:
    state = {f"model.{name}": value for name, value in smp_network(root).state_dict().items()}
    hyper = {"arch": "Unet", "encoder_name": "resnet18", "lr": 1e-3}
    torch.save({"state_dict": state, "hyper_parameters": hyper, "pytorch-lightning_version": "2.5"}, out)


MAKERS: dict[str, Callable[[Path, Path], object]] = {
    "my-unet": lambda root, at: smp_network(root).save_pretrained(at / "my-unet"),  # type: ignore[operator]
    "unet.pth": lambda root, at: torch.save(smp_network(root).state_dict(), at / "unet.pth"),
    "last.ckpt": lambda root, at: checkpoint(root, at / "last.ckpt"),
    "my-segformer": lambda root, at: segformer(root, at / "my-segformer"),
    "somebody/segformer": lambda root, at: segformer(root, at / "downloaded"),
    "net.onnx": lambda root, at: write_onnx(small(root), at / "net.onnx"),
    "labels.onnx": lambda root, at: write_onnx(small(root), at / "labels.onnx", "labels"),
    "half.onnx": lambda root, at: write_onnx(small(root, 0.5), at / "half.onnx", "probabilities"),
    "net.pt2": lambda root, at: program(small(root), at / "net.pt2"),
    "permuted.pt2": lambda root, at: program(permuted(root), at / "permuted.pt2"),
    "fcn.pth": lambda root, at: torchvision_network(root, at / "fcn.pth"),
    "my_networks:build": code,
}


@pytest.fixture
def place(streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the data of the page: Cityscapes, and a flat folder of one's own."""
    torch.manual_seed(0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cityscapes").symlink_to(streets)
    mine, images = tmp_path / "data" / "mine", open_dataset("cityscapes", streets, "train")
    for folder in ("images", "masks"):
        (mine / folder).mkdir(parents=True)
    for n in range(len(images)):
        Image.fromarray(images[n].image).save(mine / "images" / f"{n}.png")
        Image.fromarray(np.asarray(images[n].label)).save(mine / "masks" / f"{n}.png")
    (mine / "classes.yaml").write_text(json.dumps({"classes": list(CITYSCAPES.names), "ignore": 255}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def made(place: Path, streets: Path, source: str) -> None:
    torch.manual_seed(0)
    MAKERS[source](streets, place)


def test_the_page_shows_every_kind() -> None:
    assert {shlex.split(call)[1] for call in CALLS} == set(MAKERS)


@pytest.mark.parametrize(
    "call", [pytest.param(call, marks=pytest.mark.long) if any(n in call for n in LONG) else call for call in CALLS]
)
def test_a_call_of_the_page(
    call: str, place: Path, streets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(call)
    made(place, streets, words[1])
    monkeypatch.setattr("ignota.models.opening.snapshot_download", lambda name, **_: str(place / "downloaded"))
    assert main([*words, *SMALL]) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out.splitlines()
    world = place / words[words.index("--out") + 1]
    assert re.match(r"\d+\.\d mIoU on \d images of (cityscapes|folder)", shown[0])
    assert shown[0].endswith(f"picture: {world.relative_to(place)}-check.jpg")
    assert Path(f"{world}-check.jpg").is_file()
    document = json.loads((world / "world.json").read_text())
    turned = "permuted" in call or "segformer" in call
    names = [entry["name"] for entry in document["taxonomy"]["classes"]]
    assert names == list(reversed(CITYSCAPES.names) if turned else CITYSCAPES.names)
    assert main(["classes", "--world", str(world)]) == 0  # what was allowed once is allowed now
    photo = next((place / "data" / "mine" / "images").iterdir())
    assert main(["segment", str(photo), "--world", str(world), "--out", str(place / "seen"), "--device", "cpu"]) == 0


@pytest.mark.parametrize("kind", ["permuted", "random"])
def test_segmenters_that_do_not_know_their_classes(
    kind: str, place: Path, streets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = permuted(streets) if kind == "permuted" else SmallNetwork()
    write_onnx(network, place / "net.onnx")
    call = ["adapt", "net.onnx", "--data", "data/cityscapes", "--dataset", "cityscapes", "--out", "world", *SMALL]
    assert main(call) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    cause = "classes permuted? 18 outputs" if kind == "permuted" else "or weights that were never trained"
    assert cause in said.err
    assert (place / "world-check.jpg").is_file() and not (place / "world").exists()


def test_an_onnx_segmenter_through_the_whole_loop(
    place: Path, streets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """adapt, segment, learn, evaluate, init; its file is sealed, and changed files are refused."""
    network = SmallNetwork(16)
    write_onnx(taught(network, network.classifier, streets), place / "net.onnx")  # type: ignore[arg-type]
    data = ["--data", "data/cityscapes", "--split", "cityscapes:16+3"]
    call = ["adapt", "net.onnx", *data, "--out", "world", "--quiet", *SMALL]
    assert main([*call, "--branches", "paper"]) == 2
    assert "an ONNX file has no weights to train" in capsys.readouterr().err
    assert main(call) == 0
    document = json.loads((place / "world" / "world.json").read_text())
    assert document["segmenter"]["kind"] == "onnx" and document["segmenter"]["file"] == "net.onnx"
    assert "net.onnx" in document["files"] and document["recipes"]["light"]["taps"] == ["frozen/16", "frozen/32"]
    tensors = safetensors.torch.load_file(place / "world" / "weights.safetensors")
    assert not [name for name in tensors if name.startswith("segmenter.")]
    photo, mask = next((place / "data" / "mine" / "images").iterdir()), np.zeros((48, 96), np.uint8)
    mask[20:40, 30:60] = 255
    Image.fromarray(mask).save(place / "mask.png")
    world = ["--world", "world", "--quiet", "--device", "cpu"]
    assert main(["segment", str(photo), *world, "--out", "before"]) == 0
    assert main(["learn", "thing", "--image", str(photo), "--mask", "mask.png", *world, "--force"]) == 0
    assert main(["segment", str(photo), *world, "--out", "after"]) == 0
    before, after = (np.array(Image.open(f"{name}/{photo.stem}_labels.png")) for name in ("before", "after"))
    assert not (before == 16).any() and (after[mask > 0] == 16).mean() > 0.5
    assert main(["init", "copy", "--from", "world", "--quiet"]) == 0
    measured = ["cityscapes", "--data", "data/cityscapes", "--world", "copy", "--quiet", "--device", "cpu"]
    assert main(["evaluate", "anomaly", *measured, "--scores", "raml,max_logit", "--json", "anomaly.json"]) == 0
    assert set(json.loads((place / "anomaly.json").read_text())["scores"]) == {"raml", "max_logit"}
    shots = ["--methods", "raml", "--shots", "1", "--json", "learnt.json"]
    assert main(["evaluate", "incremental", *measured, *shots]) == 0
    assert json.loads((place / "learnt.json").read_text())["methods"]["raml"]["miou"]["all"] > 0
    assert main(["segment", str(photo), *world, "--out", "x", "--backend", "onnx"]) == 2
    assert "which ONNX Runtime runs: take --backend torch" in capsys.readouterr().err
    content = bytearray((place / "copy" / "net.onnx").read_bytes())
    content[-1] ^= 1
    (place / "copy" / "net.onnx").write_bytes(content)
    assert main(["classes", "--world", "copy"]) == 2
    assert "is damaged (its SHA-256 is not the one" in capsys.readouterr().err
