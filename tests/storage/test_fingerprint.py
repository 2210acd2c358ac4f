"""Worlds that read images alike have one fingerprint; whatever changes how one reads changes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ignota.perception.known import KnownEvidence
from ignota.perception.perception import calibrated
from ignota.storage import bundle, fingerprint
from ignota.storage.fingerprint import world_fingerprint
from ignota.structures import Preprocessing
from ignota.world.model import OpenWorldModel


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
    monkeypatch.setattr(fingerprint, "FORM", fingerprint.FORM + 1)
    assert world_fingerprint(world) != before
