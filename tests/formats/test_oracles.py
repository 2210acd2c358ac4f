"""Formats by somebody else's rules: pycocotools and h5py themselves, else what a format's specification says."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from ignota.cli import main
from ignota.formats import smiyc
from ignota.formats.cityscapes import LABEL_IDS, polygons
from ignota.formats.drawing import fill_crossings
from ignota.formats.rle import decode_brush, encode_brush
from ignota.structures import InputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own

SIZES = st.tuples(st.integers(1, 30), st.integers(1, 30))
VALUES = {7: "road", 17: "pole", 20: "traffic sign", 26: "car"}


@pytest.fixture
def exported(data: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The small data set in a format."""

    def export(name: str, *flags: str) -> Path:
        assert main(["export-labels", name, str(data), "--out", str(tmp_path / name), "--quiet", *flags]) == 0
        return tmp_path / name

    return export


def imported(name: str, source: Path, *words: object) -> Path:
    out = source.parent / f"{source.name}-back"
    assert main([*map(str, ("import-labels", name, source, "--out", out, "--quiet", *words))]) == 0
    return out


def stored(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_coco_by_its_own_library(
    exported: Callable[..., Path], labels: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    coco = COCO(str(exported("coco", "--regions") / "annotations.json"))
    assert {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())} == VALUES
    for image in coco.loadImgs(coco.getImgIds()):
        label = labels[image["file_name"].rpartition(".")[0]]
        assert (image["height"], image["width"]) == label.shape
        canvas = np.full(label.shape, 255, np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == coco_mask.area(annotation["segmentation"]) == mask.sum() > 0
            assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
            canvas[mask] = annotation["category_id"]
        np.testing.assert_array_equal(canvas, label)


CORNERS = st.floats(-20, 60, allow_nan=False) | st.integers(-20, 60).map(float)


@settings(max_examples=200)
@given(SIZES, st.lists(st.tuples(CORNERS, CORNERS), min_size=3, max_size=9))
def test_polygons_are_filled_as_pycocotools_does(size: tuple[int, int], points: list[tuple[float, float]]) -> None:
    flat = [value for point in points for value in point]
    theirs = coco_mask.decode(coco_mask.frPyObjects([flat], *size)[0])
    np.testing.assert_array_equal(fill_crossings(size, points), theirs.astype(bool))


def test_coco_polygons_and_plain_runs_are_read(tmp_path: Path) -> None:
    square, inner = [2, 2, 12, 2.5, 12, 9, 3, 9], [14, 3, 19, 3, 16.5, 8]
    counts = [3, 4, 193]
    annotations = [
        {"id": 1, "image_id": 5, "category_id": 1, "segmentation": [square, inner], "iscrowd": 0},
        {"id": 2, "image_id": 5, "category_id": 3, "segmentation": {"size": [10, 20], "counts": counts}, "iscrowd": 1},
        {"id": 3, "image_id": 5, "category_id": 3, "keypoints": [1, 2, 2]},
    ]
    categories = [{"id": 1, "name": "thing"}, {"id": 3, "name": "stuff"}]
    image = {"id": 5, "file_name": "train/p.png", "height": 10, "width": 20}
    source = tmp_path / "coco"
    (source / "images" / "train").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(source / "images" / "train" / "p.png")
    content = {"images": [image], "annotations": annotations, "categories": categories}
    (source / "instances.json").write_text(json.dumps(content))
    back = stored(imported("coco", source) / "masks" / "train_p.png")
    expected = np.full((10, 20), 255, np.uint8)
    for polygon in (square, inner):
        expected[coco_mask.decode(coco_mask.frPyObjects([polygon], 10, 20)[0]) == 1] = 1
    expected[3:7, 0] = 3
    np.testing.assert_array_equal(back, expected)


@given(arrays(np.uint8, SIZES, elements=st.sampled_from([0, 7, 11, 26])))
def test_cityscapes_polygons_painted_by_its_rule(ids: np.ndarray) -> None:
    """The rule of Cityscapes' own script: a grey Pillow image of 0, each polygon filled with its label id in order."""
    canvas = Image.new("L", ids.shape[::-1], 0)
    for number, polygon in polygons(ids):
        ImageDraw.Draw(canvas).polygon([(x, y) for x, y in polygon], fill=number)
    np.testing.assert_array_equal(np.asarray(canvas), ids)


def test_cityscapes_files(exported: Callable[..., Path], labels: dict[str, np.ndarray]) -> None:
    out = exported("cityscapes")
    for key, label in labels.items():
        truth = out / "gtFine" / "val" / "ignota" / f"{key}_gtFine"
        ids = stored(Path(f"{truth}_labelIds.png"))
        np.testing.assert_array_equal(ids, np.where(label == 255, 0, label))  # the set's values are label ids
        content = json.loads(Path(f"{truth}_polygons.json").read_text())
        canvas = Image.new("L", (content["imgWidth"], content["imgHeight"]), 0)
        for entry in content["objects"]:
            corners = [(x, y) for x, y in entry["polygon"]]
            ImageDraw.Draw(canvas).polygon(corners, fill=LABEL_IDS[entry["label"]])
        np.testing.assert_array_equal(np.asarray(canvas), ids)
    for path in out.rglob("*_labelIds.png"):
        path.unlink()
    back = imported("cityscapes", out)
    for key, label in labels.items():
        np.testing.assert_array_equal(stored(back / "masks" / f"{key}.png"), label)


def test_cityscapes_objects_that_are_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = [[1, 1], [8, 1], [8, 5], [1, 5]]
    names = ["license plate", "cargroup", "spaceship"]
    objects = [{"label": name, "polygon": box} for name in names] + [{"label": "sky", "polygon": box, "deleted": 1}]
    source = tmp_path / "city"
    source.mkdir()
    (source / "a_gtFine_polygons.json").write_text(json.dumps({"imgHeight": 8, "imgWidth": 12, "objects": objects}))
    Image.new("RGB", (12, 8)).save(source / "a_leftImg8bit.png")
    back = stored(imported("cityscapes", source, "--images", source) / "masks" / "a.png")
    assert "1 object called spaceship" in capsys.readouterr().err
    assert set(back[1:6, 1:9].ravel()) == {LABEL_IDS["car"]}
    assert back.sum() == 40 * LABEL_IDS["car"]


def slow_brush(stream: list[int]) -> list[int]:
    """rle-pack's scheme, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in stream)
    at = 0

    def take(width: int) -> int:
        nonlocal at
        at += width
        return int(bits[at - width : at], 2)

    number, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < number:
        repeated = take(1)
        count = 1 + take(sizes[take(2)])
        out += [take(word)] * count if repeated else [take(word) for _ in range(count)]
    return out


@given(SIZES.flatmap(lambda size: arrays(np.bool_, size)))
def test_brush_strokes_by_the_slow_rule(mask: np.ndarray) -> None:
    stream = encode_brush(mask)
    values = np.array(slow_brush(stream)).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(values, np.repeat(mask[..., None] * 255, 4, axis=2))
    np.testing.assert_array_equal(decode_brush(stream, mask.shape), mask)


def test_long_and_foreign_brush_strokes() -> None:
    mask = np.zeros((300, 400), bool)
    mask[100:] = True  # runs of 160,000 and 320,000 values, more than one count can tell
    stream = encode_brush(mask)
    assert len(stream) < 60
    np.testing.assert_array_equal(decode_brush(stream, mask.shape), mask)
    fields = [(24, 32), (7, 5), (2, 4), (3, 4), (7, 4), (15, 4), (0, 1), (1, 2), (11, 4)]  # twelve values one by one,
    fields += [(value, 8) for value in (9, 9, 9, 0, 1, 1, 1, 255, 0, 0, 0, 7)] + [(1, 1), (1, 2), (11, 4), (0, 8)]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    bits += "0" * (-len(bits) % 8)
    stream = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]  # then twelve zeros
    np.testing.assert_array_equal(decode_brush(stream, (2, 3)), [[False, True, True], [False, False, False]])


def test_labelme_shapes_by_its_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """labelme fills with Pillow, outline included; a mask is a base64 PNG on the box of its two points, both inside."""
    window = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    stream = io.BytesIO()
    Image.fromarray(window * 255).save(stream, "PNG")
    encoded = base64.b64encode(stream.getvalue()).decode()
    triangle, box, round_ = [[2.4, 1.7], [15.2, 3.1], [6.6, 12.9]], [[18, 9], [12, 4]], [[20, 12], [23, 12]]
    shapes = [
        {"label": "a", "shape_type": "polygon", "points": triangle},
        {"label": "b", "shape_type": "rectangle", "points": box},
        {"label": "c", "shape_type": "circle", "points": round_},
        {"label": "__ignore__", "shape_type": "rectangle", "points": [[3, 3], [4, 4]]},
        {"label": "d", "shape_type": "mask", "points": [[5, 14], [7, 15]], "mask": encoded},
        {"label": "d", "shape_type": "line", "points": [[0, 0], [5, 5]]},
    ]
    source = tmp_path / "me"
    source.mkdir()
    Image.new("RGB", (28, 17)).save(source / "p.png")
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "p.png", "imageData": None}
    (source / "p.json").write_text(json.dumps(content | {"imageHeight": 17, "imageWidth": 28}))
    canvas = Image.new("L", (28, 17), 255)
    drawer = ImageDraw.Draw(canvas)
    drawer.polygon([tuple(point) for point in triangle], fill=0, outline=0)
    drawer.rectangle((12, 4, 18, 9), fill=1, outline=1)
    drawer.ellipse((17, 9, 23, 15), fill=2, outline=2)
    expected = np.array(canvas)
    expected[3:5, 3:5] = 255
    expected[14:16, 5:8][window == 1] = 3
    np.testing.assert_array_equal(stored(imported("labelme", source) / "masks" / "p.png"), expected)
    assert "1 line without an area" in capsys.readouterr().err


def test_cvat_masks_by_the_slow_rule(exported: Callable[..., Path], labels: dict[str, np.ndarray]) -> None:
    """Runs of zeros and ones by turns inside the box, row by row, the first of zeros."""
    document = ElementTree.parse(exported("cvat") / "annotations.xml").getroot()
    values = {name: value for value, name in VALUES.items()}
    assert [element.text for element in document.findall("meta/task/labels/label/name")] == list(values)
    for image in document.findall("image"):
        label = labels[image.get("name", "").rpartition(".")[0]]
        canvas = np.full(label.shape, 255, np.uint8)
        for mask in image.findall("mask"):
            left, top, width, height = (int(mask.get(key, "")) for key in ("left", "top", "width", "height"))
            flat: list[int] = []
            for i, count in enumerate(mask.get("rle", "").split(", ")):
                flat += [i % 2] * int(count)
            window = np.array(flat).reshape(height, width) == 1
            canvas[top : top + height, left : left + width][window] = values[mask.get("label", "")]
        np.testing.assert_array_equal(canvas, label)


def test_cvat_shapes_and_their_order(tmp_path: Path) -> None:
    source = tmp_path / "cvat"
    (source / "images").mkdir(parents=True)
    Image.new("RGB", (20, 12)).save(source / "images" / "p.png")
    (source / "annotations.xml").write_text(
        """<?xml version="1.0" encoding="utf-8"?><annotations><meta><task><labels>
        <label><name>a</name></label><label><name>b</name></label></labels></task></meta>
        <image id="0" name="p.png" width="20" height="12">
        <polygon label="b" points="1.0,1.0;9.0,1.5;9.0,8.0" z_order="1"/>
        <box label="a" xtl="0" ytl="0" xbr="12.4" ybr="6" z_order="0"/></image></annotations>"""
    )
    expected = np.full((12, 20), 255, np.uint8)
    expected[:6, :12] = 0
    expected[coco_mask.decode(coco_mask.frPyObjects([[1, 1, 9, 1.5, 9, 8]], 12, 20)[0]) == 1] = 1
    np.testing.assert_array_equal(stored(imported("cvat", source) / "masks" / "p.png"), expected)


def test_fiftyone_masks_inside_the_samples(tmp_path: Path) -> None:
    """fiftyone packs an array as zlib of an NPY file, in base64 under `$binary`."""
    import zlib

    mask = np.array([[0, 7, 7], [3, 0, 7]], np.uint8)
    stream = io.BytesIO()
    np.save(stream, mask, allow_pickle=False)
    binary = {"$binary": {"base64": base64.b64encode(zlib.compress(stream.getvalue())).decode(), "subType": "00"}}
    source = tmp_path / "fo"
    (source / "data").mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(source / "data" / "p.png")
    targets = {"0": "road", "3": "pole", "7": "car"}
    (source / "metadata.json").write_text(json.dumps({"version": "1.0", "mask_targets": {"seg": targets}}))
    sample = {"filepath": "data/p.png", "seg": {"_cls": "Segmentation", "mask": binary}}
    (source / "samples.json").write_text(json.dumps({"samples": [sample]}))
    back = imported("fiftyone", source)
    np.testing.assert_array_equal(stored(back / "masks" / "p.png"), mask)
    classes = yaml.safe_load((back / "classes.yaml").read_text())["classes"]
    assert {value: entry["name"] for value, entry in classes.items()} == {0: "road", 3: "pole", 7: "car"}


@given(arrays(np.float16, SIZES, elements=st.floats(0, 1, width=16)))
def test_smiyc_maps_keep_every_bit(tmp_path_factory: pytest.TempPathFactory, anomaly: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("smiyc") / "a.hdf5"
    smiyc.write_anomaly(path, anomaly)
    with h5py.File(path, "r") as file:
        assert list(file) == ["value"]
        assert (file["value"].dtype, file["value"].compression) == (np.float16, "gzip")
        np.testing.assert_array_equal(file["value"][:].view(np.uint16), anomaly.view(np.uint16))
    np.testing.assert_array_equal(smiyc.read_anomaly(path).view(np.uint16), anomaly.view(np.uint16))


def test_smiyc_files_become_normal_and_anomaly(data: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for path in (data / "images").iterdir():
        with Image.open(path) as picture:
            width, height = picture.size
        anomaly = np.random.default_rng(4).random((height, width)).astype(np.float16)
        smiyc.write_anomaly(maps / f"{path.stem}.hdf5", anomaly)
    back = imported("smiyc", maps, "--images", data / "images")
    assert yaml_of(back) == "anomaly: [1]\nignore: [255]\n"
    for path in maps.iterdir():
        values = stored(back / "masks" / f"{path.stem}.png")
        np.testing.assert_array_equal(values, smiyc.read_anomaly(path) > 0.5)


def yaml_of(root: Path) -> str:
    return (root / "classes.yaml").read_text()


def test_smiyc_links_and_other_shapes_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.hdf5"
    smiyc.write_anomaly(secret, np.ones((2, 3), np.float16))
    makers: dict[str, Callable[[h5py.File], object]] = {
        "external link": lambda file: file.__setitem__("value", h5py.ExternalLink(str(secret), "value")),
        "soft link": lambda file: (
            file.create_dataset("x", data=[[1.0]]),
            file.__setitem__("value", h5py.SoftLink("x")),
        ),
        "external storage": lambda file: file.create_dataset(
            "value", (2, 3), np.float16, external=[(str(secret), 0, 12)]
        ),
        "a group": lambda file: file.create_group("value"),
        "three axes": lambda file: file.create_dataset("value", data=np.zeros((2, 2, 2), np.float16)),
        "whole numbers": lambda file: file.create_dataset("value", data=[[1, 2]]),
        "enormous": lambda file: file.create_dataset("value", (10**6, 10**6), np.float16, chunks=(64, 64)),
        "no number": lambda file: file.create_dataset("value", data=np.array([[np.nan]], np.float16)),
        "another name": lambda file: file.create_dataset("values", data=[[1.0]]),
    }
    for name, make in makers.items():
        path = tmp_path / "a.hdf5"
        with h5py.File(path, "w") as file:
            make(file)
        with pytest.raises(InputError, match=r"a\.hdf5"):
            smiyc.read_anomaly(path)
            pytest.fail(name)
    path.write_bytes(secret.read_bytes()[:700])
    with pytest.raises(InputError, match="no HDF5 file"):
        smiyc.read_anomaly(path)
