"""Configurations of transformers networks that name nothing outside themselves."""

from __future__ import annotations

import copy
from typing import Any

import pytest

pytest.importorskip("transformers")

from ignota.models.names import checked, without_sources
from ignota.structures import InputError

TIMM = {"model_type": "timm_backbone", "backbone": "resnet18", "out_indices": [1, 2, 3, 4]}
GOOD = {
    "model_type": "upernet", "backbone_config": TIMM, "hidden_size": 16, "hidden_act": "gelu",
    "id2label": {"0": "hf-hub:road", "1": "a/b"}, "label2id": {"c:\\road": 0, "a/b": 1},
}  # fmt: skip


def refused(change: dict[str, Any], field: str) -> None:
    for config in (GOOD | change, GOOD | {"backbone_config": TIMM | change}):
        with pytest.raises(InputError) as caught:
            checked(config)
        assert "\n" not in str(caught.value) and str(caught.value).startswith("config.") and field in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "hf-hub:timm/resnet18"}, {"backbone": "microsoft/resnet-50"}, {"backbone": "somebodys_network"},
        {"backbone": 3}, {"model_type": "evil"}, {"model_type": "../evil"}, {"_name_or_path": "bert"},
        {"name_or_path": "bert"}, {"auto_map": {"AutoBackbone": "evil.Net"}}, {"auto_map": "x"},
        {"trust_remote_code": True}, {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"attn_implementation": "flash_attention_2"}, {"attn_implementation": "kernels-community/flash-attn"},
        {"attn_implementation": {"": "eager"}}, {"use_pretrained_backbone": "a/b"}, {"dtype": "a/b"},
        {"architectures": ["a/b"]}, {"anything": {"deep": [["x", "https://example.org"]]}}, {"weights": "net.bin"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_outside_is_refused_at_any_depth(change: dict[str, Any]) -> None:
    refused(change, next(iter(change)))


def test_a_backbone_is_one_of_transformers_backbones() -> None:
    with pytest.raises(InputError, match=r"config\.backbone_config\.model_type"):
        checked(GOOD | {"backbone_config": {"model_type": "bert"}})
    assert checked(GOOD | {"decoder_config": {"model_type": "detr"}})["decoder_config"] == {"model_type": "detr"}


def test_what_builds_the_network_is_kept() -> None:
    before = copy.deepcopy(GOOD)
    assert checked(GOOD) == GOOD == before
    assert checked(GOOD | {"dtype": "float16", "use_pretrained_backbone": True, "_name_or_path": ""}) == GOOD
    assert checked(GOOD | {"attn_implementation": "sdpa"})["attn_implementation"] == "sdpa"


def test_a_backbone_named_alone_becomes_a_configuration() -> None:
    alone = {"model_type": "upernet", "backbone": "resnet18", "backbone_kwargs": {"out_indices": [1, 2]},
             "use_timm_backbone": True, "backbone_config": None}  # fmt: skip
    wanted = {"model_type": "timm_backbone", "backbone": "resnet18", "out_indices": [1, 2]}
    assert checked(alone) == {"model_type": "upernet", "backbone_config": wanted}
    assert checked(GOOD | {"backbone": "resnet18"}) == GOOD


def test_a_world_keeps_no_sources() -> None:
    told = {"_name_or_path": "/home/somebody", "auto_map": {"AutoModel": "evil.Net"}}
    assert without_sources(GOOD | told | {"backbone_config": TIMM | told}) == GOOD
    assert without_sources({"id2label": {"_name_or_path": "a class"}}) == {"id2label": {"_name_or_path": "a class"}}
