"""DMLNet's network: its loss, where it starts, exact resuming, and the methods and scores that run on it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ignota.data.datasets import open_dataset
from ignota.evaluation.evaluation import evaluate_anomaly
from ignota.evaluation.incremental_evaluation import evaluate_incremental
from ignota.functional.one_hot_metric import eds, metric_logits, mixed, mmsp
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.perception.branch import METRIC_METHODS, Branches, MetricNetwork
from ignota.perception.networks import Networks
from ignota.scores.dml import METRIC_SCORES
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.synthetic.streets import SyntheticStreets
from ignota.taxonomy import ClassSplit
from ignota.training.configuration import ExperimentConfig
from ignota.training.segmenters import (
    MetricNetworkStage,
    metric_loss,
    metric_stage,
    starting_network,
    train_metric_network,
)
from ignota.training.stage_run import StageFolder, StageRun
from ignota.training.training import normalise_images
from ignota.world.model import OpenWorldModel

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


@pytest.fixture(scope="module")
def config(tiny: ExperimentConfig) -> ExperimentConfig:
    """Eight steps with a checkpoint after every third."""
    own = dataclasses.replace(tiny.metric_network, steps=8, rate=0.1)
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
    trained = train_metric_network(config, samples, StageRun(folder, CPU, config.seed, True), world.networks.segmenter)
    return MetricNetwork(Networks(trained, None, config.size, ("decoder",), CPU))


def holding(world: OpenWorldModel, network: MetricNetwork | None) -> OpenWorldModel:
    """The world with the branch `dmlnet`, or without one."""
    makers = {} if network is None else {"dmlnet": lambda _: network}
    return dataclasses.replace(world, branches=Branches(makers))


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


def mean_loss(network: ClosedSetSegmenter, config: ExperimentConfig, samples: SyntheticStreets) -> float:
    """Over all training images, as they are."""
    lut, found = ClassSplit.parse(config.data.split).training_lut(), []
    for i in range(len(samples)):
        sample = samples[i]
        images = torch.from_numpy(sample.image)[None]
        with torch.no_grad():
            f = network(normalise_images(images, network.preprocessing.mean, network.preprocessing.std)).logits
        found.append(float(metric_loss(f, torch.from_numpy(lut[sample.label])[None], 0.01)))
    return float(np.mean(found))


def test_training_lowers_the_loss_and_leaves_the_closed_set_alone(
    config: ExperimentConfig, samples: SyntheticStreets, world: OpenWorldModel, network: MetricNetwork, trained: Path
) -> None:
    before, after = starting_network(world.networks.segmenter).eval(), network.networks.segmenter
    assert not after.training and not any(parameter.requires_grad for parameter in after.parameters())
    assert same(world.networks.segmenter, bundle.load(trained).networks.segmenter)
    assert mean_loss(after, config, samples) < mean_loss(before, config, samples)


@pytest.mark.parametrize("fine_tuned", [True, False])
def test_a_training_that_was_killed_ends_with_the_same_bits(
    config: ExperimentConfig,
    samples: SyntheticStreets,
    world: OpenWorldModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fine_tuned: bool,
) -> None:
    if not fine_tuned:
        config = dataclasses.replace(config, closed_set=dataclasses.replace(config.closed_set, steps=8))
    start = world.networks.segmenter if fine_tuned else None

    def train(folder: str) -> ClosedSetSegmenter:
        run = StageRun(StageFolder(tmp_path / folder, "a"), CPU, config.seed, True)
        return train_metric_network(config, samples, run, start)

    whole, step = train("whole"), MetricNetworkStage.training_step

    def killed(stage: MetricNetworkStage, batch: tuple[Tensor, Tensor], number: int) -> dict[str, Any]:
        if stage.global_step == 5:
            raise RuntimeError("killed")
        return step(stage, batch, number)

    with monkeypatch.context() as context, pytest.raises(RuntimeError, match="killed"):
        context.setattr(MetricNetworkStage, "training_step", killed)
        train("killed")
    assert (tmp_path / "killed" / "last.ckpt").exists()
    assert same(train("killed"), whole)
    monkeypatch.setattr(MetricNetworkStage, "training_step", None)
    assert same(train("killed"), whole)  # read back, not trained
    assert not same(whole, starting_network(world.networks.segmenter))


def test_fine_tuning_is_shorter_and_slower(tiny: ExperimentConfig) -> None:
    tuned, scratch = metric_stage(tiny, True), metric_stage(tiny, False)
    assert scratch == tiny.closed_set
    assert tuned.steps == tiny.metric_network.steps
    assert (tuned.encoder_lr, tuned.head_lr) == pytest.approx((0.1 * scratch.encoder_lr, 0.1 * scratch.head_lr))


def test_every_method_runs_on_it(network: MetricNetwork, world: OpenWorldModel, streets: Path) -> None:
    val, train = (open_dataset("cityscapes", streets, split) for split in ("val", "train"))
    seen: list[dict[str, np.ndarray]] = []
    methods = ("npm_frozen", *METRIC_METHODS)
    found = evaluate_incremental(
        holding(world, network), val, train, methods, 2, lambda _, result: seen.append(result["maps"])
    )
    assert set(found["methods"]) == set(methods)
    known, novel = len(world.taxonomy), 3
    learnt = set()
    for name in METRIC_METHODS:
        assert 0 <= found["methods"][name]["miou"]["novel"] <= 1, name
        values = set(np.unique([one[name] for one in seen]))
        assert values <= set(range(known + novel)), name
        learnt |= {name} if values & set(range(known, known + novel)) else set()
    assert learnt >= {"npm", "ft"}  # four steps of training teach the rest little that is sure
    json.dumps(found, allow_nan=False)


def test_the_closed_set_s_answer_does_not_depend_on_it(
    network: MetricNetwork, world: OpenWorldModel, streets: Path
) -> None:
    val, train = (open_dataset("cityscapes", streets, split) for split in ("val", "train"))
    seen: list[np.ndarray] = []
    for methods, metric in ((("npm_frozen",), None), (("npm_frozen", "npm"), network)):
        evaluate_incremental(
            holding(world, metric), val, train, methods, 1, lambda _, result: seen.append(result["maps"]["closed"])
        )
    assert len(seen) == 4
    np.testing.assert_array_equal(seen[:2], seen[2:])


def test_scores_are_read_at_full_resolution(network: MetricNetwork, samples: SyntheticStreets) -> None:
    image = samples[0].image
    reading = network.encode(image)
    found = {name: network.score(reading, name) for name in METRIC_SCORES}
    with torch.no_grad():
        encoding = network.networks.encode(image)
    f = torch.nn.functional.interpolate(encoding.logits[None], size=image.shape[:2], mode="bilinear")[0]
    rows = metric_logits(f.flatten(1).T)
    for name, function in (("dml", mixed), ("dml_eds", eds), ("dml_mmsp", mmsp)):
        torch.testing.assert_close(found[name].flatten(), function(rows))
    assert (float(found["dml_eds"].min()), float(found["dml_eds"].max())) == (0, 1)


def test_its_scores_stand_beside_those_of_the_world(
    network: MetricNetwork, world: OpenWorldModel, streets: Path
) -> None:
    val = open_dataset("cityscapes", streets, "val")
    found = evaluate_anomaly(holding(world, network), val, ("dml", "max_logit", "dml_eds")).figures
    assert list(found["scores"]) == ["dml", "max_logit", "dml_eds"]
    alone = evaluate_anomaly(world, val, ("max_logit",)).figures
    assert found["scores"]["max_logit"] == alone["scores"]["max_logit"]
    assert found["edges"] == {"alpha": world.known.recipe.alpha, "beta": world.known.recipe.beta}


def test_without_the_branch_one_line_says_how_to_get_it(world: OpenWorldModel, streets: Path) -> None:
    val, train = (open_dataset("cityscapes", streets, split) for split in ("val", "train"))
    for name in METRIC_METHODS:
        with pytest.raises(InputError, match=f"'{name}' runs on the branch `dmlnet`.*`ignota fit .*{name}_frozen$"):
            evaluate_incremental(world, val, train, ("raml", name), 1)
    for name in METRIC_SCORES:
        with pytest.raises(InputError, match=f"'{name}' runs on the branch `dmlnet`.*`ignota fit .*{name}_frozen$"):
            evaluate_anomaly(world, val, ("max_logit", name))
