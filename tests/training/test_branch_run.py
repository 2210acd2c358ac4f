"""Stages 2 and 3 of the incremental half: their losses against loops, and what they leave untouched."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ignota.functional.meta_channels import PAPER, PRESETS, RELEASED, activate, overall_loss
from ignota.functional.regions import drop_block
from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec
from ignota.taxonomy import ClassSplit
from ignota.training.branch_run import (
    BranchStage,
    branch_loss,
    crop_of,
    losses_of,
    meta_channel_count,
    starting_branch,
    steps_of,
)
from ignota.training.configuration import ExperimentConfig, MetaChannelConfig
from ignota.training.region_embedder_run import connected_regions, dropped_classes

SPEC = SmpSpec(num_classes=3, decoder_channels=16, detail=4)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(*shape: int, classes: int = 3, seed: int = 0) -> torch.Tensor:
    found = torch.randint(0, classes + 1, shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(found == classes, 255, found).byte()


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_the_loss_is_equation_6_with_the_preset_s_cross_entropy(preset: str) -> None:
    logits, raw, pixels = draw(2, 3, 6, 8), draw(2, 5, 6, 8, seed=1), draw(2, 3, 12, 16, seed=2)
    label = labels(2, 12, 16)
    found = branch_loss(logits, raw, pixels, label, PRESETS[preset])
    scored = raw if preset == "paper" else logits
    full = F.interpolate(scored, size=(12, 16), mode="bilinear").double().log_softmax(1)
    terms = [
        -float(full[b, int(label[b, y, x]), y, x])
        for b in range(2) for y in range(12) for x in range(16) if label[b, y, x] != 255
    ]  # fmt: skip
    small = F.interpolate(label[:, None].float(), size=(6, 8), mode="nearest")[:, 0].long()
    grid = pixels.reshape(2, 3, 6, 2, 8, 2).mean((3, 5))
    segmentation = torch.tensor(sum(terms) / len(terms))
    losses = dataclasses.replace(PRESETS[preset], eta=0.02 * 191**2 / 48 if preset == "paper" else 0.02)
    expected = overall_loss(segmentation, activate(raw, losses), grid, small, 3, losses)["total"]
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_as_printed_the_cross_entropy_reaches_every_channel() -> None:
    """A meta channel cannot own known pixels at no cost: the softmax of Section 3.3 runs over all N+K channels."""
    losses = dataclasses.replace(PAPER, weight_overlap=0.0, weight_split=0.0, weight_reconstruction=0.0)
    raw = draw(1, 5, 4, 4).requires_grad_()
    branch_loss(raw[:, :3].detach(), raw, draw(1, 3, 8, 8), labels(1, 8, 8), losses).backward()
    assert (raw.grad.abs().sum((0, 2, 3)) > 0).all()
    assert (raw.grad[:, 3:].sum((2, 3)) > 0).all()  # descending lowers both meta channels on labelled pixels


def test_void_and_novel_pixels_have_no_part_in_the_cross_entropy() -> None:
    losses = dataclasses.replace(PAPER, weight_overlap=0.0, weight_split=0.0, weight_reconstruction=0.0)
    raw, label = draw(1, 5, 4, 4).requires_grad_(), torch.full((1, 4, 4), 255).byte()
    label[0, 0, 0] = 1
    branch_loss(raw[:, :3].detach(), raw, draw(1, 3, 4, 4), label, losses).backward()
    touched = raw.grad.abs().sum(1)[0] > 0
    assert touched[0, 0] and touched.sum() == 1


def test_the_number_of_meta_channels() -> None:
    for text, released in (("cityscapes:16+3", 4), ("cityscapes:12+7", 8), ("cityscapes:18+1", 2), ("camvid:8+3", 4)):
        split, config = ClassSplit.parse(text), MetaChannelConfig(channels=6)
        assert meta_channel_count("released", config, split) == released  # all classes - N + 1
        assert meta_channel_count("paper", config, split) == 6


def test_the_weights_of_the_losses_are_settings(tiny: ExperimentConfig) -> None:
    for preset in ("paper", "released"):
        losses = losses_of(preset, dataclasses.replace(tiny.meta_channels, inter=0.0, split=0.3, rec=0.2))
        assert (losses.weight_overlap, losses.weight_split, losses.weight_reconstruction) == (0.0, 0.3, 0.2)
        assert losses_of(preset, tiny.meta_channels) == PRESETS[preset]
    assert (PAPER.segmentation, RELEASED.segmentation) == ("channels", "logits")


def test_the_released_system_may_have_a_schedule_of_its_own(tiny: ExperimentConfig) -> None:
    shared = tiny.meta_channels
    own = dataclasses.replace(shared, released_steps=7, released_crop=(32, 40))
    config = dataclasses.replace(tiny, meta_channels=own)
    assert (steps_of("paper", own), steps_of("released", own)) == (shared.steps, 7)
    assert (crop_of("paper", config), crop_of("released", config)) == (tiny.closed_set.crop, (32, 40))
    assert steps_of("released", shared) == shared.steps and crop_of("released", tiny) == tiny.closed_set.crop


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_x_is_what_the_network_sees_or_as_released_imagenets(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def noted(logits: torch.Tensor, raw: torch.Tensor, pixels: torch.Tensor, *_: object) -> torch.Tensor:
        seen.append(pixels)
        return raw.sum()

    monkeypatch.setattr("ignota.training.branch_run.branch_loss", noted)
    network = starting_branch(SmpSegmenter(SPEC), 2, 0.01, 0, preset)
    image = torch.full((2, 32, 48, 3), 255, dtype=torch.uint8)
    BranchStage(network, MetaChannelConfig(), preset, seed=0).training_step((image, labels(2, 32, 48)), 0)
    white = (1 - 0.485) / 0.229 if preset == "released" else (1 - 0.5) / 0.5
    torch.testing.assert_close(seen[0][:, 0], torch.full((2, 32, 48), white))


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_a_step_trains_the_copy_and_leaves_the_closed_set_alone(preset: str) -> None:
    closed = SmpSegmenter(SPEC).eval().requires_grad_(False)
    before = copy.deepcopy(closed.state_dict())
    network = starting_branch(closed, 2, 0.01, seed=0)
    stage = BranchStage(network, MetaChannelConfig(), preset, seed=0)
    slow, fast = stage.parameter_groups()
    listed = [id(p) for group in (slow, fast) for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in network.parameters())
    assert (slow["lr"], fast["lr"]) == (0.01, 0.1)
    decoder = next(network.segmenter.decoder.parameters())
    assert any(p is decoder for p in slow["params"]) == (preset == "paper")  # F is all below the label predictor
    optimiser = torch.optim.SGD([slow, fast], lr=0.1)
    image = torch.randint(0, 256, (2, 32, 48, 3), generator=torch.Generator().manual_seed(0)).byte()
    assert all(module.training for module in network.modules())
    stage.training_step((image, labels(2, 32, 48)), 0)["loss"].backward()
    optimiser.step()
    assert all(torch.equal(value, before[name]) for name, value in closed.state_dict().items())
    means = [name for name in before if name.endswith("running_mean")]
    after = network.segmenter.state_dict()
    assert means and not any(torch.equal(after[name], before[name]) for name in means)
    moved = [name for name, value in network.segmenter.named_parameters() if not torch.equal(value, before[name])]
    assert any(name.startswith("encoder") for name in moved) and any(name.startswith("classifier") for name in moved)
    assert {m.momentum for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.01}


def test_connected_regions_are_means_over_connected_parts_of_a_class() -> None:
    features, label = draw(1, 4, 6, 8), torch.full((1, 6, 8), 255).byte()
    label[0, :2, :3], label[0, 4:, :3], label[0, :, 6:] = 1, 1, 2
    vectors, owner = connected_regions(features, label, 0.0)
    grid = features[0].flatten(1).T.reshape(6, 8, 4)
    parts = [(1, grid[:2, :3]), (1, grid[4:, :3]), (2, grid[:, 6:])]
    found = list(zip(owner.tolist(), vectors, strict=True))
    assert len(found) == 3
    for name, part in parts:
        mean = part.reshape(-1, 4).mean(0)
        assert any(name == o and np.allclose(v, mean, atol=1e-5) for o, v in found)
    nothing = connected_regions(features, torch.full((1, 6, 8), 255).byte(), 0.0)
    assert nothing[0].shape == (0, 4) and nothing[1].shape == (0,)


def test_dropped_classes_are_means_over_whole_classes_under_dropblock() -> None:
    features, label = draw(2, 4, 6, 8), labels(2, 12, 16)
    vectors, owner = dropped_classes(features, label, 3, 3, 0.3, [torch.Generator().manual_seed(7)] * 2)
    generator, at = torch.Generator().manual_seed(7), 0
    for image in range(2):
        grid = F.interpolate(label[image][None, None].float(), size=(6, 8), mode="nearest")[0, 0]
        present = [c for c in range(3) if (grid == c).any()]
        masks = torch.stack([grid == c for c in present for _ in range(3)])
        for mask, c in zip(drop_block(masks, 3, 0.3, generator), [c for c in present for _ in range(3)], strict=True):
            torch.testing.assert_close(vectors[at], features[image][:, mask].mean(1))
            assert owner[at] == c
            at += 1
    assert at == len(owner)
