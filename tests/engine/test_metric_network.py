"""DMLNet's network: its loss, where it starts, exact resuming, and the methods and scores that run on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ignota.data.synthetic.streets import SyntheticStreets
from ignota.engine.configuration import ExperimentConfig
from ignota.engine.metric_network_run import (
    metric_loss,
    starting_network,
    train_metric_network,
)
from ignota.engine.records import StageFolder
from ignota.functional.one_hot_metric import metric_logits
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.world import bundle
from ignota.world.metric_network import MetricNetwork
from ignota.world.model import OpenWorldModel
from ignota.world.networks import Networks

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


@pytest.fixture(scope="module")
def config(tiny: ExperimentConfig) -> ExperimentConfig:
    """Eight steps with a checkpoint after every third."""
    own = dataclasses.replace(tiny.metric_network, steps=8, rate=1.0)
    return dataclasses.replace(
        tiny, closed_set=dataclasses.replace(tiny.closed_set, checkpoint_every=3), metric_network=own
    )


@pytest.fixture(scope="module")
def samples(config: ExperimentConfig) -> SyntheticStreets:
    data = config.data
    return SyntheticStreets("train", data.train_length, (data.height, data.width), 0)


@pytest.fixture(scope="module")
def network(
    config: ExperimentConfig,
    samples: SyntheticStreets,
    world: OpenWorldModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> MetricNetwork:
    """Fine-tuned from the tiny world's closed set."""
    folder = StageFolder(tmp_path_factory.mktemp("dmlnet"), "a")
    trained = train_metric_network(config, samples, folder, CPU, True, world.networks.segmenter)
    return MetricNetwork(Networks(trained, None, {}, config.size, ("decoder",), CPU))


def same(one: ClosedSetSegmenter, other: ClosedSetSegmenter) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("variance", [0.0, 0.01, 1.0])
def test_the_loss_equals_the_loops(variance: float) -> None:
    f, labels = draw(2, 3, 4, 5).float(), torch.tensor([0, 1, 2, 255]).repeat(10).view(2, 4, 5).byte()
    entropy = spread = count = 0.0
    for b, y, x in ((b, y, x) for b in range(2) for y in range(4) for x in range(5)):
        if (c := int(labels[b, y, x])) != 255:
            row = f[b, :, y, x].double()
            scores = torch.stack([-(row - 3 * torch.eye(3)[k]).square().sum() for k in range(3)])
            entropy += float(scores.logsumexp(0) - scores[c])
            spread, count = spread - float(scores[c]), count + 1
    assert float(metric_loss(f, labels, variance)) == pytest.approx(entropy / count + variance * spread / 40, rel=1e-5)


def test_the_loss_is_taken_at_the_size_of_the_labels_and_needs_no_labelled_pixel() -> None:
    f = draw(1, 3, 2, 3).float().requires_grad_()
    labels = torch.zeros(1, 4, 6, dtype=torch.uint8)
    large = torch.nn.functional.interpolate(f, size=(4, 6), mode="bilinear")
    torch.testing.assert_close(metric_loss(f, labels, 0.5), metric_loss(large, labels, 0.5))
    void = metric_loss(f, torch.full_like(labels, 255), 0.5)
    void.backward()
    assert void.item() == 0 and f.grad is not None and not f.grad.any()


def test_it_starts_where_the_closed_set_stands(world: OpenWorldModel) -> None:
    closed = world.networks.segmenter
    started = starting_network(closed)
    assert started.training and all(parameter.requires_grad for parameter in started.parameters())
    images = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        f, logits = started.eval()(images).logits, closed(images).logits
    torch.testing.assert_close(metric_logits(f, dim=1).softmax(1), logits.softmax(1), rtol=1e-4, atol=1e-6)


def test_training_lowers_the_loss_and_leaves_the_closed_set_alone(
    config: ExperimentConfig, samples: SyntheticStreets, world: OpenWorldModel, network: MetricNetwork
) -> None:
    before, after = starting_network(world.networks.segmenter).eval(), network.networks.segmenter
    assert not after.training and not any(parameter.requires_grad for parameter in after.parameters())
    again = bundle.load(world_path := Path(world.store.path).parent) if hasattr(world.store, "path") else world
    assert same(world.networks.segmenter, again.networks.segmenter), world_path
    lut = SPLIT_LUT(config)
    losses = []
    for found in (before, after):
        total = 0.0
        for i in range(4):
            sample = samples[i]
            image = torch.from_numpy(sample.image).permute(2, 0, 1)[None] / 255
            with torch.no_grad():
                f = found((image - 0.5) / 0.5).logits
            total += float(metric_loss(f, torch.from_numpy(lut[sample.label])[None], 0.01))
        losses.append(total)
    assert losses[1] < losses[0]


def SPLIT_LUT(config: ExperimentConfig) -> np.ndarray:
    from ignota.taxonomy import ClassSplit

    return ClassSplit.parse(config.data.split).training_lut()
