"""Segmenters saved by transformers."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ignota.models.segmenter import IMAGENET_MEAN
from ignota.models.transformers_segmenter import EVIDENCE_FLOOR, TransformersSegmenter, mask_logits
from ignota.structures import InputError, Preprocessing

pytest.importorskip("transformers")
Saved = Callable[[str], Path]


@pytest.fixture
def folder(saved: Saved, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved("segformer"), tmp_path / "segformer"))


def edit(file: Path, **fields: object) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | fields))


def mask_logits_slowly(classes: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(classes.shape[0], classes.shape[2] - 1, *masks.shape[2:])
    for b in range(classes.shape[0]):
        for q in range(classes.shape[1]):
            exponents = [float(v.exp()) for v in classes[b, q]]
            for c in range(out.shape[1]):
                out[b, c] += exponents[c] / sum(exponents) / (1 + (-masks[b, q]).exp())
    return (1 + out / EVIDENCE_FLOOR).log()


def test_mask_logits_are_the_sum_over_queries() -> None:
    classes, masks = torch.randn(2, 4, 6, requires_grad=True), torch.randn(2, 4, 3, 5)
    logits = mask_logits(classes, masks)
    torch.testing.assert_close(logits, mask_logits_slowly(classes.detach(), masks))
    evidence = EVIDENCE_FLOOR * (logits.exp() - 1)
    torch.testing.assert_close(logits.softmax(1), F.normalize(evidence + EVIDENCE_FLOOR, p=1, dim=1))
    logits.sum().backward()
    assert classes.grad is not None and classes.grad.abs().sum() > 0
    assert mask_logits(classes.bfloat16(), masks.bfloat16()).dtype == torch.float32


def test_where_no_mask_claims_a_pixel_every_class_is_alike() -> None:
    logits = mask_logits(torch.randn(1, 3, 5), torch.full((1, 3, 2, 2), -60.0))
    assert logits.min() >= 0 and logits.max() < 1e-6
    torch.testing.assert_close(logits.softmax(1), torch.full((1, 4, 2, 2), 0.25))


@pytest.mark.parametrize("name", ["segformer", "upernet"])
def test_logits_and_decoder_are_the_network_s_own(saved: Saved, name: str) -> None:
    segmenter = TransformersSegmenter(saved(name)).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        output, own = segmenter(images), segmenter.network(pixel_values=images).logits
        again = segmenter.network.decode_head.classifier(output.features["decoder"])
    assert torch.equal(again, output.logits)
    enlarged = F.interpolate(output.logits, size=own.shape[-2:], mode="bilinear")
    torch.testing.assert_close(enlarged, own)


def test_segformer_stages_are_its_hidden_states(saved: Saved) -> None:
    segmenter = TransformersSegmenter(saved("segformer")).eval()
    assert [segmenter.taps[f"stage{n}"].stride for n in (2, 3, 4, 5)] == [4, 8, 16, 32]
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        states = segmenter.network(pixel_values=images, output_hidden_states=True).hidden_states
        features = segmenter(images).features
    assert all(torch.equal(features[f"stage{n + 2}"], state) for n, state in enumerate(states))


def test_mask2former_s_decoder_makes_its_masks(saved: Saved) -> None:
    segmenter = TransformersSegmenter(saved("mask2former")).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        output, own = segmenter(images), segmenter.network(pixel_values=images)
    assert torch.equal(output.features["decoder"], own.pixel_decoder_last_hidden_state)
    classes = own.class_queries_logits.softmax(-1)[..., :-1]
    semantic = torch.einsum("bqc,bqhw->bchw", classes, own.masks_queries_logits.sigmoid())
    assert torch.equal(output.logits.argmax(1), semantic.argmax(1))


def test_a_plain_transformer_keeps_its_one_size(saved: Saved) -> None:
    segmenter = TransformersSegmenter(saved("eomt")).eval()
    assert segmenter.fixed_size == (64, 64)
    assert [segmenter.taps[f"stage{n}"].stride for n in (2, 3, 4, 5)] == [16] * 4
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        last = segmenter.network(pixel_values=images, output_hidden_states=True).hidden_states[-1]
        stage = segmenter(images).features["stage5"]
    assert torch.equal(stage[0, :, 1, 2], last[0, -16 + 1 * 4 + 2])  # patches come last, row by row


def test_classes_and_normalisation_come_from_the_folder(folder: Path) -> None:
    segmenter = TransformersSegmenter(folder)
    assert segmenter.class_names == tuple(f"LABEL_{i}" for i in range(5))
    assert segmenter.preprocessing.mean == IMAGENET_MEAN
    edit(folder / "preprocessor_config.json", image_mean=[0.1, 0.2, 0.3], image_std=[1, 2, 3])
    edit(folder / "config.json", id2label={str(i): name for i, name in enumerate("abcde")})
    segmenter = TransformersSegmenter(folder)
    assert segmenter.preprocessing == Preprocessing((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert segmenter.class_names == tuple("abcde")
    edit(folder / "preprocessor_config.json", do_normalize=False)
    assert TransformersSegmenter(folder).preprocessing == Preprocessing((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("name", ["segformer", "upernet", "mask2former", "eomt"])
def test_the_configuration_alone_builds_the_network_again(saved: Saved, name: str) -> None:
    first = TransformersSegmenter(saved(name)).eval()
    again = TransformersSegmenter(json.loads(json.dumps(first.configuration())), first.preprocessing).eval()
    assert str(saved(name)) not in json.dumps(first.configuration())
    again.load_state_dict(first.state_dict())
    assert again.taps == first.taps and again.class_names == first.class_names
    images = torch.randn(1, 3, 40, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(images).logits, first(images).logits)


def one_line(source: Path | dict[str, object], *words: str) -> None:
    with pytest.raises(InputError) as caught:
        TransformersSegmenter(source)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_damaged_folders_are_one_line(folder: Path) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    whole = config.read_text()
    one_line(folder / "nowhere", "config.json does not exist")
    config.write_text("{")
    one_line(folder, "no readable JSON")
    config.write_text("[]")
    one_line(folder, "no JSON object")
    config.write_text(whole)
    edit(config, model_type="segforme")
    one_line(folder, "did you mean 'segformer'")
    edit(config, model_type="bert")
    one_line(folder, "bert")
    config.write_text(whole)
    edit(config, hidden_sizes=[8, 8, 16, 24])
    one_line(folder, str(folder))
    config.write_text(whole)
    edit(config, depths="three")
    one_line(folder)
    config.write_text(whole)
    edit(folder / "preprocessor_config.json", image_std=[0, 1, 1])
    one_line(folder, "image_std must be positive")
    edit(folder / "preprocessor_config.json", image_std=[1, 1])
    one_line(folder, "image_std must be three numbers")
    (folder / "preprocessor_config.json").unlink()
    weights.write_bytes(b"\x00" * 100)
    one_line(folder, "cannot load")
    weights.unlink()
    one_line(folder, "safetensors")


class Evil:
    """Unpickled, it would write a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.place), "w")


def test_code_in_a_pickle_does_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil(tmp_path / "ran")}, folder / "pytorch_model.bin")
    one_line(folder, "pytorch_model.bin")
    assert not (tmp_path / "ran").exists()
    torch.save(nn.Linear(2, 2).state_dict(), folder / "pytorch_model.bin")
    one_line(folder, "disagree")
    (folder / "pytorch_model.bin").unlink()
    one_line(folder, "safetensors")


def test_missing_and_superfluous_tensors_are_errors(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    state = load_file(file)
    save_file({k: v for k, v in state.items() if k != "decode_head.classifier.bias"}, file, {"format": "pt"})
    one_line(folder, "missing keys", "decode_head.classifier.bias")
    save_file(state | {"stranger": torch.zeros(1)}, file, {"format": "pt"})
    one_line(folder, "unexpected keys", "stranger")


def test_code_beside_the_weights_is_not_run(folder: Path, tmp_path: Path) -> None:
    sign = tmp_path / "executed"
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(sign)!r})\nclass Net: pass\nclass Config: pass\n")
    edit(folder / "config.json", auto_map={"AutoModel": "evil.Net", "AutoConfig": "evil.Config"})
    TransformersSegmenter(folder)
    assert not sign.exists()


@pytest.mark.parametrize("backbone", ["somebody/network", "hf-hub:timm/resnet18", "unregistered"])
def test_a_folder_asks_no_hub_for_a_backbone(folder: Path, backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    monkeypatch.setattr(HfApi, "repo_exists", lambda *_, **__: pytest.fail("it asked the hub"))
    edit(folder / "config.json", model_type="upernet", backbone=backbone, backbone_config=None)
    one_line(folder, "config.json: config.backbone", backbone)


def test_without_transformers_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def hide(name: str, *rest: object, **more: object) -> object:
        if name == "transformers":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", hide)
    one_line(folder, "pip install ignota[transformers]")


def test_a_damaged_configuration_is_one_line(saved: Saved) -> None:
    good = TransformersSegmenter(saved("segformer")).configuration()
    one_line(good | {"model_type": None}, "None")
    one_line(good | {"hidden_sizes": None})
    one_line(good | {"depths": [1]})
