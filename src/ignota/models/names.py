"""Names and configurations of networks: only registered ones, and none that names a hub, an address, a path or code.

Libraries take "hf-hub:…" and "local-dir:…" for names, too, and then ask a server or read a folder. A document says
what to build, never where from, so such names stop here, before a library sees them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import segmentation_models_pytorch as smp
import timm

from ignota.structures import InputError
from ignota.taxonomy import nearest

_LONGEST = 80
_PLACE = re.compile(r"[:/\\]|\.(bin|ckpt|pickle|pkl|pth?|pt2|py|safetensors|so)$", re.IGNORECASE)
_EXAMPLE = "give a plain name such as tf_efficientnet_lite0"
_LABELS = ("id2label", "label2id")  # class names: free text that transformers looks nothing up by
_SOURCES = ("_name_or_path", "name_or_path", "auto_map", "custom_pipelines", "trust_remote_code", "quantization_config",
            "_attn_implementation_internal", "_experts_implementation_internal", "kernel_config")  # fmt: skip
"""Where a network came from, what code goes with it, which kernels it asks a hub for: nothing that builds it."""
_DROPPED = (*_SOURCES, "_commit_hash", "use_pretrained_backbone", "dtype", "torch_dtype")
_ATTENTION = ("eager", "sdpa")  # others may load kernels from a hub


def shown(name: object) -> str:
    """Any value on one line, cut to a length that a message can hold."""
    text = repr(name)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def close_to(name: object, names: Sequence[str]) -> str:
    """A hint at the nearest of many names, without the list of all."""
    hint = nearest(str(name)[:_LONGEST], names)
    return hint if "did you mean" in hint else ""


def refuse_place(value: object, field: str) -> None:
    """Raises InputError for text that is an address, a path or the name of a file of weights or code."""
    if isinstance(value, str) and _PLACE.search(value):
        raise InputError(f"{field}: {shown(value)} is no plain name; nothing is fetched or read from elsewhere")


def timm_name(name: object, field: str = "encoder") -> str:
    """`name`, if timm registers it, with or without a tag of its weights; raises InputError for anything else."""
    if isinstance(name, str) and timm.is_model(name):
        architecture, dot, _ = name.partition(".")
        if timm.list_models(architecture) and (not dot or timm.is_model_pretrained(name)):  # no name of before
            return name
    hint = close_to(name, timm.list_models()) or f"; {_EXAMPLE}"
    raise InputError(f"{field}: timm registers no encoder {shown(name)}{hint}")


def smp_name(name: object, field: str = "encoder") -> str:
    """The name by which smp builds an encoder: one of its own, or "tu-" and a name of timm's; raises InputError.

    A bare name of timm's gets its "tu-". Names that smp once began with "timm-" are kept where it still takes them.
    """
    if not isinstance(name, str):
        raise InputError(f"{field}: {shown(name)} is no name of an encoder; {_EXAMPLE}")
    if name in smp.encoders.encoders:
        return name
    old = name.removeprefix("timm-")
    if old != name and smp.encoders.is_equivalent_to_timm_universal(name):
        timm_name(f"tf_{old}" if "mobilenetv3" in old else old, field)
        return name
    return f"tu-{timm_name(name.removeprefix('tu-'), field)}"


def without_sources(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same, at any depth, without what it says about where it came from: as a world keeps it."""
    return {
        name: without_sources(value) if isinstance(value, Mapping) and name not in _LABELS else value
        for name, value in config.items()
        if name not in _SOURCES
    }


def checked(config: Mapping[str, Any], field: str = "config") -> dict[str, Any]:
    """The configuration as it may be built, at any depth: names are plain and registered by timm or transformers.

    What only chooses pretrained weights or a precision is left out. Raises InputError that names the field.
    """
    found = {}
    for name, value in config.items():
        place = f"{field}.{name}"
        if name in _SOURCES and value:
            raise InputError(f"{place}: {shown(value)} says where the network came from: leave it out")
        kept = value if name in _LABELS else _checked_value(value, place)
        if name not in _DROPPED:
            found[name] = kept
    _check_names(found, field)
    return _with_backbone(found)


def _checked_value(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        return checked(value, place)
    if isinstance(value, (list, tuple)):
        return [_checked_value(item, place) for item in value]
    refuse_place(value, place)
    return value


def _check_names(config: Mapping[str, Any], field: str) -> None:
    model_type, attention = config.get("model_type"), config.get("attn_implementation")
    if model_type is not None:
        known = _model_types("configuration_auto", "CONFIG_MAPPING_NAMES")
        if field.endswith(".backbone_config"):
            known = _model_types("modeling_auto", "MODEL_FOR_BACKBONE_MAPPING_NAMES")
        if not isinstance(model_type, str) or model_type not in known:
            raise InputError(
                f"{field}.model_type: transformers has no {shown(model_type)} here{close_to(model_type, known)}"
            )
    if config.get("backbone") is not None:
        timm_name(config["backbone"], f"{field}.backbone")
    if attention is not None and attention not in _ATTENTION:
        raise InputError(f"{field}.attn_implementation: {shown(attention)} is not one of {', '.join(_ATTENTION)}")


def _model_types(module: str, mapping: str) -> list[str]:
    return list(getattr(import_module(f"transformers.models.auto.{module}"), mapping))


def _with_backbone(config: dict[str, Any]) -> dict[str, Any]:
    """A backbone that is named alone, as a configuration of its own: transformers would ask a hub for the name."""
    if config.get("backbone") is None or config.get("model_type") == "timm_backbone":
        return config
    rest = {k: v for k, v in config.items() if k not in ("backbone", "backbone_kwargs", "use_timm_backbone")}
    own = {"model_type": "timm_backbone", "backbone": config["backbone"], **(config.get("backbone_kwargs") or {})}
    return rest | {"backbone_config": rest.get("backbone_config") or own}
