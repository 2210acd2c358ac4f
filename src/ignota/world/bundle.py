"""A world on disk: a directory with world.json, weights.safetensors and exemplars.sqlite; no pickle anywhere."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ignota.anomaly.fitted_scores import RENAMED
from ignota.models.build import SegmenterDescription, build_segmenter, describe
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.meta_channels import MetaChannelHead
from ignota.structures import InputError
from ignota.taxonomy import ClassLabel, Taxonomy, nearest
from ignota.world.exemplars import FILE, ExemplarStore
from ignota.world.known import KnownEvidence, Recipe
from ignota.world.model import OpenWorldModel
from ignota.world.networks import Networks
from ignota.world.tiles import tiled_unasked

SCHEMA = 1
WORLD, WEIGHTS = "world.json", "weights.safetensors"
_HALF_MAX = 65504.0
_LARGEST_SIDE, _LARGEST_MAGNIFICATION = 8192, 64


def shipped_worlds() -> dict[str, Path]:
    """The worlds that come with the package, by name."""
    folder = Path(str(resources.files("ignota"))) / "worlds"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{WORLD}"))}


def find_world(name: str | Path) -> Path:
    """The directory of a bundle: a path, or the name of a shipped world; raises InputError."""
    path = Path(name)
    if (path / WORLD).is_file():
        return path
    shipped = shipped_worlds()
    if str(name) in shipped:
        return shipped[str(name)]
    if path.exists():
        raise InputError(f"{path} is no world (it has no {WORLD}): make one with `ignota init {path.name}-world`")
    raise InputError(
        f"no world {str(name)!r}, neither a folder nor shipped{nearest(str(name), list(shipped)) if shipped else ''}"
    )


def save(world: OpenWorldModel, path: Path, results: dict[str, Any] | None = None) -> None:
    """Writes a new bundle beside `path`, syncs it, then renames it; raises InputError if `path` exists."""
    with new_bundle(path) as folder:
        description, files = describe(world.networks.segmenter)
        for file in files:
            shutil.copyfile(file, folder / file.name)
        document = _document(world, description, results or {})
        (folder / WORLD).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        safetensors.torch.save_file(halved(_tensors(world, description)), folder / WEIGHTS)
        world.store.copy_to(folder / FILE)


@contextmanager
def new_bundle(path: Path) -> Iterator[Path]:
    """A temporary directory beside `path` that takes its name when all is written and synced."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already: choose another place or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            folder = Path(temporary) / path.name
            folder.mkdir()
            yield folder
            for file in folder.iterdir():
                _sync(file)
            if path.exists():
                path.rmdir()
            folder.replace(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write the world {path}: {error}; nothing was left behind") from None


def copy(source: str | Path, path: Path) -> None:
    """A writable copy of a world with what it was taught; raises InputError if `path` exists."""
    origin = find_world(source)
    store = open_store(origin, writable=False)
    try:
        with new_bundle(path) as folder:
            for file in origin.iterdir():
                if file.is_file() and not file.name.startswith(FILE):
                    shutil.copyfile(file, folder / file.name)
            store.copy_to(folder / FILE)
    finally:
        store.close()


def load(
    name: str | Path,
    device: torch.device | str = "cpu",
    writable: bool = False,
    size: int | None = None,
    allow_code: bool = False,
) -> OpenWorldModel:
    """Opens a bundle by path or shipped name, too large images being tiled, as by every backend.

    Raises InputError for one that is damaged or of another version.
    """
    path, device = find_world(name), torch.device(device)
    document = read_document(path)
    tensors = _read_tensors(path)
    try:
        description = SegmenterDescription.from_json(document["segmenter"])
        segmenter = build_segmenter(description, _group(tensors, "segmenter."), path, allow_code=allow_code)
        taxonomy = _taxonomy(document["taxonomy"])
        heads = {name: _head(_group(tensors, f"head.{name}.")) for name in document["heads"]}
        numbers: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in document["recipe"].items()}
        numbers["extra"] = tuple(RENAMED.get(name, name) for name in numbers.get("extra", ()))
        recipe = Recipe(**numbers)
        spaces = {name: tuple(taps) for name, taps in document["spaces"].items()}
        known = KnownEvidence.from_tensors(_group(tensors, "known."), recipe, spaces, len(taxonomy))
        networks = tiled_unasked(Networks(
            segmenter.eval().requires_grad_(False).to(memory_format=torch.channels_last), _frozen(document), heads,
            size or document["size"], tuple(document["taps"]), torch.device("cpu"),
        ))  # fmt: skip
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {str(error)[:120]}): copy or train it anew"
        ) from None
    world = OpenWorldModel(taxonomy, networks, known, open_store(path, writable), document["provenance"])
    return world if device.type == "cpu" else moved(world, device)


def moved(world: OpenWorldModel, device: torch.device) -> OpenWorldModel:
    """The same world on another device."""
    networks = world.networks
    networks = dataclasses.replace(
        networks,
        segmenter=networks.segmenter.to(device),
        frozen=None if networks.frozen is None else networks.frozen.to(device),
        heads={name: head.to(device) for name, head in networks.heads.items()},
        device=device,
    )
    tensors = {name: value.to(device) for name, value in world.known.tensors()}
    spaces = {name: space.taps for name, space in world.known.spaces.items()}
    known = KnownEvidence.from_tensors(tensors, world.known.recipe, spaces, len(world.taxonomy))
    return dataclasses.replace(world, networks=networks, known=known)


def open_store(path: Path, writable: bool) -> ExemplarStore:
    """The exemplars of a bundle; shipped worlds are read without any lock or journal."""
    shipped = path.resolve().parent == (Path(str(resources.files("ignota"))) / "worlds").resolve()
    if writable and shipped:
        raise InputError(
            f"{path.name} is shipped and read-only: `ignota init MY-WORLD --from {path.name}` makes a copy to teach"
        )
    return ExemplarStore(path / FILE, writable=writable, immutable=shipped)


def read_document(path: Path) -> dict[str, Any]:
    """world.json, checked for its version."""
    try:
        document = json.loads((path / WORLD).read_text(encoding="utf-8"))
        schema = document["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path / WORLD} is damaged ({type(error).__name__}): copy or train the world anew") from None
    if schema != SCHEMA:
        raise InputError(
            f"{path} has schema version {schema!r}, this program reads {SCHEMA}: update ignota or train it anew"
        )
    for field, check in _FIELDS.items():
        if field not in document or not check(document[field]):
            raise InputError(f"{path / WORLD} is damaged (field {field!r}): copy or train the world anew")
    return dict(document)


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _visible(frozen: dict[str, Any]) -> bool:
    """Whether the size at which images are shown to the frozen encoder is one that they can have."""
    size, magnify = frozen.get("size"), frozen.get("magnify", 1)
    whole = isinstance(size, int) and not isinstance(size, bool) and 0 < size <= _LARGEST_SIDE
    return (size is None or whole) and isinstance(magnify, int | float) and 0 < magnify <= _LARGEST_MAGNIFICATION


# What each field of world.json must be, before anything is built from it
_FIELDS: dict[str, Callable[[Any], bool]] = {
    "taxonomy": lambda v: isinstance(v, dict),
    "segmenter": lambda v: isinstance(v, dict),
    "frozen": lambda v: v is None or (isinstance(v, dict) and _visible(v)),
    "heads": _words,
    "size": lambda v: isinstance(v, int) and not isinstance(v, bool) and v > 0,
    "taps": _words,
    "spaces": lambda v: isinstance(v, dict) and all(_words(taps) for taps in v.values()),
    "recipe": lambda v: isinstance(v, dict),
    "provenance": lambda v: isinstance(v, dict),
}


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating tensors in half precision where their range allows, the rest as they are."""
    return {
        name: value.half()
        if value.is_floating_point() and float(value.abs().max() if value.numel() else 0) < _HALF_MAX
        else value
        for name, value in tensors.items()
    }


def _tensors(world: OpenWorldModel, description: SegmenterDescription) -> dict[str, Tensor]:
    found = {f"known.{name}": value for name, value in world.known.tensors()}
    if description.has_weights:
        found |= {f"segmenter.{name}": value for name, value in world.networks.segmenter.state_dict().items()}
    for name, head in world.networks.heads.items():
        found |= {f"head.{name}.{key}": value for key, value in head.state_dict().items()}
    return {name: value.detach().cpu().contiguous() for name, value in found.items()}


def _document(world: OpenWorldModel, description: SegmenterDescription, results: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "taxonomy": {
            "name": world.taxonomy.name,
            "classes": [{"name": c.name, "colour": list(c.colour)} for c in world.taxonomy.classes],
        },
        "segmenter": description.to_json(),
        "frozen": None if world.networks.frozen is None else world.networks.frozen.identity(),
        "heads": list(world.networks.heads),
        "size": world.networks.size,
        "taps": list(world.networks.taps),
        "spaces": {name: list(space.taps) for name, space in world.known.spaces.items()},
        "recipe": dataclasses.asdict(world.known.recipe),
        "provenance": world.provenance,
        "results": results,
    }


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = safetensors.torch.load_file(path / WEIGHTS)
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(
            f"{path / WEIGHTS} is damaged ({type(error).__name__}): copy or train the world anew"
        ) from None
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()}


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _taxonomy(document: dict[str, Any]) -> Taxonomy:
    labels = (ClassLabel(i, c["name"], tuple(c["colour"])) for i, c in enumerate(document["classes"]))
    return Taxonomy(document["name"], tuple(labels))


def _head(weights: dict[str, Tensor]) -> MetaChannelHead:
    channels, classes = weights["convolution.weight"].shape[:2]
    head = MetaChannelHead(classes, channels - classes)
    head.load_state_dict(weights)
    return head.eval().requires_grad_(False)


def _frozen(document: dict[str, Any]) -> FrozenEncoder | None:
    identity = document["frozen"]
    if identity is None:
        return None
    strides = sorted(int(tap.split("/")[1]) for tap in document["taps"] if tap.startswith("frozen/"))
    size = identity["size"] if "size" in identity else round(document["size"] * identity["magnify"])  # older worlds
    network = FrozenEncoder(identity["encoder"], strides, identity["source"], size)
    if network.identity()["sha256"] != identity["sha256"]:
        raise InputError(
            f"the weights of {identity['encoder']} differ from those this world was fitted with: {identity['source']}"
        )
    return network


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
