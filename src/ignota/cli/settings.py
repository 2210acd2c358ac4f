"""Experiments from presets, files and dotted options, with every key and type checked."""

from __future__ import annotations

import dataclasses
import math
from argparse import ArgumentError
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from ignota.cli.commands import hint
from ignota.cli.outcome import UsageError, one_line
from ignota.cli.parsing import in_words
from ignota.data.yaml_files import YamlError, read_yaml
from ignota.engine.configuration import ExperimentConfig
from ignota.taxonomy import ClassSplit

T = TypeVar("T")
_LARGEST_FILE = 1_000_000
ABSENT = "==SUPPRESS=="


def leaves(kind: type = ExperimentConfig, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Every dotted key of a configuration with its type and default."""
    found: dict[str, tuple[Any, Any]] = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = hints[field.name]
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            found |= leaves(inner, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = (inner, field.default)
    return found


def add_settings(parser: ArgumentParser, besides: tuple[str, ...] = ()) -> None:
    """An option for every key; those not given stay out of the result."""
    for key, (kind, default) in leaves().items():
        if key not in besides:
            parser.add_argument(f"--{key}", type=kind, default=ABSENT, help=f"default: {_plain(default)}")


def presets() -> dict[str, Path]:
    """The presets that come with the package, by name."""
    folder = Path(str(resources.files("ignota"))) / "engine" / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_preset(name: str) -> dict[str, Any]:
    """The keys that a preset or a file sets, dotted and checked; raises UsageError."""
    path = Path(name)
    if name in presets():
        path = presets()[name]
    elif path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"no preset {name!r}, and no FILE.yaml{hint(name, list(presets()))}")
    return _checked(_flat(_read(path), path), path)


def configuration(base: Mapping[str, Any], args: Namespace) -> ExperimentConfig:
    """The configuration of keys from a preset, overridden by options."""
    values = dict(base)
    for key, (kind, _) in leaves().items():
        given = args.get(key, ABSENT)
        if not (isinstance(given, str) and given == ABSENT) and not (key in ("size", "seed") and given is None):
            if not _is_set(kind, given):
                raise UsageError(f"--{key} wants {in_words(kind)}, not {one_line(given)[:80]!r}")
            values[key] = given
    config = _build(ExperimentConfig, values, "")
    try:
        ClassSplit.parse(config.data.split)
    except ValueError as error:
        raise UsageError(f"data.split: {error}") from None
    if not 0.25 <= config.fit.magnify <= 4:
        raise UsageError(f"fit.magnify is in 0.25..4, not {config.fit.magnify:g}")
    return config


def _build(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {}
    for name, inner in hints.items():
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            fields[name] = _build(inner, values, f"{prefix}{name}.")
        elif prefix + name in values:
            fields[name] = values[prefix + name]
    return kind(**fields)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path, _LARGEST_FILE)
    except FileNotFoundError:
        raise UsageError(f"no file {path}: name one that exists, or a preset: {', '.join(presets())}") from None
    except YamlError as error:
        raise UsageError(f"{path}: {error}; write `key: value` lines") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings: write `key: value` lines")
    return content


def _flat(values: Mapping[Any, Any], path: Path, prefix: str = "") -> dict[str, Any]:
    known = leaves()
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        group = any(other.startswith(f"{key}.") for other in known)
        if group and isinstance(value, dict):
            flat |= _flat(value, path, f"{key}.")
        elif group:
            raise UsageError(f"{path}: {key} is a group of settings: indent its keys below it")
        elif key not in known:
            raise UsageError(f"{path}: no setting {one_line(key)!r}{hint(key, list(known))}")
        else:
            flat[key] = value
    return flat


def _checked(flat: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Each value through jsonargparse, one by one, so that an error can name its key."""
    checked = {}
    for key, value in flat.items():
        kind, _ = leaves()[key]
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--value", type=kind)
        try:
            checked[key] = parser.parse_object({"value": value})["value"]
            if not _is_set(kind, checked[key]):
                raise ValueError
        except (ValueError, TypeError, KeyError, ArgumentError):
            raise UsageError(f"{path}: {key} wants {in_words(kind)}, not {one_line(value)[:80]!r}") from None
    return checked


def _is_set(kind: Any, value: Any) -> bool:
    """Whether a value is null only where its type has that, and no number is infinite or NaN."""
    if value is None:
        return type(None) in get_args(kind)
    parts = value if isinstance(value, list | tuple) else (value,)
    return all(part is not None and (not isinstance(part, float) or math.isfinite(part)) for part in parts)


def _plain(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
