"""The gradient stages: Equation 1, the schedule, what learns and what stays, checkpoints."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec
from ignota.structures import InputError
from ignota.training.configuration import ClosedSetConfig
from ignota.training.segmenters import ClosedSetStage, dice_loss, segmentation_loss
from ignota.training.stream import StepSampler
from ignota.training.training import Stage, WholeCheckpoints, normalise_images, poly_schedule, precision_of, run_stage


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cross_entropy_equals_the_loops() -> None:
    logits, labels = draw(2, 3, 4, 5), torch.tensor([0, 1, 2, 255]).repeat(10).view(2, 4, 5)
    total, count = 0.0, 0
    for b, y, x in ((b, y, x) for b in range(2) for y in range(4) for x in range(5)):
        if (c := int(labels[b, y, x])) != 255:
            row = logits[b, :, y, x].tolist()
            total, count = total + math.log(sum(math.exp(u) for u in row)) - row[c], count + 1
    assert segmentation_loss(logits, labels.byte()).item() == pytest.approx(total / count, rel=1e-6)


def test_dice_equals_the_loops() -> None:
    logits, labels = draw(2, 4, 4, 5), torch.tensor([0, 1, 2, 255]).repeat(10).view(2, 4, 5)
    both, either = [0.0] * 4, [0.0] * 4
    for b, y, x in ((b, y, x) for b in range(2) for y in range(4) for x in range(5)):
        if (c := int(labels[b, y, x])) != 255:
            row = [math.exp(u) for u in logits[b, :, y, x].tolist()]
            for k in range(4):
                share, true = row[k] / sum(row), float(k == c)
                both[k], either[k] = both[k] + share * true, either[k] + share + true
    terms = [1 - (both[k] + 1) / (either[k] / 2 + 1) for k in range(3)] + [0.0]  # no pixel has the last class
    assert dice_loss(logits, labels.byte()).item() == pytest.approx(sum(terms) / 4, rel=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dice_is_that_of_segmentation_models_to_the_last_bit(layout: torch.memory_format) -> None:
    oracle = smp.losses.DiceLoss("multiclass", ignore_index=255, smooth=1.0)
    logits = (3 * draw(3, 5, 12, 10)).float().to(memory_format=layout).requires_grad_()
    labels = torch.randint(0, 4, (3, 12, 10), generator=torch.Generator().manual_seed(1))
    labels[labels == 2] = 255
    ours, theirs = dice_loss(logits, labels.byte()), oracle(logits, labels)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)))


def test_dice_without_a_labelled_pixel_is_zero_with_a_graph() -> None:
    logits = draw(1, 3, 2, 2).requires_grad_()
    loss = dice_loss(logits, torch.full((1, 2, 2), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_step_of_the_closed_set_adds_dice_by_its_weight(weight: float) -> None:
    torch.manual_seed(0)
    segmenter = SmpSegmenter(SmpSpec(3, decoder_channels=16)).eval()
    stage = ClosedSetStage(segmenter, ClosedSetConfig(dice=weight), seed=0)
    images = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    labels = torch.randint(0, 3, (2, 32, 48), dtype=torch.uint8)
    found = stage.training_step((images, labels), 0)["loss"]
    normal = normalise_images(images, segmenter.preprocessing.mean, segmenter.preprocessing.std)
    logits = segmenter(normal).logits
    torch.testing.assert_close(found, segmentation_loss(logits, labels) + weight * dice_loss(logits, labels))


def test_logits_are_resized_to_the_labels() -> None:
    logits, labels = draw(1, 3, 2, 2).float(), torch.ones(1, 8, 8, dtype=torch.uint8)
    wide = torch.nn.functional.interpolate(logits, size=(8, 8), mode="bilinear")
    torch.testing.assert_close(segmentation_loss(logits, labels), segmentation_loss(wide, labels))


def test_no_labelled_pixel_gives_a_zero_with_a_graph() -> None:
    logits = draw(1, 3, 2, 2).requires_grad_()
    loss = segmentation_loss(logits, torch.full((1, 2, 2), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_poly_schedule() -> None:
    factor = poly_schedule(100, 10, 0.9)
    assert factor(0) == pytest.approx(0.1)
    assert factor(4) == pytest.approx(0.5 * (1 - 4 / 100) ** 0.9)
    assert factor(50) == pytest.approx(0.5**0.9)
    assert factor(100) == factor(1000) == 1e-4
    assert poly_schedule(100, 0, 0.9)(0) == 1


def test_images_are_normalised_channels_first() -> None:
    image = torch.tensor([[[[0, 127, 255]]]], dtype=torch.uint8)
    found = normalise_images(image, (0.5, 0.4, 0.3), (0.5, 0.2, 0.1))
    expected = [(0 - 0.5) / 0.5, (127 / 255 - 0.4) / 0.2, (1 - 0.3) / 0.1]
    assert found.flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert found.shape == (1, 3, 1, 1)


def test_encoder_and_heads_learn_at_their_own_rates() -> None:
    segmenter = SmpSegmenter(SmpSpec(3, decoder_channels=16))
    stage = ClosedSetStage(segmenter, ClosedSetConfig(encoder_lr=0.01, head_lr=0.5, weight_decay=0.25), seed=0)
    encoder, heads = stage.parameter_groups()
    assert (encoder["lr"], heads["lr"], heads["weight_decay"], heads["momentum"]) == (0.01, 0.5, 0.25, 0.9)
    listed = [id(p) for group in (encoder, heads) for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in segmenter.parameters())


def test_random_numbers_of_a_step_follow_from_seed_stage_and_step() -> None:
    stage = ClosedSetStage(SmpSegmenter(SmpSpec(3, decoder_channels=16)), ClosedSetConfig(), seed=3)
    stage.on_train_batch_start(None, 0)
    first = torch.rand(4)
    torch.rand(100)
    stage.on_train_batch_start(None, 7)
    assert torch.equal(torch.rand(4), first)
    stage.seed = 4
    stage.on_train_batch_start(None, 0)
    assert not torch.equal(torch.rand(4), first)


def test_checkpoints_are_whole_or_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, path = WholeCheckpoints(), tmp_path / "last.ckpt"
    writer.save_checkpoint({"w": torch.ones(2)}, path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="no space left"):
        writer.save_checkpoint({"w": torch.zeros(2)}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.equal(writer.load_checkpoint(path, weights_only=True)["w"], torch.ones(2))


class Places(torch.utils.data.Dataset[int]):
    """Sample number n is n."""

    def __getitem__(self, number: int) -> int:
        return number


class Recorder(Stage):
    """Notes the samples of each step; `fail` is raised once, at step `at`."""

    def __init__(self, at: int | None = None, fail: BaseException | None = None) -> None:
        super().__init__(0, 1, 6, 1, 0.9)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.at, self.fail, self.seen = at, fail, {}

    def training_step(self, batch: Tensor, _: int) -> dict[str, Any]:
        if self.global_step == self.at and self.fail is not None:
            raise self.fail
        self.seen[self.global_step] = batch.tolist()
        return {"loss": (self.weight * (1 + batch.sum())).sum()}

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.weight], "lr": 0.1, "momentum": 0.9}]


def train(module: Recorder, folder: Path) -> Recorder:
    loader = torch.utils.data.DataLoader(Places(), 2, sampler=StepSampler(2, 2, 6))
    run_stage(module, loader, folder, 3, torch.device("cpu"), [])
    return module


def test_a_resumed_epoch_shows_its_own_samples(tmp_path: Path) -> None:
    whole = train(Recorder(), tmp_path / "whole")
    assert whole.seen == {step: [2 * step, 2 * step + 1] for step in range(6)}
    for at in (1, 3, 5):
        folder = tmp_path / str(at)
        with pytest.raises(RuntimeError, match="killed"):
            train(Recorder(at, RuntimeError("killed")), folder)
        resumed = train(Recorder(), folder)
        assert resumed.seen == {step: whole.seen[step] for step in range(at // 2 * 2, 6)}
        assert torch.equal(resumed.weight, whole.weight)


def test_what_stops_a_stage_keeps_its_kind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Recorder(1, KeyboardInterrupt()), tmp_path)
    told = InputError("Caught InputError in DataLoader worker process 0.\nOriginal Traceback …\nInputError: a is cut\n")
    with pytest.raises(InputError) as caught:
        train(Recorder(1, told), tmp_path)
    assert str(caught.value) == "a is cut"


def test_a_training_that_diverges_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    class Diverging(Recorder):
        def training_step(self, batch: Tensor, number: int) -> dict[str, Any]:
            return {"loss": super().training_step(batch, number)["loss"] * torch.inf}

    class Failing(Diverging):
        def training_step(self, batch: Tensor, number: int) -> dict[str, Any]:
            assert torch.isfinite(self.weight).all() or self.global_step
            if not torch.isfinite(self.weight).all():
                raise RuntimeError("all elements of input should be between 0 and 1")
            return super().training_step(batch, number)

    for kind in (Diverging, Failing):
        with pytest.raises(InputError, match=r"the training of closed_set diverged.*: lower its learning rates"):
            train(kind(), tmp_path / kind.__name__)


def test_the_normalisation_is_copied_to_a_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy at every step would make the processor wait for a GPU each time."""
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    images = torch.randint(0, 256, (1, 4, 4, 3), dtype=torch.uint8)
    first = normalise_images(images, mean, std)
    monkeypatch.setattr(torch, "tensor", None)
    assert torch.equal(normalise_images(images, mean, std), first)
    expected = (images[0, 1, 2] / 255 - torch.as_tensor(mean)) / torch.as_tensor(std)
    assert torch.allclose(first[0, :, 1, 2], expected, atol=1e-5)


def test_without_bfloat16_instructions_it_trains_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert precision_of(torch.device("cpu")) == "32-true"
