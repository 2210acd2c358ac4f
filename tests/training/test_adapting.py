"""Which class each output of somebody's segmenter is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ignota.structures import InputError
from ignota.taxonomy import CAMVID, CITYSCAPES, ClassLabel, ClassSplit, Taxonomy
from ignota.training.adapting import folder_at, known_of, training_images, with_classes, with_taps_of
from ignota.training.configuration import DataConfig, ExperimentConfig, FitConfig
from ignota.training.settings import configuration

OWN = Taxonomy(
    "mine", (ClassLabel(0, "road", (1, 2, 3)), ClassLabel(1, "car", (4, 5, 6)), ClassLabel(2, "tree", (7, 8, 9)))
)


def data(
    taxonomy: Taxonomy, outputs: int, split: str | None = None, own: tuple[str, ...] = (), given: tuple[str, ...] = ()
) -> DataConfig:
    segmenter: Any = SimpleNamespace(num_classes=outputs, class_names=own)
    return with_classes(ExperimentConfig(), taxonomy, split, segmenter, given).data


def test_without_names_the_order_is_the_data_set_s() -> None:
    found = data(CITYSCAPES, 19)
    assert (found.split, found.classes, found.labels) == ("cityscapes", (), ())
    found = data(CITYSCAPES, 16, "cityscapes:16+3", tuple(f"LABEL_{i}" for i in range(16)))
    assert found.split == "cityscapes:16+3" and not found.classes
    with pytest.raises(
        InputError, match="the segmenter has 16 classes, cityscapes 19 known ones: give split= or classes="
    ):
        data(CITYSCAPES, 16)


def test_names_are_matched() -> None:
    names = ("Traffic_Light", "road", "sea")
    found = data(CITYSCAPES, 3, None, names)
    assert found.classes == ("traffic light", "road", "sea")
    split = found.class_split
    assert split.known_taxonomy.names == found.classes and len(split.novel) == 17
    lut = split.training_lut()
    assert (lut[6], lut[0], lut[19], lut[13]) == (0, 1, 2, 255)
    same = data(CAMVID, 11, None, CAMVID.names)
    assert same.classes == () and same.class_split == ClassSplit.parse("camvid")


def test_given_names_come_before_those_of_the_files() -> None:
    assert data(CAMVID, 2, None, ("x", "y"), ("car", "sky")).classes == ("car", "sky")
    for given, words in ((("car",), "names 1 classes, the segmenter has 2"), (("car", "Car"), "stands twice")):
        with pytest.raises(InputError, match=words):
            data(CAMVID, 2, None, (), given)
    with pytest.raises(InputError, match=r"none of the segmenter's classes \(x, y\) is one of camvid \(sky, building"):
        data(CAMVID, 2, None, ("x", "y"))
    with pytest.raises(InputError, match="knows 'car', which camvid:8"):
        data(CAMVID, 2, "camvid:8+3", ("sky", "car"))
    with pytest.raises(InputError, match="is of camvid, the data set of cityscapes"):
        known_of(CITYSCAPES, "camvid:8+3")


def test_a_data_set_of_one_s_own() -> None:
    found = data(OWN, 3)
    assert (found.split, found.labels, found.classes) == ("mine", ("road", "car", "tree"), ())
    assert configuration({"data.split": "mine", "data.labels": OWN.names}).data.class_split.known == (0, 1, 2)
    turned = data(OWN, 2, None, ("tree", "road"))
    assert turned.class_split.known == (2, 0) and turned.class_split.novel == (1,)


def test_a_flat_folder_is_all_training(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / folder / "a.png")
    assert folder_at(tmp_path) is None and folder_at(None) is None
    (tmp_path / "classes.yaml").write_text("classes: [road, car]")
    assert folder_at(tmp_path) == "folder"
    assert training_images("folder", tmp_path).split == "all"
    with pytest.raises(InputError, match="no cityscapes in"):
        training_images("cityscapes", tmp_path)
    assert known_of(training_images("folder", tmp_path).taxonomy, None) == 2  # type: ignore[arg-type]


def test_taps_that_the_segmenter_lacks() -> None:
    segmenter: Any = SimpleNamespace(taps={"decoder": None, "stage3": None})
    assert with_taps_of(ExperimentConfig(), segmenter).fit.taps == ("decoder", "frozen/16", "frozen/32")
    chosen = dataclasses.replace(ExperimentConfig(), fit=FitConfig(taps=("stage3",)))
    assert with_taps_of(chosen, segmenter) == chosen
    segmenter.taps = {}
    with pytest.raises(InputError, match="needs one of the frozen encoder"):
        with_taps_of(chosen, segmenter)
