"""Every format, out and in again: every pixel, every name, every image file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ignota.cli import main
from ignota.cli.parsing import LABEL_FORMATS
from ignota.data.datasets import open_dataset
from ignota.formats.convert import FORMATS
from ignota.formats.folder_form import read_folder_map

AREAS = [name for name in FORMATS if name != "smiyc"]


def test_help_names_every_format() -> None:
    assert LABEL_FORMATS.split(", ") == list(FORMATS)


def masks(root: Path) -> dict[str, np.ndarray]:
    """Stored values by key of a data set in the form `folder`."""
    return {path.stem: np.asarray(Image.open(path)) for path in (root / "masks").iterdir()}


def named(root: Path) -> dict[str, np.ndarray]:
    """Names instead of values, void as the empty name."""
    label_map, _ = read_folder_map(root / "classes.yaml")
    table = np.array([""] * 256, dtype=object)
    for label in label_map.classes:
        table[label.id] = label.name
    return {key: table[mask] for key, mask in masks(root).items()}


def run(*words: object) -> int:
    return main([str(word) for word in (*words, "--quiet")])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", AREAS)
def test_every_pixel_comes_back(
    name: str, regions: bool, data: Path, labels: dict[str, np.ndarray], tmp_path: Path
) -> None:
    flags = ("--regions",) if regions else ()
    assert run("export-labels", name, data, "--out", tmp_path / "out", *flags) == 0
    assert run("import-labels", name, tmp_path / "out", "--out", tmp_path / "back") == 0
    back = masks(tmp_path / "back")
    assert set(back) == set(labels)
    for key, label in labels.items():
        np.testing.assert_array_equal(back[key], label)
    assert contents(tmp_path / "back" / "images") == contents(data / "images")
    ours, theirs = (open_dataset("folder", root) for root in (data, tmp_path / "back"))
    assert ours.taxonomy is not None
    assert theirs.taxonomy is not None
    assert ours.taxonomy.classes == theirs.taxonomy.classes


@pytest.mark.parametrize("name", [name for name in AREAS if name != "indexed"])
def test_without_our_label_map_names_come_back(name: str, data: Path, tmp_path: Path) -> None:
    assert run("export-labels", name, data, "--out", tmp_path / "out") == 0
    (tmp_path / "out" / "label_map.json").unlink()
    assert run("import-labels", name, tmp_path / "out", "--out", tmp_path / "back") == 0
    back, before = named(tmp_path / "back"), named(data)
    assert set(back) == set(before)
    for key, names in back.items():
        np.testing.assert_array_equal(names, before[key])


@pytest.mark.parametrize("name", FORMATS)
def test_two_exports_are_the_same_bytes(name: str, data: Path, tmp_path: Path) -> None:
    if name == "smiyc":
        text = (data / "classes.yaml").read_text().replace("car", "anomaly")
        (data / "classes.yaml").write_text(text)
    for out in ("a", "b"):
        assert run("export-labels", name, data, "--out", tmp_path / out) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) > 2


def test_several_void_values_become_the_first(data: Path, labels: dict[str, np.ndarray], tmp_path: Path) -> None:
    text = (data / "classes.yaml").read_text()
    (data / "classes.yaml").write_text(text.replace("ignore: [255]", "ignore: [17, 255]").replace("  17:", "  18:"))
    for name in ("indexed", "coco"):
        assert run("export-labels", name, data, "--out", tmp_path / name) == 0
        assert run("import-labels", name, tmp_path / name, "--out", tmp_path / f"{name}-back") == 0
    for key, label in labels.items():
        np.testing.assert_array_equal(masks(tmp_path / "indexed-back")[key], label)
        np.testing.assert_array_equal(masks(tmp_path / "coco-back")[key], np.where(label == 17, 255, label))


def test_splits_and_normal_anomaly_labels(data: Path, labels: dict[str, np.ndarray], tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (data / name).rename(data / "all")
        (data / name).mkdir()
        (data / "all").rename(data / name / "val")
    (data / "classes.yaml").write_text("anomaly: [26]\nignore: [255, 17]\n")
    assert run("export-labels", "coco", data, "--out", tmp_path / "out", "--split", "val") == 0
    assert run("import-labels", "coco", tmp_path / "out", "--out", tmp_path / "back") == 0
    back = open_dataset("folder", tmp_path / "back")
    assert back.taxonomy is None
    for key, label in labels.items():
        expected = np.where(label == 26, 1, np.where((label == 255) | (label == 17), 255, 0))
        np.testing.assert_array_equal(back.load_label(back.keys.index(key)), expected)


def test_values_of_ones_own_and_a_class_for_the_rest(data: Path, labels: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert run("export-labels", "labelme", data, "--out", tmp_path / "out") == 0
    (tmp_path / "out" / "label_map.json").unlink()
    own = tmp_path / "own.yaml"
    own.write_text("classes: [car, pole, road, traffic sign, background]\n")
    call = ("import-labels", "labelme", tmp_path / "out", "--classes", own, "--rest", "background")
    assert run(*call, "--out", tmp_path / "back") == 0
    lut = np.zeros(256, np.uint8)
    lut[[26, 17, 7, 20, 255]] = [0, 1, 2, 3, 4]
    for key, label in labels.items():
        np.testing.assert_array_equal(masks(tmp_path / "back")[key], lut[label])


def test_images_that_lie_elsewhere(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export-labels", "coco", data, "--out", tmp_path / "out") == 0
    (tmp_path / "out" / "images").rename(tmp_path / "photos")
    call = ("import-labels", "coco", tmp_path / "out" / "annotations.json", "--out", tmp_path / "back")
    assert run(*call) == 2
    assert "--images DIR" in capsys.readouterr().err
    assert not (tmp_path / "back").exists()
    assert run(*call, "--images", tmp_path / "photos") == 0
    assert contents(tmp_path / "back" / "images") == contents(data / "images")


def test_labels_of_undefined_values_are_not_exported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (data / "classes.yaml").read_text()
    (data / "classes.yaml").write_text("\n".join(line for line in text.splitlines() if "pole" not in line))
    assert run("export-labels", "coco", data, "--out", tmp_path / "out") == 2
    assert "label value 17" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cityscapes_knows_its_own_names_alone(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (data / "classes.yaml").read_text()
    (data / "classes.yaml").write_text(text.replace("car", "cart"))
    assert run("export-labels", "cityscapes", data, "--out", tmp_path / "out") == 2
    assert "no class 'cart'; did you mean 'car'" in capsys.readouterr().err


def test_the_label_map_tells_void(data: Path, tmp_path: Path) -> None:
    assert run("export-labels", "indexed", data, "--out", tmp_path / "out") == 0
    content = json.loads((tmp_path / "out" / "label_map.json").read_text())
    assert content["ignore"] == [255]
    assert content["classes"][0] == {"id": 7, "name": "road", "colour": [128, 64, 128]}
