"""Branches: built when asked for, stored whole, and the paper's steps on them against loops."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ignota.perception.branch import Branch, Branches
from ignota.perception.raml import RULES, branch_evidence, candidate_regions, region_similarities
from ignota.storage import bundle
from ignota.storage.document import WorldDocument
from ignota.structures import InputError
from ignota.world.labelling import METHODS, label_maps, systems_of
from ignota.world.model import OpenWorldModel

PRESETS = ("paper", "released")


@pytest.fixture
def world(trained: Path) -> OpenWorldModel:
    from ignota.exemplars.store import ExemplarStore

    loaded = bundle.load(trained)
    loaded.store.close()
    return dataclasses.replace(loaded, store=ExemplarStore(None), exemplar_branches=PRESETS)


def picture(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (6, 12, 3), np.uint8), (120, 60), interpolation=cv2.INTER_CUBIC)


def box() -> np.ndarray:
    mask = np.zeros((60, 120), bool)
    mask[20:50, 30:80] = True
    return mask


def test_a_branch_is_built_when_it_is_first_asked_for(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read = bundle._read_tensors

    def watched(path: Path, document: WorldDocument, name: str) -> dict[str, torch.Tensor]:
        opened.append(name)
        return read(path, document, name)

    monkeypatch.setattr(bundle, "_read_tensors", watched)
    world = bundle.load(trained)
    world.segment(picture())
    label_maps(world, world.encode(picture()), ("raml", "npm_frozen"))
    assert opened == [bundle.WEIGHTS]
    assert world.branch("paper") is world.branch("paper")
    assert opened == [bundle.WEIGHTS, "branch-paper.safetensors"]
    world.store.close()


def test_a_world_without_the_branch_says_how_to_get_it(world: OpenWorldModel) -> None:
    bare = dataclasses.replace(world, branches=Branches())
    with pytest.raises(InputError, match=r"no branch 'paper'.*ignota fit --branches paper"):
        label_maps(bare, bare.encode(picture()), ("raml_paper",))
    assert bare.segment(picture()).labels.shape == (60, 120)  # a complete world all the same


def test_a_branch_comes_back_from_its_file(world: OpenWorldModel, tmp_path: Path) -> None:
    bundle.save(world, tmp_path / "copy")
    again, encoding = bundle.load(tmp_path / "copy"), world.encode(picture())
    for system in PRESETS:
        one, two = world.branch(system), again.branch(system)
        assert one.card == two.card and one.card["steps"] == 2
        first, second = one.read(encoding), two.read(encoding)
        torch.testing.assert_close(first.channels, second.channels, atol=2e-3, rtol=0)  # stored in half precision
        torch.testing.assert_close(first.features, second.features, atol=2e-2, rtol=1e-2)
    again.store.close()
    (tmp_path / "copy" / "branch-paper.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"branch-paper\.safetensors"):
        bundle.load(tmp_path / "copy").branch("paper")


def test_branches_never_change_what_the_closed_set_says(world: OpenWorldModel) -> None:
    encoding = world.encode(picture())
    before = world.segment(encoding).labels.copy()
    for system in PRESETS:
        world.branch(system).read(encoding)
    assert np.array_equal(world.segment(world.encode(picture())).labels, before)
    assert torch.equal(world.encode(picture()).logits, encoding.logits)


@pytest.mark.parametrize("system", PRESETS)
def test_a_reading_against_the_printed_steps(world: OpenWorldModel, system: str) -> None:
    branch, encoding = world.branch(system), world.encode(picture())
    reading = branch.read(encoding)
    logits, _ = branch.networks.runner(branch.networks, encoding.image, None)
    raw = branch.head(logits[None].float())[0]
    classes = len(world.taxonomy)
    channels = (raw.softmax(0) if system == "paper" else raw.sigmoid())[classes:]
    torch.testing.assert_close(reading.channels, channels, atol=1e-5, rtol=1e-4)
    known = raw[:classes] if system == "paper" else logits.float()
    full = F.interpolate(known[None], size=encoding.image.shape[:2], mode="bilinear")[0]
    assert (reading.known == full.argmax(0).numpy()).mean() > 0.999
    mass = F.interpolate(channels.sum(0)[None, None], size=encoding.image.shape[:2], mode="bilinear")[0, 0]
    found = world.scores(encoding, ["meta_mass"])["meta_mass"] if system == "paper" else reading.mass()
    torch.testing.assert_close(found, mass, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("method", list(RULES))
def test_a_method_against_equations_10_to_15(world: OpenWorldModel, method: str) -> None:
    """Prototype of each class, channels that pass κ, their union, its regions, cosines, θ: region by region."""
    world.learn("crate", [(picture(), box())], force=True)
    rule = dataclasses.replace(RULES[method], theta=-0.5)
    branch, encoding = world.branch(rule.system), world.encode(picture(1))
    reading, evidence = branch.read(encoding), branch_evidence(branch, world.store.exemplars())
    shot = branch.read(world.encode(picture()))
    small = cv2.resize(box().astype(np.float32), shot.channels.shape[:0:-1], interpolation=cv2.INTER_AREA) >= 0.5
    for j, channel in enumerate(shot.channels):
        on = (channel >= 0.5).numpy()
        count = (on & small).sum() if rule.system == "released" else on.sum()
        assert evidence.selected(rule.kappa)[j] == (count / small.sum() > rule.kappa)
    regions = candidate_regions(reading, evidence, rule)
    similarity = region_similarities(branch, reading, regions, evidence, rule.features)
    height, width = reading.features.shape[1:]
    rows = np.arange(regions.ids.shape[0]) * height // regions.ids.shape[0]
    columns = np.arange(regions.ids.shape[1]) * width // regions.ids.shape[1]
    upsampled = reading.features.numpy()[:, rows][:, :, columns]
    for r in range(regions.count):
        mean = torch.from_numpy(upsampled[:, regions.ids == r + 1].mean(1))
        embedded = branch.embedder(mean[None])[0]
        cosine = F.cosine_similarity(embedded, evidence.prototypes[0], dim=0)
        plain = F.cosine_similarity(mean, evidence.means[0], dim=0)
        expected = (1 - rule.features) * cosine + rule.features * plain
        assert float(similarity[r, 0]) == pytest.approx(float(expected), abs=1e-4)


def test_candidate_regions_stay_within_what_is_unknown(world: OpenWorldModel) -> None:
    rule = dataclasses.replace(RULES["raml_paper"], kappa=-1.0)  # every channel counts
    rule = dataclasses.replace(rule, regions=dataclasses.replace(rule.regions, threshold=0.0, fill_holes=False))
    branch, reading = world.branch("paper"), world.branch("paper").read(world.encode(picture()))
    assert candidate_regions(reading, branch_evidence(branch, ()), rule).count == 0  # nothing is taught
    world.learn("crate", [(picture(), box())], force=True)
    evidence = branch_evidence(branch, world.store.exemplars())
    rule = dataclasses.replace(rule, regions=dataclasses.replace(rule.regions, threshold=1e-9))
    assert candidate_regions(reading, evidence, rule).count
    left = np.zeros(reading.size, bool)
    left[:, : reading.size[1] // 2] = True
    half = candidate_regions(reading, evidence, rule, left)
    assert half.count and not (half.ids[:, reading.size[1] // 2 + 8 :] > 0).any()


def test_an_exemplar_that_was_taught_without_the_branch_is_named(world: OpenWorldModel) -> None:
    world.exemplar_branches = ()
    world.learn("crate", [(picture(), box())], force=True)
    with pytest.raises(InputError, match=r"'crate' was taught without the branch 'paper'.*--branches paper"):
        label_maps(world, world.encode(picture()), ("raml_paper",))
    assert "crate" in world.classes.names


def test_methods_name_their_branches() -> None:
    assert systems_of(METHODS) == ("paper", "released")
    assert systems_of(("raml", "npm_frozen")) == ()


def test_branches_of_other_systems_are_unknown(world: OpenWorldModel) -> None:
    assert isinstance(world.branch("paper"), Branch)
    with pytest.raises(InputError, match="no branch 'dmlnet' \\(it has paper, released\\)"):
        world.branch("dmlnet")


def test_a_branch_is_built_outside_inference_mode_whoever_asks(world: OpenWorldModel) -> None:
    made: list[torch.Tensor] = []

    def maker(networks: object) -> torch.Tensor:
        made.append(torch.ones(1, requires_grad=True) * 2)
        return made[0]

    with torch.inference_mode():
        Branches({"paper": maker}).get("paper", world.networks)
    assert made[0].requires_grad and not made[0].is_inference()
