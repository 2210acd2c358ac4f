"""The cache keeps what was built, apart for every network and version, and nothing half done."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ignota.backends.artefacts import artefact, built, cache_folder
from ignota.storage import bundle
from ignota.structures import InputError, Preprocessing


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IGNOTA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_other_networks_and_versions_lie_elsewhere(trained: Path, cache: Path) -> None:
    networks = bundle.load(trained).networks
    place = artefact(networks, "a", 1)
    assert place == artefact(bundle.load(trained).networks, "a", 1)
    assert cache in place.parents and not place.exists()
    others = bundle.load(trained).networks
    next(others.segmenter.parameters()).data.add_(1e-3)
    places = {place, artefact(others, "a", 1), artefact(networks, "a", 2)}
    places.add(artefact(dataclasses.replace(networks, taps=networks.taps[:1]), "a", 1))
    assert len(places) == 4


def test_networks_that_differ_in_no_weight_lie_elsewhere(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preprocessing and stride are built into a graph as the weights are."""
    place = artefact(bundle.load(trained).networks, "a")
    brighter, finer = (bundle.load(trained).networks for _ in range(2))
    spec = brighter.segmenter.spec
    light = Preprocessing((0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
    monkeypatch.setattr(brighter.segmenter, "preprocessing", light)
    monkeypatch.setattr(finer.segmenter, "spec", dataclasses.replace(spec, output_stride=24 - spec.output_stride))
    assert len({place, artefact(brighter, "a"), artefact(finer, "a")}) == 3


def test_built_once_and_never_half(cache: Path) -> None:
    made = []

    def build(path: Path) -> None:
        made.append(path)
        path.write_bytes(b"whole")

    for _ in range(2):
        assert built(cache / "key" / "a", build).read_bytes() == b"whole"
    assert len(made) == 1

    def fails(path: Path) -> None:
        path.write_bytes(b"ha")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        built(cache / "key" / "b", fails)
    assert [file.name for file in (cache / "key").iterdir()] == ["a"]


def test_two_that_build_at_once_do_not_share_a_draft(cache: Path) -> None:
    """As containers that mount one cache: the ids of their processes are the same."""
    drafts = []

    def build(path: Path) -> None:
        drafts.append(path)
        if len(drafts) == 1:
            built(cache / "key" / "a", build)
        path.write_bytes(b"whole")

    assert built(cache / "key" / "a", build).read_bytes() == b"whole"
    assert len(set(drafts)) == 2


def test_a_cache_that_cannot_be_written_is_told(cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(InputError, match="IGNOTA_CACHE"):
        built(cache / "key" / "a", lambda path: None)


def test_the_user_s_cache_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IGNOTA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ignota"
