"""Names of networks: only those registered by timm or segmentation_models_pytorch, never an address or a path.

Both libraries take "hf-hub:…" and "local-dir:…" for names, too, and then ask a server or read a folder. A document says
what to build, never where from, so such names stop here, before a library sees them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import segmentation_models_pytorch as smp
import timm

from ignota.structures import InputError
from ignota.taxonomy import nearest

_LONGEST = 80
_PLACE = re.compile(r"[:/\\]|\.(bin|ckpt|pickle|pkl|pth?|pt2|py|safetensors|so)$", re.IGNORECASE)
_EXAMPLE = "give a plain name such as tf_efficientnet_lite0"


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
