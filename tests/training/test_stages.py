"""The four stages in order: what is resumed, what is trained again, and what the numbers of `fit` mean."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ignota.data.drawn import DrawnImages
from ignota.perception.reading import joined_parts, own_score, read_regions
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX
from ignota.training import stage_run
from ignota.training.configuration import EmbedderConfig, ExperimentConfig
from ignota.training.embedder_run import RegionRows, concatenate_rows
from ignota.training.experiment import train_experiment
from ignota.training.fitting import class_means, split_images
from ignota.training.stages import Stages, embedder_variants
from ignota.training.weighing import TRUSTED, least_trust, merit

CPU = torch.device("cpu")
ALL = [
    "closed_set", "embedder_paper", "embedder_released", "meta_channels_paper", "meta_channels_released",
    "region_embedder_paper", "region_embedder_released",
]  # fmt: skip


def finished_stages(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in (folder / "stages").glob("*/stage.json"))


@pytest.fixture(scope="module")
def drawn(tiny: ExperimentConfig) -> DrawnImages:
    data = tiny.data
    return DrawnImages("train", data.train_length, (data.height, data.width), 0)


@pytest.fixture(scope="module")
def fresh(tiny: ExperimentConfig, drawn: DrawnImages, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """The tiny experiment, trained in this very process."""
    stages = Stages(tiny, drawn, tmp_path_factory.mktemp("stages"), CPU, quiet=True)
    assert stages.world().classes.names[0] == "road"
    return stages


@pytest.fixture(scope="module")
def folder(fresh: Stages) -> Path:
    """All stages of the tiny experiment, trained once."""
    return fresh.folder


@pytest.fixture
def trained_stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Titles of the stages that train from now on."""
    seen: list[str] = []

    def watched(run: Callable[..., None]) -> Callable[..., None]:
        def stage(module: object, loader: object, path: Path, *rest: object) -> None:
            seen.append(path.name)
            run(module, loader, path, *rest)

        return stage

    monkeypatch.setattr(stage_run, "run_stage", watched(stage_run.run_stage))
    return seen


def test_a_second_run_trains_nothing_and_makes_the_same_world(
    tiny: ExperimentConfig, drawn: DrawnImages, fresh: Stages, folder: Path, trained_stages: list[str]
) -> None:
    assert finished_stages(folder) == ALL
    one, two = fresh.world(), Stages(tiny, drawn, folder, CPU, quiet=True).world()
    assert trained_stages == []
    layouts = [[value.stride() for value in world.networks.segmenter.state_dict().values()] for world in (one, two)]
    assert layouts[0] == layouts[1]  # another memory layout rounds differently
    assert one.known.recipe == two.known.recipe
    for (name, a), (_, b) in zip(one.known.tensors(), two.known.tensors(), strict=True):
        assert torch.equal(a, b), name


def test_another_embedder_leaves_the_closed_set_alone(
    tiny: ExperimentConfig, drawn: DrawnImages, folder: Path, trained_stages: list[str]
) -> None:
    closed = (folder / "stages" / "closed_set" / "weights.safetensors").read_bytes()
    changed = dataclasses.replace(tiny, embedder=dataclasses.replace(tiny.embedder, steps=3))
    assert len(Stages(changed, drawn, folder, CPU, quiet=True).spaces) == 2
    assert {name.partition("_")[0] for name in trained_stages} == {"embedder"}
    assert (folder / "stages" / "closed_set" / "weights.safetensors").read_bytes() == closed


def test_the_threshold_is_exceeded_by_the_target_share_of_held_out_pixels(
    tiny: ExperimentConfig, drawn: DrawnImages, folder: Path
) -> None:
    stages = Stages(tiny, drawn, folder, CPU, quiet=True)
    world = stages.world()
    _, held_out = split_images(stages.images, tiny.fit.held_out)
    above = []
    for i in held_out:
        encoding = world.encode(drawn[i].image)
        label = stages.split.training_lut()[drawn[i].label]
        assert label.shape == encoding.image.shape[:2]
        score = own_score(encoding, world.known, read_regions(encoding, world.known)).numpy()
        above.append(score[label != IGNORE_INDEX] > world.known.recipe.threshold)
    # a sample of the pixels of each image set the threshold
    assert float(np.concatenate(above).mean()) == pytest.approx(tiny.fit.target_fpr, abs=0.02)


def test_for_other_cameras_the_threshold_stands_on_distorted_pictures(
    tiny: ExperimentConfig, drawn: DrawnImages, folder: Path
) -> None:
    plain = Stages(tiny, drawn, folder, CPU, quiet=True).known.recipe
    changed = dataclasses.replace(
        tiny, fit=dataclasses.replace(tiny.fit, distort=1.0, weights=plain.weights, trusted=plain.trusted)
    )
    stages = Stages(changed, drawn, folder, CPU, quiet=True)
    recipe = stages.known.recipe
    assert (recipe.centre, recipe.spread, recipe.weights) == (plain.centre, plain.spread, plain.weights)
    _, held_out = split_images(stages.images, tiny.fit.held_out)
    trials = [stages.reader.read({0.0: stages.known}, i)[0.0][1] for i in held_out]
    known = np.concatenate([joined_parts(trial.parts, stages.known).numpy()[~trial.unknown] for trial in trials])
    assert float((known > recipe.threshold).mean()) == pytest.approx(tiny.fit.target_fpr, abs=0.01)
    assert recipe.threshold != plain.threshold


def test_the_share_that_vouches_is_the_smallest_with_about_the_best_merit(
    tiny: ExperimentConfig, drawn: DrawnImages, folder: Path
) -> None:
    stages = Stages(tiny, drawn, folder, CPU, quiet=True)
    chosen = stages.known.recipe.trusted
    assert set(stages.trusted) == set(TRUSTED)
    assert chosen == least_trust(stages.trusted) and stages.trusted[chosen] > 0
    assert max(map(merit, stages.weights.values())) == stages.trusted[chosen]
    given = next(share for share in TRUSTED if share != chosen)
    set_to = dataclasses.replace(tiny, fit=dataclasses.replace(tiny.fit, trusted=given))
    forced = Stages(set_to, drawn, folder, CPU, quiet=True)
    assert forced.known.recipe.trusted == given
    assert forced.trusted == {given: stages.trusted[given]}  # candidates do not disturb each other


def test_embedders_as_printed_and_as_released() -> None:
    own = EmbedderConfig(hidden=17)
    found = embedder_variants(own)
    paper, released = found["paper"], found["released"]
    assert (paper.taps, paper.self_paced, paper.classification, paper.circle) == (("decoder",), False, 0.0, 1.0)
    assert (released.taps, released.self_paced, released.circle) == (("decoder",), True, 0.1)
    assert paper.hidden == released.hidden == 17


@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_last_images_are_held_out(count: int, share: float) -> None:
    kept, held_out = split_images(range(count), share)
    assert kept and held_out
    if count > 1:
        assert kept + held_out == list(range(count))


def rows() -> RegionRows:
    """Five regions of three images; the third image is held out."""
    pooled = torch.arange(10.0).view(5, 2)
    image, source = torch.tensor([0, 0, 1, 2, 1]), torch.tensor([0, 0, 0, 0, 1])
    area = torch.tensor([0.1, 0.3, 0.2, 0.9, 0.9])
    return RegionRows({"decoder": pooled}, torch.tensor([0, 1, 0, 0, 1]), torch.ones(5), area, image, source)


def test_class_means_weigh_label_regions_by_their_area() -> None:
    found = class_means(rows(), {2}, 3)
    first = (0.1 * torch.tensor([0.0, 1.0]) + 0.2 * torch.tensor([4.0, 5.0])) / 0.3
    torch.testing.assert_close(found, torch.stack([first, torch.tensor([2.0, 3.0]), torch.zeros(2)]))


def test_rows_are_joined_and_picked_alike() -> None:
    double = concatenate_rows([rows(), rows()])
    assert len(double) == 10
    picked = double.where(double.image == 1)
    assert picked.label.tolist() == [0, 1, 0, 1]
    assert picked.pooled["decoder"].tolist() == [[4, 5], [8, 9], [4, 5], [8, 9]]


def test_one_hot_centres_are_the_prototypes(
    tiny: ExperimentConfig, drawn: DrawnImages, folder: Path, tmp_path: Path
) -> None:
    embedder = dataclasses.replace(tiny.embedder, one_hot=True, steps=300, batch=64, hidden=64, lr=0.02)
    changed = dataclasses.replace(tiny, embedder=embedder)
    place = Path(shutil.copytree(folder, tmp_path / "stages"))
    stages = Stages(changed, drawn, place, CPU, quiet=True)
    space, classes = stages.spaces["paper"], len(stages.split.known)
    assert torch.equal(space.prototypes, torch.eye(classes))
    kept = stages.rows.where(stages.rows.source == 0)
    embeddings = space.embed(kept.pooled)
    assert embeddings.shape == (len(kept), classes)
    assert (embeddings.argmax(1) == kept.label).float().mean() > 0.5  # each class lies along its own axis


def test_networks_that_do_not_exist_are_told_before_training(tiny: ExperimentConfig, tmp_path: Path) -> None:
    for told, change in {
        "no features at stride 64": {"taps": ("decoder", "frozen/64")},
        "did you mean 'resnet18'": {"frozen_encoder": "resnet81"},
        "only `full` could": {"taps": ("decoder", "objectness/block8")},
    }.items():
        config = dataclasses.replace(tiny, fit=dataclasses.replace(tiny.fit, **change))  # type: ignore[arg-type]
        with pytest.raises(InputError, match=told):
            train_experiment(config, tmp_path / "run", None, CPU, quiet=True)
        assert not (tmp_path / "run").exists()
