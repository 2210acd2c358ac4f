"""Where to compute, as a caller names it."""

from __future__ import annotations

import torch

from ignota.structures import InputError

DEVICES = ("auto", "cpu", "cuda")


def device_called(name: str, seed: int | None = None) -> torch.device:
    """`cpu`, `cuda`, or `auto` for the GPU if there is one; raises InputError for another name and a missing GPU.

    seed: the start of torch's own random numbers, if they are to be set.
    """
    present = torch.cuda.is_available()
    if name not in DEVICES:
        raise InputError.of_argument("device", f"is one of {', '.join(DEVICES)}, not {name!r}")
    if name == "cuda" and not present:
        raise InputError("no CUDA device can be used here", 'take device="cpu" or "auto"')
    if seed is not None:
        torch.manual_seed(seed)
    return torch.device("cuda" if name != "cpu" and present else "cpu")
