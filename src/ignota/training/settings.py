"""Experiments from presets, files and dotted keys; every key and type is checked."""

from __future__ import annotations

import dataclasses
import math
import re
from argparse import ArgumentError
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from ignota.data.files import one_line
from ignota.data.yaml_files import YamlError, read_yaml
from ignota.errors import InputError
from ignota.taxonomy import nearest
from ignota.training.configuration import ExperimentConfig, FittedScore

T = TypeVar("T")
SMALLEST, LARGEST = 32, 8192
"""Of the short side of working images, in pixels."""
_LARGEST_FILE = 1_000_000
_TOLD = re.compile(r"(?:^|(?<=[.;] ))((?:[a-z_]+, )*[a-z_]+): ")
_EVERYWHERE = {
    "name": "what the experiment is called", "seed": "start of all random numbers",
    "train_length": "how many drawn images are trained on", "evaluate_length": "how many drawn images are measured",
    "architecture": "of the network", "encoder": "of the network, by smp's or timm's name",
    "output_stride": "of the encoder", "decoder_channels": "width of the decoder", "steps": "of training",
    "batch": "images of a step, or regions where D learns from stored ones", "crop": "height and width of what is seen",
    "jitter": "how much colours are changed at random", "encoder_lr": "learning rate of the encoder at the start",
    "head_lr": "learning rate of all other layers at the start", "lr": "learning rate at the start",
    "momentum": "of stochastic gradient descent", "weight_decay": "of stochastic gradient descent",
    "warmup": "steps in which the learning rate rises", "power": "of the polynomial decay of the learning rate",
    "checkpoint_every": "steps between two checkpoints, from which a stopped training goes on",
    "edge_share": "share of pixels that are taken for edges where alpha and beta are set from images",
    "rate": "learning rates as a share of those of the closed set", "branches": "systems that train a copy of it",
    "hidden": "width of D's first layer", "released_hidden": "width of the released code's first layer of D",
    "embedding": "width of what D gives", "gamma": "scale of the circle loss", "margin": "of the circle loss",
    "classification": "weight of the cross entropy", "circle": "weight of the circle loss",
    "purity": "share of one class from which a found region is trained on", "neighbours": "how many nearest ones count",
    "shots": "examples of each taught class, one measurement for each number",
}  # fmt: skip
"""What settings of the same name mean in every group."""


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


def explained(kind: type = ExperimentConfig, prefix: str = "") -> dict[str, str]:
    """What every dotted key means: as the docstring of its group has it ("steps, batch: text"), else as everywhere."""
    parts = _TOLD.split(" ".join((kind.__doc__ or "").replace("`", "").split()))
    told = {
        name: text.strip().rstrip(".;")
        for names, text in zip(parts[1::2], parts[2::2], strict=True)
        for name in names.split(", ")
    }
    found: dict[str, str] = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = hints[field.name]
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            found |= explained(inner, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = told.get(field.name) or _EVERYWHERE[field.name]
    return found


def presets() -> dict[str, Path]:
    """The presets that come with the package, by name."""
    folder = Path(str(resources.files("ignota"))) / "training" / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_preset(name: str) -> dict[str, Any]:
    """The keys that a preset or a file sets, dotted and checked; raises InputError."""
    path = Path(name)
    if name in presets():
        path = presets()[name]
    elif path.suffix not in (".yaml", ".yml"):
        raise InputError(f"no preset {name!r}, and no FILE.yaml{nearest(name, list(presets()))}")
    return checked(_read(path), str(path))


def checked(values: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Settings that somebody wrote, nested or dotted, as dotted keys with values of their types; raises InputError.

    where: what they are called in an error, such as the name of their file.
    """
    flat = _flat(values, where)
    return {key: _converted(key, value, where) for key, value in flat.items()}


def configuration(values: Mapping[str, Any]) -> ExperimentConfig:
    """The configuration that dotted keys set, all others having their defaults; raises InputError."""
    config = _build(ExperimentConfig, values, "")
    try:
        _ = config.data.class_split
    except ValueError as error:
        raise InputError(f"data.split: {error}") from None
    if not 0.25 <= config.fit.magnify <= 4:
        raise InputError(f"fit.magnify is in 0.25..4, not {config.fit.magnify:g}")
    if own := set(config.fit.scores).difference(get_args(FittedScore)):
        from ignota.scores.fitted_scores import fitted_score  # no help needs to load torch

        for name in own:
            fitted_score(name, config.fit.coreset, config.fit.neighbours)
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
        raise InputError(f"no file {path}: name one that exists, or a preset: {', '.join(presets())}") from None
    except YamlError as error:
        raise InputError(f"{path}: {error}; write `key: value` lines") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings: write `key: value` lines")
    return content


def _flat(values: Mapping[Any, Any], where: str, prefix: str = "") -> dict[str, Any]:
    known = leaves()
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        group = any(other.startswith(f"{key}.") for other in known)
        if group and isinstance(value, dict):
            flat |= _flat(value, where, f"{key}.")
        elif group:
            raise InputError(f"{where}: {key} is a group of settings: indent its keys below it")
        elif key not in known:
            close = nearest(key, list(known))
            raise InputError(f"{where}: no setting {one_line(key)!r}{close if 'did you mean' in close else ''}")
        else:
            flat[key] = value
    return flat


def _converted(key: str, value: Any, where: str) -> Any:
    """One value through jsonargparse, so that an error can name its key."""
    kind, _ = leaves()[key]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    try:
        found = parser.parse_object({"value": value})["value"]
        if not is_set(kind, found):
            raise ValueError
    except (ValueError, TypeError, KeyError, ArgumentError):
        raise InputError(f"{where}: {key} wants {in_words(kind)}, not {one_line(value)[:80]!r}") from None
    return found


def is_set(kind: Any, value: Any) -> bool:
    """Whether a value is null only where its type has that, and no number is infinite or NaN."""
    if value is None:
        return type(None) in get_args(kind)
    parts = value if isinstance(value, list | tuple) else (value,)
    return all(part is not None and (not isinstance(part, float) or math.isfinite(part)) for part in parts)


def in_words(kind: Any) -> str:
    """A type as people say it."""
    simple = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if kind in simple:
        return simple[kind]
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return " or ".join(map(str, inner))
    if get_origin(kind) is tuple and Ellipsis in inner:
        return f"a list [a, b, …] of {in_words(inner[0])}"
    if get_origin(kind) is tuple:
        return f"a list [{', '.join(map(in_words, inner))}]"
    return " or ".join(in_words(part) for part in inner if part is not type(None)) or str(kind)
