"""Names of encoders: what the libraries register, and nothing that they would look up elsewhere."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import timm

from ignota.models.names import refuse_place, shown, smp_name, timm_name
from ignota.structures import InputError

ELSEWHERE = [
    "hf-hub:timm/resnet18.a1_in1k", "hf_hub:timm/resnet18", "local-dir:/tmp/net", "timm/resnet18", "/tmp/net.pth",
    "https://example.org/resnet18", "C:\\net", "resnet18/../x", "resnet18 ", "resnet18\n", "resnet18.", "",
    "resnet18.no_such_tag", "resnet18.a1_in1k@main", "RESNET18", None, 18, ["resnet18"], {"resnet18": 1}, True,
]  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE, ids=repr)
def test_other_names_are_one_line(name: object) -> None:
    spelt = [name, *(f"{prefix}{name}" for prefix in ("tu-", "timm-") if isinstance(name, str))]
    for check, given in [(timm_name, name), *((smp_name, form) for form in spelt)]:
        with pytest.raises(InputError) as caught:
            check(given, "frozen.encoder")
        assert "\n" not in str(caught.value) and str(caught.value).startswith("frozen.encoder: ")
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "resnet18.a1_in1k", "vit_small_patch14_dinov2"])
def test_registered_names_are_kept(name: str) -> None:
    assert timm_name(name) == name
    timm.create_model(timm_name(name.partition(".")[0])) if name.startswith("tf_") else None


def test_every_name_that_smp_takes() -> None:
    assert [smp_name(name) for name in smp.encoders.encoders] == list(smp.encoders.encoders)
    assert smp_name("tf_efficientnet_lite0") == smp_name("tu-tf_efficientnet_lite0") == "tu-tf_efficientnet_lite0"
    assert smp_name("resnet18") == "resnet18" and smp_name("tu-resnet18") == "tu-resnet18"
    for old in ("timm-regnetx_002", "timm-mobilenetv3_large_100", "timm-gernet_s"):
        assert smp_name(old) == old
    with pytest.raises(InputError, match="did you mean 'regnetx_002'"):
        smp_name("timm-regnetx_0002")


def test_a_near_name_is_told() -> None:
    with pytest.raises(InputError, match="did you mean 'tf_efficientnet_lite0'"):
        timm_name("tf_eficientnet_lite0")


def test_places_are_no_plain_text() -> None:
    for text in ("a/b", "a\\b", "a:b", "net.pkl", "net.PTH", "net.safetensors", "evil.py"):
        with pytest.raises(InputError, match="nothing is fetched"):
            refuse_place(text, "config.x")
    for value in ("imagenet", "image+background", "resnet18.a1_in1k", 3, None, "gelu_new", "0.5", "v1.2"):
        refuse_place(value, "config.x")


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 10_000)) < 100 and "\n" not in shown("a\nb")
