"""world.json as one model of schema 2: the range of each field, and the conversion from schema 1."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from ignota.models.focus_network import LARGEST_VIEW
from ignota.models.objectness import OWN_FILE
from ignota.perception.hierarchy import RegionSettings
from ignota.perception.known import Recipe
from ignota.scores.fitted_scores import RENAMED
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import MAX_CLASSES

SCHEMA = 2
FORM = 4
"""Raised whenever `segment` comes to write something else for the same image and the same world."""
WORLD, WEIGHTS, OBJECTNESS = "world.json", "weights.safetensors", "objectness.onnx"
RECIPE = "light"
"""The recipe that every world holds; `full` needs an objectness network."""
ADDED = frozenset(
    {"steal_counter", "lowest_margin", "lowest_similarity", "objectness", "level", "cutoff", "component_cutoff"}
)
"""Fields of a recipe that came after schema 2 was fixed: a document may lack them."""

_LARGEST_NUMBER, _DEEPEST = 1e6, 32
_SCHEMA_1 = {"schema", "taxonomy", "segmenter", "frozen", "heads", "size", "taps", "spaces", "recipe", "provenance",
             "results"}  # fmt: skip
_REGIONS_1 = RegionSettings((30.0, 200.0), 270, 0.04, 20, 0.8)
_CONSTANTS_1 = {"kappa_released": 0.15, "steal_class": 0.1, "strangest": 1.0, "parts": 64, "inside": 0.7}


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a character cannot be printed")
    return text


def _file_name(text: str) -> str:
    if "/" in text or "\\" in text or text.startswith("."):
        raise ValueError("not the name of a file in the bundle")
    return _printable(text)


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
FileName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_file_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Side = Annotated[int, Field(ge=16, le=8192)]
Byte = Annotated[int, Field(ge=0, le=255)]
Mean = Annotated[float, Field(ge=-1e3, le=1e3)]
Std = Annotated[float, Field(ge=1e-3, le=1e3)]
Taps = Annotated[tuple[Text, ...], Field(min_length=1, max_length=32)]
BranchName = Literal["paper", "released", "dmlnet"]


class Entry(BaseModel):
    """A JSON object of which every field is known and has its type; numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())


class ClassEntry(Entry):
    """A known class: its id is its place in the list."""

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
    colour: tuple[Byte, Byte, Byte]


class TaxonomyEntry(Entry):
    """The known classes in the order of their ids."""

    name: Text
    classes: Annotated[tuple[ClassEntry, ...], Field(min_length=1, max_length=MAX_CLASSES)]


class PreprocessingEntry(Entry):
    """How an image becomes a network's input: scaled to 0..1, minus mean, over std (R, G, B)."""

    mean: tuple[Mean, Mean, Mean]
    std: tuple[Std, Std, Std]


class OutsideEntry(Entry):
    """A network whose weights lie outside the bundle. size: short side of what it sees; None: as the segmenter does.

    source: "package" with its name and version, "hub" or a file. sha256: of the weights. logits: whether the map of the
    world's own saliency model is logits; None of any other network.
    """

    encoder: Text
    size: Side | None
    source: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_printable)]
    package: Text | None = None
    version: Text | None = None
    sha256: Sha256
    logits: Annotated[bool | None, Field(exclude_if=lambda value: value is None)] = None
    preprocessing: PreprocessingEntry


class BranchEntry(Entry):
    """A fine-tuned copy of the segmenter with its heads: the file of its tensors and what builds it."""

    file: FileName
    settings: dict[str, JsonValue]


class FileEntry(Entry):
    """The seal of a file: SHA-256 and length."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class WorldDocument(Entry):
    """world.json. form: of the program that fitted the world. digest: of the canonical document without it.

    objectness: the outside weights of the network that the recipe `full` reads.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: Literal[2] = Field(alias="schema")
    form: Annotated[int, Field(ge=1, le=FORM)]
    taxonomy: TaxonomyEntry
    segmenter: dict[str, JsonValue]
    frozen: OutsideEntry | None
    objectness: OutsideEntry | None = None
    size: Side
    taps: Taps
    spaces: dict[Text, Taps]
    recipes: Annotated[dict[Literal["light", "full"], Recipe], Field(min_length=1)]
    branches: dict[BranchName, BranchEntry] = {}
    files: dict[FileName, FileEntry]
    provenance: dict[str, JsonValue]
    results: dict[str, JsonValue]
    digest: Sha256

    @property
    def recipe(self) -> Recipe:
        return self.recipes["light"]

    @property
    def own_objectness(self) -> bool:
        """Whether the objectness network lies in the world."""
        return self.objectness is not None and self.objectness.source == OWN_FILE

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        named = self.spaces | {f"recipe {name}": recipe.taps for name, recipe in self.recipes.items()}
        for name, taps in named.items():
            if not set(taps) <= set(self.taps):
                raise ValueError(f"{name} reads taps that are not kept")
        names = [entry.name for entry in self.taxonomy.classes]
        if len(set(names)) != len(names):
            raise ValueError("taxonomy: class names repeat")
        if self.segmenter.get("num_classes") != len(names):
            raise ValueError(f"segmenter.num_classes is not {len(names)}, the number of classes")
        if RECIPE not in self.recipes:
            raise ValueError(f"recipes: {RECIPE!r} is missing")
        if ("full" in self.recipes) != (self.objectness is not None):
            raise ValueError("objectness: it is there exactly where recipes has `full`")
        if self.objectness is not None and not 14 <= (self.objectness.size or 0) <= LARGEST_VIEW:
            raise ValueError(f"objectness.size: a ViT's work grows with its square, so it is 14 to {LARGEST_VIEW}")
        if self.recipes[RECIPE].objectness or self.recipes[RECIPE].level:
            raise ValueError(f"recipes.{RECIPE}: its objectness and level are 0, those of `full` alone are not")
        for name, branch in self.branches.items():
            if branch.file != branch_file(name):
                raise ValueError(f"branches.{name}: its file is {branch_file(name)!r}")
        if sorted(self.files) != sorted(sealed_files(self.segmenter, list(self.branches), self.own_objectness)):
            raise ValueError("files: not those that the document names")
        if self.own_objectness and self.objectness and self.files[OBJECTNESS].sha256 != self.objectness.sha256:
            raise ValueError(f"objectness.sha256: not that of {OBJECTNESS}")
        return self

    @model_validator(mode="after")
    def _segmenter_is_sane(self) -> Self:
        _check_numbers("segmenter", self.segmenter)
        try:
            PreprocessingEntry.model_validate_json(json.dumps(self.segmenter.get("preprocessing")))
        except ValidationError as error:
            raise ValueError(f"segmenter.preprocessing.{_first(error)}") from None
        return self

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return self.model_dump(mode="json", by_alias=True)


def branch_file(name: str) -> str:
    """The file of a branch's tensors."""
    return f"branch-{name}.safetensors"


def sealed_files(segmenter: Mapping[str, Any], branches: Iterable[str], own_objectness: bool) -> tuple[str, ...]:
    """Every file that a document seals: tensors, an exported program, branches, a saliency model of the world's own."""
    program = (str(segmenter["file"]),) if isinstance(segmenter.get("file"), str) else ()
    saliency = (OBJECTNESS,) if own_objectness else ()
    return (WEIGHTS, *program, *(branch_file(name) for name in branches), *saliency)


def validated(raw: Mapping[str, Any], path: Path) -> WorldDocument:
    """The model of a document of schema 2; raises InputError that names the field that is wrong."""
    form = raw.get("form")
    if isinstance(form, int) and form > FORM:
        raise InputError(f"{path} was written by a newer version (form {form}, this one reads {FORM}): update ignota")
    try:
        document = WorldDocument.model_validate_json(json.dumps(raw, allow_nan=False))
    except ValidationError as error:
        refuse(path, _first(error))
    except (ValueError, RecursionError) as error:
        refuse(path, f"{type(error).__name__}")
    for name, recipe in raw["recipes"].items():
        missing = [field.name for field in dataclasses.fields(Recipe) if field.name not in {*recipe, *ADDED}]
        missing += [
            f"regions.{field.name}"
            for field in dataclasses.fields(RegionSettings)
            if field.name not in recipe.get("regions", {})
        ]
        if missing:
            refuse(path, f"recipes.{name}.{missing[0]}: the field is missing")
    return document


def _first(error: ValidationError) -> str:
    """The first fault: where and what."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the document"
    return f"{where[:100]}: {first['msg'].removeprefix('Value error, ')}"


def refuse(path: Path, reason: str) -> NoReturn:
    """Raises InputError for a document that cannot be used."""
    raise InputError(f"{path} is damaged ({' '.join(reason.split())}): fix the field, or copy or train the world again")


def from_schema_1(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A document of schema 1 as one of schema 2, without seals: constants and scales as they were then.

    Its meta channels on frozen logits are left out: nothing reads them any more.
    """
    unknown = [name for name in raw if name not in _SCHEMA_1]
    missing = [name for name in _SCHEMA_1 - {"results"} if name not in raw]
    if unknown or missing:
        refuse(path, f"{(unknown or missing)[0]}: {'unknown field' if unknown else 'the field is missing'}")
    if not isinstance(raw["recipe"], dict) or not isinstance(raw["segmenter"], dict):
        refuse(path, "recipe, segmenter: not an object")
    defaults = {
        field.name: field.default for field in dataclasses.fields(Recipe) if field.default is not dataclasses.MISSING
    }
    recipe = {**defaults, **_CONSTANTS_1, "regions": dataclasses.asdict(_REGIONS_1), **raw["recipe"]}
    if isinstance(recipe.get("extra"), list):
        recipe["extra"] = [RENAMED.get(name, name) if isinstance(name, str) else name for name in recipe["extra"]]
    kept = {name: raw[name] for name in ("taxonomy", "segmenter", "size", "taps", "spaces", "provenance")}
    return {"schema": SCHEMA, "form": 2, **kept, "frozen": _frozen_1(raw), "recipes": {RECIPE: recipe}, "branches": {},
            "results": raw.get("results", {})}  # fmt: skip


def _frozen_1(raw: Mapping[str, Any]) -> Any:
    """The frozen encoder of schema 1; before it had a size of its own, it saw images magnified."""
    if not isinstance(raw["frozen"], dict):
        return raw["frozen"]
    frozen = {"size": None, **raw["frozen"], "preprocessing": dataclasses.asdict(Preprocessing())}
    magnify = frozen.pop("magnify", None)
    if "size" not in raw["frozen"] and isinstance(magnify, int | float) and isinstance(raw["size"], int):
        frozen["size"] = round(min(raw["size"] * magnify, _LARGEST_NUMBER))
    return frozen


def _check_numbers(where: str, value: JsonValue, depth: int = 0) -> None:
    """Raises ValueError for numbers that no network is built from, and for what lies too deep."""
    if depth > _DEEPEST:
        raise ValueError(f"{where[:60]}: nested too deep")
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_numbers(f"{where}.{key}", inner, depth + 1)
    elif isinstance(value, int | float) and abs(value) > _LARGEST_NUMBER:
        raise ValueError(f"{where[:60]}: {str(value)[:20]} is beyond {_LARGEST_NUMBER:g}")
