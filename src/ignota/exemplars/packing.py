"""An exemplar's tensors as the bytes of one safetensors file."""

from __future__ import annotations

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ignota.perception.novel import Exemplar
from ignota.structures import InputError

_GROUPS = ("whole", "parts", "shares", "against")


def pack(exemplar: Exemplar) -> bytes:
    """Everything but the name, which its class may change."""
    groups = {name: getattr(exemplar, name) for name in _GROUPS}
    tensors: dict[str, Tensor] = {
        f"{group}:{key}": value.detach().cpu().contiguous()
        for group, values in groups.items()
        for key, value in values.items()
    }
    return safetensors.torch.save(tensors)


def unpack(name: str, blob: bytes) -> Exemplar:
    """The inverse of `pack`; raises InputError for damaged bytes."""
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in _GROUPS}
    try:
        for key, value in sorted(safetensors.torch.load(blob).items()):  # it has them in any order
            group, _, rest = key.partition(":")
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise ValueError(f"{key} is not finite")
            groups[group][rest] = value
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"an exemplar of {name!r} is damaged ({error}): forget the class and teach it again") from None
    return Exemplar(name, **groups)
