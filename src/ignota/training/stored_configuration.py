"""The configuration that a world was trained with, read back from its provenance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from ignota.training.configuration import ExperimentConfig, MetaChannelConfig
from ignota.world.model import OpenWorldModel

T = TypeVar("T")


def configuration_of(world: OpenWorldModel) -> ExperimentConfig:
    """The experiment of a world's provenance, with today's default for every setting that it does not name.

    Stage 2 of worlds from before there were branches trained something else: its settings are not taken over.
    """
    stored = dict(world.provenance.get("configuration", {}))
    if "branches" not in stored.get("meta_channels", {}):
        stored["meta_channels"] = dataclasses.asdict(MetaChannelConfig())
    return _built(ExperimentConfig, stored)


def _built(kind: type[T], values: Mapping[str, Any]) -> T:
    fields: dict[str, Any] = {}
    for name, inner in get_type_hints(kind).items():
        if name not in values:
            continue
        value = values[name]
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            fields[name] = _built(inner, value)
        else:
            fields[name] = tuple(value) if isinstance(value, list) else value
    return kind(**fields)
