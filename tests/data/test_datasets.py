import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ignota.data.check import check_dataset
from ignota.data.datasets import DATASETS, LabelledImages, open_dataset
from ignota.data.drawn import DrawnImages
from ignota.data.folder import read_classes
from ignota.data.layouts import write_layout
from ignota.structures import InputError
from ignota.synthetic import SyntheticStreets
from ignota.taxonomy import CAMVID, CITYSCAPES, STREETHAZARDS

SHARED = Path(os.environ.get("IGNOTA_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_camvid = pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason="real street images are not here")
needs_smiyc = pytest.mark.skipif(not (SHARED / "road_anomaly_21_val").is_dir(), reason="real anomalies are not here")

H, W = 6, 8


def put_image(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (W, H), (value, value, value)).save(path)


def put_label(path: Path, *values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(values, np.uint8), (H, W))).save(path)


def put(image: Path, label: Path, *values: int) -> None:
    put_image(image)
    put_label(label, *values)


def camvid(root, suffix="jpg"):
    for split in ("train", "val"):
        for key in ("0016_10", "0016_9"):
            put(root / split / f"{key}.{suffix}", root / f"{split}annot" / f"{key}.png", 0, 10, 11)


def cityscapes(root, kind="labelIds", values=(7, 26, 0, 29, 33)):
    for place, number in (("ulm", "000010"), ("aachen", "000002")):
        key = f"{place}_{number}_000019"
        image = root / "leftImg8bit" / "val" / place / f"{key}_leftImg8bit.png"
        put(image, root / "gtFine" / "val" / place / f"{key}_gtFine_{kind}.png", *values)


def bdd100k(root):
    for key in ("a", "b"):
        put(root / f"images/10k/val/{key}.jpg", root / f"labels/sem_seg/masks/val/{key}.png", 0, 18, 255)


def bdd100k_old(root):
    for key in ("a", "b"):
        put(root / f"seg/images/val/{key}.jpg", root / f"seg/labels/val/{key}_train_id.png", 0, 18, 255)


def lost_and_found(root):
    for key in ("01_X_000000_000010", "01_X_000000_000020"):
        image = root / "leftImg8bit" / "test" / "01_X" / f"{key}_leftImg8bit.png"
        put(image, root / "gtCoarse" / "test" / "01_X" / f"{key}_gtCoarse_labelIds.png", 0, 1, 2, 43)


def road_anomaly(root):
    for key in ("animals_10", "animals_9"):
        put(root / "frames" / f"{key}.jpg", root / "frames" / f"{key}.labels" / "labels_semantic.png", 0, 2)


def masks(*values, suffixes=("png", "jpg")):
    def write(root):
        for key, suffix in zip(("10", "9"), suffixes, strict=True):
            put(root / "images" / f"{key}.{suffix}", root / "labels_masks" / f"{key}.png", *values)

    return write


def smiyc_archive(root):
    for key in ("validation10", "validation9"):
        put(root / "images" / f"{key}.webp", root / "labels_masks" / f"{key}_labels_semantic.png", 0, 1, 255)
        put_image(root / "labels_masks" / f"{key}_labels_semantic_color.png")
    put_image(root / "images" / "test3.webp")


def streethazards(root, split="validation", values=(1, 13, 0)):
    entries = []
    for town in ("t1", "t2"):
        image, label = f"images/{split}/{town}/7.png", f"annotations/{split}/{town}/7.png"
        put(root / image, root / label, *values)
        entries.append({"fpath_img": image, "fpath_segm": label, "width": W, "height": H})
    (root / f"{split}.odgt").write_text(json.dumps(entries))


def streethazards_test(root):
    streethazards(root / "test", "test", (1, 13, 14, 0))


def folder(root):
    for key in ("10", "9"):
        put(root / "images" / f"{key}.jpg", root / "masks" / f"{key}.png", 7, 26, 0)
    (root / "classes.yaml").write_text("classes: {7: road, 26: {name: car, colour: [0, 0, 142]}}\nignore: [0]\n")


def folder_splits(root):
    for split in ("train", "val"):
        for key in ("10", "9"):
            put(root / f"images/{split}/{key}.jpg", root / f"masks/{split}/{key}.png", 0, 1, 255)
    (root / "classes.yaml").write_text("- road\n- car\n")


def folder_anomaly(root):
    masks(0, 2, 5, 255)(root)
    (root / "labels_masks").rename(root / "masks")
    (root / "classes.yaml").write_text("anomaly: 2\nignore: 5\n")


LAYOUTS = [  # name, how to write it, split, taxonomy, stored values as labels
    ("camvid", camvid, "val", CAMVID, {0, 10, 255}),
    ("camvid", lambda root: camvid(root, "png"), "val", CAMVID, {0, 10, 255}),
    ("cityscapes", cityscapes, "val", CITYSCAPES, {0, 13, 255, 18}),
    ("cityscapes", lambda root: cityscapes(root, "labelTrainIds", (0, 18, 255)), "val", CITYSCAPES, {0, 18, 255}),
    ("bdd100k", bdd100k, "val", CITYSCAPES, {0, 18, 255}),
    ("bdd100k", bdd100k_old, "val", CITYSCAPES, {0, 18, 255}),
    ("lost_and_found", lost_and_found, "test", None, {255, 0, 1}),
    ("road_anomaly", road_anomaly, "val", None, {0, 1}),
    ("road_anomaly", masks(0, 2), "val", None, {0, 1}),
    ("fishyscapes_lost_and_found", masks(0, 1, 255), "val", None, {0, 1, 255}),
    ("fishyscapes_static", masks(0, 1, 255), "val", None, {0, 1, 255}),
    ("road_anomaly_21", masks(0, 1, 255, suffixes=("webp", "JPEG")), "val", None, {0, 1, 255}),
    ("road_obstacle_21", smiyc_archive, "val", None, {0, 1, 255}),
    ("streethazards", streethazards, "val", STREETHAZARDS, {0, 12, 255}),
    ("streethazards", streethazards_test, "test", None, {0, 1, 255}),
    ("folder", folder, "all", ("road", "car"), {0, 1, 255}),
    ("folder", folder_splits, "val", ("road", "car"), {0, 1, 255}),
    ("folder", folder_anomaly, "all", None, {0, 1, 255}),
]


def names_of(dataset: LabelledImages) -> tuple[str, ...] | None:
    return None if dataset.taxonomy is None else dataset.taxonomy.names


@pytest.mark.parametrize(("name", "write", "split", "taxonomy", "values"), LAYOUTS)
@pytest.mark.parametrize("inside", ["", "NAME", "NAME_val"])
def test_every_layout(tmp_path, name, write, split, taxonomy, values, inside):
    write(tmp_path / inside.replace("NAME", name))
    dataset = open_dataset(name, tmp_path)
    assert (dataset.name, dataset.split, len(dataset)) == (name, split, 2)
    assert names_of(dataset) == (taxonomy.names if hasattr(taxonomy, "names") else taxonomy)
    assert len(set(dataset.keys)) == len(dataset.image_paths) == len(dataset.label_paths) == 2
    for index, key in enumerate(dataset.keys):
        sample = dataset[index]
        assert sample.key == key
        assert sample.path == dataset.image_paths[index]
        assert sample.image.shape == (H, W, 3)
        assert sample.image.dtype == sample.label.dtype == np.uint8
        assert set(np.unique(sample.label)) == values
        np.testing.assert_array_equal(dataset.load_label(index), sample.label)
        assert dataset.label_paths[index].is_file()


def test_all_names_are_tried_above():
    assert {layout[0] for layout in LAYOUTS} == set(DATASETS)


def test_label_values_are_mapped_one_by_one(tmp_path):
    cityscapes(tmp_path, values=tuple(range(34)))
    label = open_dataset("cityscapes", tmp_path).load_label(0).ravel()[:34]
    train_ids = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
    train_ids |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert label.tolist() == [train_ids.get(value, 255) for value in range(34)]


def test_natural_order_and_hidden_files(tmp_path):
    masks(0, 1)(tmp_path)
    (tmp_path / "images" / "._9.png").write_bytes(b"of macOS")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"of Windows")
    assert open_dataset("road_anomaly_21", tmp_path).keys == ("9", "10")


def test_indexing_like_a_sequence(tmp_path):
    camvid(tmp_path)
    dataset = open_dataset("camvid", tmp_path, "train")
    assert dataset[-1].key == dataset.keys[-1]
    assert [sample.key for sample in dataset] == list(dataset.keys)
    with pytest.raises(IndexError):
        dataset[2]


class TestRefusals:
    def refuse(self, match, *arguments):
        with pytest.raises(InputError, match=match) as caught:
            open_dataset(*arguments)
        assert "\n" not in str(caught.value)

    def test_names_and_roots(self, tmp_path):
        self.refuse("did you mean 'camvid'", "camvit", tmp_path)
        self.refuse("say where with data=ROOT", "camvid", None)
        self.refuse("no such folder", "camvid", tmp_path / "no\nwhere")
        self.refuse("nothing of that form", "camvid", tmp_path)
        self.refuse("no camvid in", "camvid", "a\0b")
        self.refuse("too long", "camvid", "x" * 5000)

    def test_splits(self, tmp_path):
        camvid(tmp_path)
        self.refuse("did you mean 'train'.*splits there: train, val", "camvid", tmp_path, "trian")
        self.refuse("there are: train, val", "camvid", tmp_path, "xyz")
        (tmp_path / "val").rename(tmp_path / "test")
        (tmp_path / "valannot").rename(tmp_path / "testannot")
        self.refuse("no split 'val', only train, test: choose one with split=", "camvid", tmp_path)

    def test_empty_split(self, tmp_path):
        (tmp_path / "val").mkdir()
        (tmp_path / "valannot").mkdir()
        self.refuse("no image in split 'val'", "camvid", tmp_path)

    def test_missing_labels(self, tmp_path):
        camvid(tmp_path)
        (tmp_path / "valannot" / "0016_9.png").unlink()
        self.refuse(r"1 of 2 images .* have no label, first .*0016_9\.png", "camvid", tmp_path)

    def test_two_images_of_one_name(self, tmp_path):
        camvid(tmp_path)
        camvid(tmp_path, "png")
        self.refuse("2 images are called", "camvid", tmp_path)

    def test_unknown_label_value(self, tmp_path):
        camvid(tmp_path)
        put_label(tmp_path / "valannot" / "0016_9.png", 0, 12, 37)
        dataset = open_dataset("camvid", tmp_path)
        for read in (dataset.__getitem__, dataset.load_label):
            with pytest.raises(InputError, match=r"0016_9\.png: label value 12, 37 is not in camvid"):
                read(0)

    def test_sizes_differ(self, tmp_path):
        camvid(tmp_path)
        Image.new("RGB", (W + 1, H)).save(tmp_path / "val" / "0016_9.jpg")
        with pytest.raises(InputError, match="label 8×6, image 9×6"):
            open_dataset("camvid", tmp_path)[0]

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "no list of images"),
            ("[1]", "needs fpath_img"),
            ('[{"fpath_img": "a.png"}]', "needs fpath_img"),
            ('[{"fpath_img": "../../etc/a.png", "fpath_segm": "b.png"}]', "leads out"),
            ('[{"fpath_img": "/etc/a.png", "fpath_segm": "b.png"}]', "leads out"),
            ("[" * 100_000, "no list of images"),
            ("[{]", "no list of images"),
        ],
    )
    def test_lists_of_streethazards(self, tmp_path, text, match):
        (tmp_path / "validation.odgt").write_text(text)
        self.refuse(match if text else "no image in split", "streethazards", tmp_path)

    def test_list_with_one_object_a_line(self, tmp_path):
        streethazards(tmp_path)
        path = tmp_path / "validation.odgt"
        path.write_text("\n".join(json.dumps(entry) for entry in json.loads(path.read_text())))
        assert open_dataset("streethazards", tmp_path).keys == ("t1_7", "t2_7")


class TestClassesFile:
    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "no list `classes`"),
            ("classes: []", "no list `classes`"),
            ("classes: road", "no list `classes`"),
            ("classes: [road, road]", "names repeat"),
            ("classes: [road, no]", "class 1 is False.*quote"),
            ("classes: {300: road}", "label values are numbers"),
            ("classes: {road: 3}", "label values are numbers"),
            ("classes: [{name: road, colour: red}]", "colour of 'road'"),
            ("classes: [{name: road, colour: [0, 0, 256]}]", "label values are numbers|0..255"),
            ("classes: [road]\nignore: all", "`ignore` has 'all'"),
            ("anomaly: [x]", "`anomaly` has 'x'"),
            ("a: [", "no YAML"),
            ("[" * 600, "no YAML"),
            ("!!python/object/apply:os.system [ls]", "no YAML"),
            ("x" * 100_001, "larger than 100,000 bytes"),
        ],
    )
    def test_refusals(self, tmp_path, text, match):
        path = tmp_path / "classes.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=match) as caught:
            read_classes(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 800

    def test_anomaly_values(self, tmp_path):
        path = tmp_path / "classes.yaml"
        path.write_text("anomaly: [2, 3]\nignore: [5]")
        taxonomy, table = read_classes(path)
        assert taxonomy is None
        assert table[:7].tolist() == [0, 0, 1, 1, 0, 255, 0]
        assert table[254:].tolist() == [0, 255]

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="missing; write"):
            read_classes(tmp_path / "classes.yaml")

    def test_made_up_colours_differ(self, tmp_path):
        path = tmp_path / "classes.yaml"
        path.write_text("\n".join(f"- class {i}" for i in range(30)))
        taxonomy, table = read_classes(path)
        assert len({label.colour for label in taxonomy.classes}) == 30
        assert table[:31].tolist() == [*range(30), -1]


class TestSynthetic:
    def test_opens_by_name(self):
        dataset = open_dataset("synthetic", None, "anomaly")
        assert (dataset.name, dataset.split) == ("synthetic", "anomaly")
        assert open_dataset("synthetic", None).split == "val"
        sample = dataset[0]
        assert sample.key == dataset.keys[0]
        assert sample.label.shape == sample.image.shape[:2]
        np.testing.assert_array_equal(dataset.load_label(0), sample.label)
        with pytest.raises(InputError, match="no split 'vla'; did you mean 'val'"):
            open_dataset("synthetic", None, "vla")

    def test_measured_anomalies_are_not_those_that_training_pastes_in(self):
        streets = SyntheticStreets("anomaly", 2, (48, 96), 0)  # what `cut_outs` cuts from, seed 0
        measured = DrawnImages("anomaly", 2, (48, 96), 0)
        assert all((measured[i].image != streets[k].image).any() for i in range(2) for k in range(2))
        known = DrawnImages("val", 1, (48, 96), 0)[0].image
        np.testing.assert_array_equal(known, SyntheticStreets("val", 1, (48, 96), 0)[0].image)

    def test_lengths_and_taxonomies(self):
        lengths = {split: len(open_dataset("synthetic", None, split)) for split in ("train", "val", "anomaly")}
        assert lengths == {"train": 1000, "val": 100, "anomaly": 60}
        assert open_dataset("synthetic", None).taxonomy is CITYSCAPES
        assert open_dataset("synthetic", None, "anomaly").taxonomy is None


CONTRACT = [  # data set, the layout it comes in, split, values that may occur
    ("cityscapes", "cityscapes", "train", {*range(19), 255}),
    ("camvid", "camvid", "val", {*range(11), 255}),
    ("bdd100k", "bdd100k", "val", {*range(19), 255}),
    ("streethazards", "streethazards", "train", {*range(13), 255}),
    ("streethazards", "streethazards", "test", {0, 1, 255}),
    ("folder", "folder", "val", {*range(19), 255}),
    ("lost_and_found", "lost_and_found", "test", {0, 1, 255}),
    ("road_anomaly", "road_anomaly", "val", {0, 1, 255}),
    ("road_anomaly_21", "smiyc", "val", {0, 1, 255}),
    ("road_obstacle_21", "smiyc", "val", {0, 1, 255}),
    ("fishyscapes_lost_and_found", "smiyc", "val", {0, 1, 255}),
    ("fishyscapes_static", "smiyc", "val", {0, 1, 255}),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    roots: dict[tuple[str, str], Path] = {}

    def root_of(layout: str, split: str) -> Path:
        if (layout, split) not in roots:
            target = tmp_path_factory.mktemp(layout) / "data"
            roots[layout, split] = write_layout(target, layout, {split: 3}, size=(48, 96))
        return roots[layout, split]

    return root_of


class TestSyntheticLayouts:
    """Whatever `write_layout` writes, the loader of that data set reads, and both mean the same by a label."""

    @pytest.mark.parametrize(("name", "layout", "split", "values"), CONTRACT)
    def test_opens(self, written, name, layout, split, values):
        root = written(layout, split)
        dataset = open_dataset(name, root)
        assert (dataset.name, dataset.split, len(dataset)) == (name, split, 3)
        anomalies = values == {0, 1, 255}
        assert (dataset.taxonomy is None) is anomalies
        samples = [dataset[index] for index in range(3)]
        assert len({sample.key for sample in samples}) == 3
        seen = set(np.unique(np.stack([sample.label for sample in samples])))
        assert seen <= values
        assert {0, 1} <= seen if anomalies else len(seen) > 3
        assert check_dataset(name, root).fine

    def test_all_names_are_tried(self):
        assert {row[0] for row in CONTRACT} == set(DATASETS)

    def test_labels_mean_what_was_drawn(self, written):
        drawn = SyntheticStreets("train", 3, (48, 96))
        for name in ("cityscapes", "streethazards"):
            dataset = open_dataset(name, written(name, "train"))
            for index in range(3):
                label, truth = dataset.load_label(index), drawn[index].label
                for thing in ("road", "sidewalk", "building", "car"):
                    place = label == dataset.taxonomy.id_of(thing)
                    wanted = truth == CITYSCAPES.id_of(thing)
                    assert (place[wanted]).all()
                    assert name != "cityscapes" or (wanted[place]).all()


class TestRealImages:
    @needs_camvid
    @pytest.mark.parametrize(("split", "length"), [("train", 367), ("val", 101)])
    def test_camvid(self, split, length):
        dataset = open_dataset("camvid", SHARED, split)
        assert len(dataset) == length == dataset.expected_length
        seen = np.zeros(256, bool)
        for index in range(0, length, 20):
            seen[np.unique(dataset.load_label(index))] = True
        assert set(np.flatnonzero(seen)) == {*range(11), 255}
        assert dataset[0].image.shape[:2] == dataset.expected_size

    @needs_smiyc
    @pytest.mark.parametrize(("name", "length"), [("road_anomaly_21", 10), ("road_obstacle_21", 30)])
    def test_smiyc(self, name, length):
        dataset = open_dataset(name, SHARED)
        assert len(dataset) == length == dataset.expected_length
        assert dataset.keys == tuple(str(i) for i in range(length))
        assert {255} < set(np.unique(dataset.load_label(0))) <= {0, 1, 255}
        assert dataset[0].image.shape[:2] == dataset.expected_size
