"""Files of a bundle: only regular ones, and only as they were sealed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ignota.perception.known import KnownEvidence
from ignota.perception.perception import calibrated
from ignota.storage import bundle, seals
from ignota.storage.seals import read_json, world_fingerprint
from ignota.structures import InputError, Preprocessing
from ignota.world.model import OpenWorldModel

FILES = ("world.json", "weights.safetensors", "exemplars.sqlite")


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "world"))


def test_tensors_are_verified_at_every_opening(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(InputError, match="its SHA-256 is not the one"):
        bundle.load(folder)
    weights.write_bytes(bytes(data[:-1]))
    with pytest.raises(InputError, match="were sealed"):
        bundle.load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_not_finite_are_refused(
    folder: Path, value: float, reseal: Callable[[Path, Callable[[dict[str, Any]], object]], None]
) -> None:
    tensors = load_file(folder / "weights.safetensors")
    tensors["known.means"][0, 0] = value
    save_file(tensors, folder / "weights.safetensors")
    reseal(folder, lambda document: None)
    with pytest.raises(InputError, match=r"known.means is not finite"):
        bundle.load(folder)


def test_parts_that_do_not_fit_together_are_refused_before_any_image(
    folder: Path, reseal: Callable[[Path, Callable[[dict[str, Any]], object]], None]
) -> None:
    whole = load_file(folder / "weights.safetensors")
    for name, changed in {
        "known.means": whole["known.means"][:-1],
        "known.score.knn.std": -whole["known.score.knn.std"],
        "known.score.knn.owner": whole["known.score.knn.owner"] + 200,
        "known.held_out.area": whole["known.held_out.area"][:-1],
        "known.score.sml.mean": whole["known.score.sml.mean"][:-1],
    }.items():
        save_file({**whole, name: changed.contiguous()}, folder / "weights.safetensors")
        reseal(folder, lambda document: None)
        with pytest.raises(InputError, match=r"do not fit together|damaged"):
            bundle.load(folder)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("make", [fifo, listening, loop, device, Path.mkdir])
def test_only_regular_files_are_opened(folder: Path, file: str, make: Callable[[Path], object]) -> None:
    (folder / file).unlink()
    make(folder / file)
    for act in (lambda: bundle.load(folder), lambda: bundle.copy(folder, folder.parent / "copy")):
        with pytest.raises(InputError, match=r"no regular file|cannot be read"):
            act()
    assert not (folder.parent / "copy").exists()


def test_a_link_to_a_regular_file_is_one(folder: Path) -> None:
    for file in FILES:
        (folder / file).rename(folder / f"real-{file}")
        (folder / file).symlink_to(f"real-{file}")
    bundle.load(folder).store.close()


def test_branches_are_sealed_and_read_only_when_asked_for(folder: Path, tmp_path: Path) -> None:
    world, more = bundle.load(folder), tmp_path / "more"
    bundle.save(world, more)
    document = bundle.read_document(more)
    assert document.branches["paper"].file == "branch-paper.safetensors"
    assert document.branches["paper"].settings == world.branch("paper").card
    assert set(document.files) == {"weights.safetensors", "branch-paper.safetensors", "branch-released.safetensors"}
    found, own = bundle.read_branch_tensors(more, document, "paper"), world.branch("paper").head.convolution.weight
    assert found["head.convolution.weight"].dtype == torch.float32
    torch.testing.assert_close(found["head.convolution.weight"], own, atol=1e-3, rtol=1e-3)
    with pytest.raises(InputError, match=r"holds no branch 'dmlnet' .it holds paper, released"):
        bundle.read_branch_tensors(more, document, "dmlnet")
    bundle.copy(more, tmp_path / "copy")
    assert set(bundle.read_document(tmp_path / "copy").branches) == {"paper", "released"}
    (more / "branch-released.safetensors").write_bytes(b"x" * document.files["branch-released.safetensors"].bytes)
    with pytest.raises(InputError, match=r"branch-released\.safetensors is damaged"):
        bundle.load(more)


def test_numbers_that_json_cannot_hold_are_written_as_null(folder: Path, tmp_path: Path) -> None:
    bundle.save(bundle.load(folder), tmp_path / "again", {"iou": float("nan")})
    assert read_json(tmp_path / "again" / "world.json")["results"] == {"iou": None}
    assert "NaN" not in (tmp_path / "again" / "world.json").read_text()
    assert json.loads((tmp_path / "again" / "world.json").read_text())["schema"] == 2


def _nudge(module: torch.nn.Module) -> None:
    next(module.parameters()).data.add_(1e-3)


def _brighten(world: OpenWorldModel) -> None:
    world.networks.segmenter.preprocessing = Preprocessing((0.4, 0.4, 0.4), (0.2, 0.2, 0.2))


def _fewer_taps(world: OpenWorldModel) -> None:
    world.networks = dataclasses.replace(world.networks, taps=world.networks.taps[:-1])


def _fit(world: OpenWorldModel, known: KnownEvidence) -> None:
    world.fitted = known
    world.refresh()


def _other_space(world: OpenWorldModel) -> None:
    name, space = next(iter(world.known.spaces.items()))
    spaces = world.known.spaces | {name: dataclasses.replace(space, taps=(*space.taps, "decoder"))}
    _fit(world, dataclasses.replace(world.fitted, spaces=spaces))


def _other_scales(world: OpenWorldModel) -> None:
    regions = dataclasses.replace(world.known.recipe.regions, scales=(30.0, 210.0))
    _fit(world, calibrated(world.fitted, regions=regions))


CHANGES: dict[str, Callable[[OpenWorldModel], None]] = {
    "weights of the segmenter": lambda world: _nudge(world.networks.segmenter),
    "weights of the frozen encoder": lambda world: _nudge(world.networks.frozen),
    "preprocessing": _brighten,
    "size of what the frozen encoder sees": lambda world: setattr(world.networks.frozen, "size", 100),
    "taps": _fewer_taps,
    "taps of a space": _other_space,
    "region scales": _other_scales,
    "a constant of the recipe": lambda world: _fit(world, calibrated(world.fitted, strangest=2.5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_reading_changes_the_fingerprint(trained: Path, change: str) -> None:
    before, other = world_fingerprint(bundle.load(trained)), bundle.load(trained)
    assert before == world_fingerprint(bundle.load(trained))
    CHANGES[change](other)
    assert world_fingerprint(other) != before


def test_weights_are_hashed_once(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = bundle.load(trained)
    before = world_fingerprint(world)
    monkeypatch.setattr(world.networks.segmenter, "state_dict", lambda: pytest.fail("hashed again"))
    assert world_fingerprint(world) == before


def test_another_form_has_another_fingerprint(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = bundle.load(trained)
    before = world_fingerprint(world)
    monkeypatch.setattr(seals, "FORM", seals.FORM + 1)
    assert world_fingerprint(world) != before
