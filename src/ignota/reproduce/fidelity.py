"""How much is trained and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fidelity:
    """How much is trained and measured.

    seeds: of shots and of D. branches: how often a branch of Tables 3 and E is trained. images: most that are measured
    on. changes: to presets, by dotted key; later: the same for a network that is given. smoke: a test that everything
    runs, whose figures support no claim.
    """

    name: str
    seeds: int
    branches: int
    images: int | None
    changes: Mapping[str, Mapping[str, Any]]
    later: Mapping[str, Any] = field(default_factory=dict)
    smoke: bool = False


_QUICK_LATER = {
    "metric_network.steps": 30,
    "meta_channels.steps": 20,
    "region_embedder.steps": 20,
    "embedder.steps": 120,
    "embedder.batch": 256,
    "fit.images": 30,
    "fit.coreset": 400,
    "fit.things": 12,
}
_QUICK_SIZE = {
    "size": 80,
    "closed_set.steps": 60,
    "closed_set.batch": 8,
    "closed_set.crop": (80, 160),
    "closed_set.warmup": 10,
    "closed_set.checkpoint_every": 20,
}
_QUICK_DRAWN = {"data.height": 80, "data.width": 160, "data.train_length": 120, "data.evaluate_length": 12}

FIDELITIES: dict[str, Fidelity] = {
    "quick": Fidelity(
        "quick",
        2,
        2,
        12,
        {
            name: _QUICK_SIZE | (_QUICK_DRAWN if name == "synthetic" else {})
            for name in ("synthetic", "camvid", "cityscapes")
        },
        _QUICK_LATER,
        smoke=True,
    ),
    "full": Fidelity("full", 5, 3, None, {"synthetic": {"closed_set.steps": 600, "data.evaluate_length": 60}}),
}
