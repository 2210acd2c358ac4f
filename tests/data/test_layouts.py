import json

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from ignota.data.datasets import open_dataset
from ignota.data.layouts import LAYOUTS, write_layout
from ignota.structures import InputError
from ignota.synthetic import SyntheticScene, SyntheticStreets, draw_scene
from ignota.synthetic.streets import cityscapes_polygons
from ignota.taxonomy import CITYSCAPES, CITYSCAPES_LABEL_IDS, cityscapes_label_id_lut, cityscapes_train_id_lut

SIZE = (48, 96)


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def values(path):
    return set(np.unique(np.array(Image.open(path))).tolist())


def label(path):
    return np.array(Image.open(path))


def known(split, index, seed=0):
    return draw_scene(SyntheticStreets(split, 9, seed=seed).scene_seed(index), *SIZE)


def unknown(index):
    return draw_scene(SyntheticStreets("anomaly", 9).scene_seed(index), *SIZE, anomalies=None)


def test_label_ids_are_those_of_cityscapes():
    expected = {"road": 7, "building": 11, "traffic light": 19, "sky": 23, "bus": 28, "train": 31, "bicycle": 33}
    for name, number in expected.items():
        assert CITYSCAPES_LABEL_IDS[CITYSCAPES.id_of(name)] == number
    there, back = cityscapes_train_id_lut(), cityscapes_label_id_lut()
    assert back[there[:19]].tolist() == list(range(19))
    assert set(back[[0, 1, 4, 6, 9, 10, 14, 18, 29, 30, 34, 255]]) == {255}
    assert there[255] == 0


def test_cityscapes(tmp_path):
    root = write_layout(tmp_path / "c", "cityscapes", {"train": 1, "val": 2}, SIZE)
    key = "syntheticval_000001_000019"
    truth = root / "gtFine" / "val" / "syntheticval"
    scene = known("val", 1)
    image = root / "leftImg8bit" / "val" / "syntheticval" / f"{key}_leftImg8bit.png"
    assert (label(image) == scene.image).all()
    assert (label(truth / f"{key}_gtFine_labelTrainIds.png") == scene.label).all()
    ids = label(truth / f"{key}_gtFine_labelIds.png")
    assert (cityscapes_label_id_lut()[ids] == scene.label).all()
    assert len(files(root)) == 12
    polygons = json.loads((truth / f"{key}_gtFine_polygons.json").read_text())
    assert (polygons["imgHeight"], polygons["imgWidth"]) == SIZE
    assert {entry["label"] for entry in polygons["objects"]} <= {*CITYSCAPES.names, "unlabeled"}


def drawn(scene):
    labels = np.full(scene.label.shape, 77, np.uint8)
    for entry in cityscapes_polygons(scene)["objects"]:
        value = 255 if entry["label"] == "unlabeled" else CITYSCAPES.id_of(entry["label"])
        cv2.fillPoly(labels, [np.array(entry["polygon"], np.int32)], value)
    return labels


def test_polygons_draw_the_labels_again():
    label, nothing = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.int32)
    label[5:30, 5:50], label[10:20, 10:30], label[12:18, 12:20] = 13, 255, 11
    scene = SyntheticScene(np.zeros((40, 60, 3), np.uint8), label, np.where(label == 255, 255, 0), nothing)
    assert (drawn(scene) == label).all()
    street = draw_scene(3, 128, 256)
    assert (drawn(street) == street.label).mean() > 0.985


def test_camvid_merges_to_eleven_classes(tmp_path):
    root = write_layout(tmp_path / "c", "camvid", {"train": 8}, SIZE, seed=1)
    assert files(root)[::8] == ["train/synthetic_00000.jpg", "trainannot/synthetic_00000.png"]
    pictures = [Image.open(root / "trainannot" / f"synthetic_0000{i}.png") for i in range(8)]
    assert {picture.mode for picture in pictures} == {"P"}
    ours, theirs = np.stack([known("train", i, 1).label for i in range(8)]), np.stack([np.array(p) for p in pictures])
    expected = {"sky": 0, "wall": 1, "road": 3, "truck": 8, "person": 9, "rider": 10, "motorcycle": 10, "train": 11}
    for name, number in expected.items():
        assert set(theirs[ours == CITYSCAPES.id_of(name)].tolist()) == {number}, name
    assert set(theirs[ours == 255].tolist()) == {11}


def test_road_anomaly_marks_anomalies_with_two(tmp_path):
    root = write_layout(tmp_path / "r", "road_anomaly", {"val": 2}, SIZE)
    marked = label(root / "frames" / "synthetic_001.labels" / "labels_semantic.png")
    assert ((marked == 2) == (unknown(1).anomaly == 1)).all()
    assert set(np.unique(marked)) == {0, 2}


def test_smiyc(tmp_path):
    root = write_layout(tmp_path / "s", "smiyc", {"val": 2}, SIZE)
    assert files(root) == ["images/0.jpg", "images/1.jpg", "labels_masks/0.png", "labels_masks/1.png"]
    assert (label(root / "labels_masks" / "1.png") == unknown(1).anomaly).all()


def test_lost_and_found_numbers_obstacles_from_two(tmp_path):
    root = write_layout(tmp_path / "l", "lost_and_found", {"train": 1, "test": 1}, SIZE)
    folder = root / "gtCoarse" / "test" / "01_Synthetic"
    scene, marked = unknown(1), label(folder / "01_Synthetic_000000_000010_gtCoarse_labelIds.png")
    assert ((marked >= 2) == (scene.anomaly == 1)).all()
    assert ((marked == 1) == (scene.label == 0)).all()
    assert len(np.unique(marked[marked >= 2])) == len(np.unique(scene.instance[scene.anomaly == 1]))


def test_bdd100k(tmp_path):
    root = write_layout(tmp_path / "b", "bdd100k", {"val": 1}, SIZE)
    assert files(root) == ["images/10k/val/synthetic-00000000.jpg", "labels/sem_seg/masks/val/synthetic-00000000.png"]
    assert (label(root / files(root)[1]) == known("val", 0).label).all()


def test_streethazards_counts_from_one(tmp_path):
    root = write_layout(tmp_path / "s", "streethazards", {"train": 1, "val": 1, "test": 1}, SIZE)
    assert {path.name for path in root.glob("*.odgt")} == {"train.odgt", "validation.odgt", "test.odgt"}
    (entry,) = json.loads((root / "test.odgt").read_text())
    scene, marked = unknown(0), label(root / entry["fpath_segm"])
    assert (entry["width"], entry["height"]) == (96, 48)
    assert ((marked == 14) == (scene.anomaly == 1)).all()
    assert (marked[scene.label == CITYSCAPES.id_of("road")] == 8).all()
    assert (marked[scene.label == CITYSCAPES.id_of("sky")] == 1).all()
    (entry,) = json.loads((root / "train.odgt").read_text())
    assert max(values(root / entry["fpath_segm"])) <= 13


def test_folder_lists_names_and_colours(tmp_path):
    root = write_layout(tmp_path / "f", "folder", {"train": 1, "val": 1}, SIZE)
    classes = yaml.safe_load((root / "classes.yaml").read_text())["classes"]
    assert [entry["name"] for entry in classes] == list(CITYSCAPES.names)
    assert classes[0]["colour"] == [128, 64, 128]
    picture = Image.open(root / "masks" / "val" / "00000.png")
    assert picture.mode == "P"
    assert (np.array(picture) == known("val", 0).label).all()


@pytest.mark.parametrize(
    ("layout", "dataset"),
    [
        ("cityscapes", "cityscapes"), ("camvid", "camvid"), ("bdd100k", "bdd100k"), ("folder", "folder"),
        ("streethazards", "streethazards"), ("road_anomaly", "road_anomaly"), ("smiyc", "road_anomaly_21"),
        ("smiyc", "fishyscapes_static"), ("lost_and_found", "lost_and_found"),
    ],
)  # fmt: skip
def test_the_loaders_read_what_is_written(tmp_path, layout, dataset):
    splits = dict.fromkeys(LAYOUTS[layout].splits, 1)
    root = write_layout(tmp_path / layout, layout, splits, SIZE)
    for split in splits:
        data = open_dataset(dataset, root, split)
        assert len(data) == 1
        sample = data[0]
        assert sample.image.shape == (*SIZE, 3)
        assert sample.label.shape == SIZE
        assert (sample.label != 255).mean() > 0.3


def test_default_splits_and_steps(tmp_path):
    steps = []
    write_layout(tmp_path / "r", "road_anomaly", size=(16, 32), on_step=lambda done, total: steps.append((done, total)))
    assert steps == [(i, 10) for i in range(1, 11)]


def test_refuses_to_overwrite(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        write_layout(tmp_path / "mine", "smiyc", {"val": 1}, SIZE)
    assert (tmp_path / "mine" / "note").read_text() == "keep"
    with pytest.raises(InputError, match="not empty"):
        write_layout(tmp_path / "mine" / "note", "smiyc", {"val": 1}, SIZE)
    (tmp_path / "empty").mkdir()
    assert len(files(write_layout(tmp_path / "empty", "smiyc", {"val": 1}, SIZE))) == 2


def test_unknown_layouts_and_splits_are_named(tmp_path):
    with pytest.raises(InputError, match="did you mean 'camvid'"):
        write_layout(tmp_path / "x", "camvd")
    with pytest.raises(InputError, match="no split 'dev'"):
        write_layout(tmp_path / "x", "camvid", {"dev": 1})


def test_a_failure_leaves_nothing_behind(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_layout(tmp_path / "x", "smiyc", {"val": 2}, SIZE, on_step=stop)
    assert list(tmp_path.iterdir()) == []
