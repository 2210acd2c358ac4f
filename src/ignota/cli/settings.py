"""Options for the settings of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from ignota.cli.outcome import collapsed
from ignota.errors import InputError
from ignota.training import settings
from ignota.training.configuration import ExperimentConfig
from ignota.training.settings import in_words, is_set, leaves

ABSENT = "==SUPPRESS=="


def add_settings(parser: ArgumentParser, besides: tuple[str, ...] = ()) -> None:
    """An option for every key, explained; those not given stay out of the result."""
    texts = settings.explained()
    for key, (kind, default) in leaves().items():
        if key not in besides:
            text = f"{texts[key]}; default: {_plain(default)}".replace("%", "%%")
            parser.add_argument(f"--{key}", type=kind, default=ABSENT, help=text)


def configuration(base: Mapping[str, Any], args: Namespace) -> ExperimentConfig:
    """The configuration of keys from a preset, overridden by options."""
    return settings.configuration({**base, **given(args)})


def given(args: Namespace) -> dict[str, Any]:
    """The settings that options give, by dotted key; raises InputError for null where a value must be."""
    values = {}
    for key, (kind, _) in leaves().items():
        value = args.get(key, ABSENT)
        if not (isinstance(value, str) and value == ABSENT) and not (key in ("size", "seed") and value is None):
            if not is_set(kind, value):
                raise InputError.of_argument(key, f"wants {in_words(kind)}, not {collapsed(value)[:80]!r}")
            values[key] = value
    return values


def _plain(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
