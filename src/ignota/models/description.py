"""The description of a segmenter in world.json, from which it is rebuilt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ignota.models.smp_segmenter import SmpSpec
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import nearest

KINDS = ("smp", "transformers", "torchvision", "exported", "onnx", "module")


@dataclass(frozen=True)
class SegmenterDescription:
    """How to build a segmenter again, without its weights.

    kind: "smp" with `smp` (ours) or `config` (a folder that smp's save_pretrained wrote), "transformers" or
    "torchvision" with `config`, "exported" with `file` inside the bundle, its `sha256` and `multiple`, "onnx" with the
    same and `options` (its taps), or "module" with `factory` and the `options` of TappedModule. num_classes and
    preprocessing hold for every kind.
    """

    kind: str
    num_classes: int
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    smp: SmpSpec | None = None
    config: Mapping[str, Any] | None = None
    file: str | None = None
    sha256: str | None = None
    multiple: int | None = None
    factory: str | None = None
    options: Mapping[str, Any] | None = None

    @property
    def has_weights(self) -> bool:
        """Whether the weights live beside the description: an exported program and an ONNX file carry their own."""
        return self.kind not in ("exported", "onnx")

    def to_json(self) -> dict[str, Any]:
        """A JSON object without the fields that do not apply."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, content: object) -> SegmenterDescription:
        """Reads what to_json wrote; raises InputError that names the damaged field."""
        if not isinstance(content, Mapping):
            raise InputError(f"segmenter: expected a JSON object, not {type(content).__name__}")
        names = [f.name for f in dataclasses.fields(cls)]
        unknown = [name for name in content if name not in names]
        if unknown:
            raise InputError(f"segmenter: unknown field {unknown[0]!r}{nearest(str(unknown[0]), names)}")
        kind = _read(content, "kind", _one_of(KINDS))
        for name in _NEEDED[str(kind)]:
            if name not in content and not (name == "smp" and "config" in content):
                raise InputError(f"segmenter: a {kind} segmenter needs the field {name!r}")
        optional = {name: _read(content, name, check) for name, check in _OPTIONAL.items() if name in content}
        return cls(str(kind), _read(content, "num_classes", _count), **optional)


_NEEDED = {
    "smp": ("smp",),
    "transformers": ("config",),
    "torchvision": ("config",),
    "exported": ("file", "sha256"),
    "onnx": ("file", "sha256"),
    "module": ("factory",),
}


def _read(content: Mapping[str, Any], name: str, check: Callable[[Any], Any]) -> Any:
    if name not in content:
        raise InputError(f"segmenter: the field {name!r} is missing")
    try:
        return check(content[name])
    except InputError as error:
        raise InputError(f"segmenter.{name}: {error}") from None


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise InputError(f"{value!r} is unknown{nearest(str(value), allowed)}")
        return value

    return check


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"expected a positive whole number, not {value!r}")
    return value


def _count_or_none(value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _count(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"expected text, not {value!r}")
    return value


def _file_name(value: Any) -> str:
    if "/" in _text(value) or "\\" in value or value.startswith("."):
        raise InputError(f"expected the name of a file in the bundle, not {value!r}")
    return str(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"expected a JSON object, not {type(value).__name__}")
    return dict(value)


def _preprocessing(value: Any) -> Preprocessing:
    fields = _object(value)
    triples = {}
    for name in ("mean", "std"):
        triple = fields.pop(name, None)
        numbers = isinstance(triple, (list, tuple)) and all(type(v) in (int, float) for v in triple)
        if not numbers or len(triple) != 3 or (name == "std" and min(triple) <= 0):
            raise InputError(f"{name} must be three numbers{' above 0' if name == 'std' else ''}, not {triple!r}")
        triples[name] = (float(triple[0]), float(triple[1]), float(triple[2]))
    if fields:
        raise InputError(f"unknown field {next(iter(fields))!r}; there are: mean, std")
    return Preprocessing(**triples)


def _smp_spec(value: Any) -> SmpSpec:
    fields = _object(value)
    checks = {"num_classes": _count, "architecture": _text, "encoder": _text, "output_stride": _count,
              "decoder_channels": _count, "detail": _count_or_none, "preprocessing": _preprocessing}  # fmt: skip
    unknown = [name for name in fields if name not in checks]
    if unknown:
        raise InputError(f"unknown field {unknown[0]!r}{nearest(str(unknown[0]), list(checks))}")
    if "num_classes" not in fields:
        raise InputError("the field 'num_classes' is missing")
    read: dict[str, Any] = {}
    for name, content in fields.items():
        try:
            read[name] = checks[name](content)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    return SmpSpec(**read)


_OPTIONAL: dict[str, Callable[[Any], Any]] = {
    "preprocessing": _preprocessing, "smp": _smp_spec, "config": _object, "file": _file_name, "sha256": _text,
    "multiple": _count, "factory": _text, "options": _object,
}  # fmt: skip
