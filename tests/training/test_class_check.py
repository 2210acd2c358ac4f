"""Whether a segmenter knows its classes, and what is wrong where it does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ignota.data.images import read_image
from ignota.models.tapped import TappedModule
from ignota.structures import InputError, Preprocessing, Sample
from ignota.taxonomy import ClassLabel, ClassSplit, Taxonomy
from ignota.training.class_check import ClassCheck, check_classes

COLOURS = np.array([(0, 0, 0), (250, 20, 20), (20, 250, 20), (20, 20, 250)], np.uint8)
TAXONOMY = Taxonomy("blocks", tuple(ClassLabel(i, f"class {i}", (60 * i, 9, 9)) for i in range(4)))
EVERY = ClassSplit(TAXONOMY, (0, 1, 2, 3))
CPU = torch.device("cpu")
PLAIN = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Blocks:
    """Pictures whose classes are colours; black is the most frequent one."""

    name, taxonomy, split = "blocks", TAXONOMY, "train"

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        label = np.kron(rng.choice(4, (4, 8), p=[0.4, 0.2, 0.2, 0.2]), np.ones((16, 16))).astype(np.uint8)
        label[:3] = 255
        return Sample(f"{index}", COLOURS[np.where(label == 255, 0, label)], label)


class Colours(nn.Module):
    """The negative squared distance to each colour, in the order of `order`."""

    def __init__(self, order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(3, 4, 1)
        colours = torch.from_numpy(COLOURS[list(order)]).float() / 255
        self.classifier.weight.data = 2 * colours[:, :, None, None]
        self.classifier.bias.data = -(colours**2).sum(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images)


def checked(
    network: nn.Module, picture: Path, split: ClassSplit = EVERY, preprocessing: Preprocessing = PLAIN
) -> ClassCheck:
    segmenter = TappedModule(network, classifier="classifier", multiple=1, preprocessing=preprocessing)
    return check_classes(segmenter, split, Blocks(), 64, CPU, picture)  # type: ignore[arg-type]


def refused(*given: object) -> InputError:
    with pytest.raises(InputError) as caught:
        checked(*given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_segmenter_that_knows_its_classes(tmp_path: Path) -> None:
    found = checked(Colours(), tmp_path / "seen.jpg")
    assert found.miou == pytest.approx(1.0) and found.images == 20
    labels = np.concatenate([Blocks()[i].label[3:].ravel() for i in np.linspace(0, 29, 20).round().astype(int)])  # type: ignore[index]
    share = float((labels == 0).mean())
    assert found.usual == pytest.approx(share / 4) and found.bar == pytest.approx(share / 2)
    assert str(found) == (
        f"100.0 mIoU on 20 images of blocks (the most frequent class everywhere: {100 * share / 4:.1f}); "
        f"picture: {tmp_path / 'seen.jpg'}"
    )
    height, width = read_image(tmp_path / "seen.jpg").shape[:2]
    assert (height, width) == (4 * 64, 3 * 128)  # four images beside labels and prediction


def test_permuted_classes_are_told_with_their_order(tmp_path: Path) -> None:
    error = refused(Colours((2, 0, 3, 1)), tmp_path / "seen.jpg")
    assert (
        "classes permuted? 4 outputs fit others, the first is 0: 'class 2' rather than 'class 0' (100.0 mIoU)"
        in str(error)
    )
    assert error.command_line.endswith(": say --classes 'class 2,class 0,class 3,class 1'")
    assert (tmp_path / "seen.jpg").is_file()
    split = ClassSplit.of_names(TAXONOMY, ["Class 2", "class_0", "class-3", "class 1"])
    assert checked(Colours((2, 0, 3, 1)), tmp_path / "seen.jpg", split).miou == pytest.approx(1.0)


def test_another_preprocessing_that_would_do(tmp_path: Path) -> None:
    bright = Preprocessing((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))

    class Bytes(Colours):
        def forward(self, images: Tensor) -> Tensor:
            return self.classifier((images - 100).sign().relu())

    error = refused(Bytes(), tmp_path / "seen.jpg", EVERY, Preprocessing())
    assert "preprocessing? with mean 0,0,0 and std 0.003922,0.003922,0.003922 it gets 100.0" in str(error)
    assert error.command_line.endswith("say --mean 0,0,0 --std 0.003922,0.003922,0.003922")
    assert checked(Bytes(), tmp_path / "seen.jpg", EVERY, bright).miou == pytest.approx(1.0)


def test_weights_that_were_never_trained(tmp_path: Path) -> None:
    network = Colours()
    network.classifier.weight.data.zero_()
    network.classifier.bias.data = torch.tensor([0.0, 0.0, 1.0, 0.0])
    error = refused(network, tmp_path / "seen.jpg")
    assert "preprocessing (mean, std, size)? or weights that were never trained" in str(error)


def test_no_image_shows_a_known_class(tmp_path: Path) -> None:
    more = ClassSplit.of_names(TAXONOMY, [f"other {i}" for i in range(4)])
    assert "none of 20 images of blocks shows a class" in str(refused(Colours(), tmp_path / "seen.jpg", more))


def test_the_bar_can_be_passed_with_few_classes() -> None:
    two = ClassCheck("x", 1, ("a", "b"), torch.tensor([[90, 0, 0], [0, 10, 0]]), Path("x"))
    assert two.usual == pytest.approx(0.45) and two.bar == pytest.approx(0.725)
    assert dataclasses.replace(two, confusion=torch.tensor([[100, 0, 0], [0, 0, 0]])).bar == pytest.approx(1.0)
