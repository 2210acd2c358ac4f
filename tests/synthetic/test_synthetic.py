import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.structures import InputError, Sample
from ignota.synthetic import UNKNOWNS, SyntheticStreets, contact_sheet, draw_scene
from ignota.taxonomy import CITYSCAPES

THINGS = range(11, 19)
FIELDS = ("image", "label", "anomaly", "instance")


def digest(scene):
    return hashlib.sha256(b"".join(getattr(scene, name).tobytes() for name in FIELDS)).hexdigest()


@pytest.mark.parametrize("anomalies", [0, 2, None])
def test_a_seed_gives_the_same_bytes(anomalies):
    first = digest(draw_scene(5, 64, 128, anomalies))
    draw_scene(6, 80, 100)
    np.random.default_rng(1).random(3)
    assert digest(draw_scene(5, 64, 128, anomalies)) == first
    assert digest(draw_scene(7, 64, 128, anomalies)) != first


def test_another_process_draws_the_same_bytes():
    program = """
import cv2, hashlib
cv2.setNumThreads(1)
from ignota.synthetic import draw_scene
scene = draw_scene(11, 96, 192, 2)
parts = [scene.image, scene.label, scene.anomaly, scene.instance]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(draw_scene(11, 96, 192, 2))


@given(
    seed=st.integers(0, 2**40),
    height=st.integers(16, 150),
    width=st.integers(16, 200),
    anomalies=st.sampled_from([0, 1, 3, None]),
)
@settings(max_examples=25, deadline=None)
def test_any_seed_and_size_gives_consistent_maps(seed, height, width, anomalies):
    scene = draw_scene(seed, height, width, anomalies)
    assert scene.image.shape == (height, width, 3)
    assert scene.label.shape == scene.anomaly.shape == scene.instance.shape == (height, width)
    assert (scene.image.dtype, scene.label.dtype, scene.anomaly.dtype) == (np.uint8, np.uint8, np.uint8)
    assert scene.instance.dtype == np.int32
    assert set(np.unique(scene.label)) <= {*range(19), 255}
    assert set(np.unique(scene.anomaly)) <= {0, 1, 255}
    assert ((scene.label == 255) == (scene.anomaly != 0)).all()
    counted = (scene.anomaly == 1) | np.isin(scene.label, list(THINGS))
    assert ((scene.instance > 0) == counted).all()
    if anomalies == 0:
        assert not (scene.anomaly == 1).any()
    elif anomalies is not None:
        assert len(np.unique(scene.instance[scene.anomaly == 1])) <= anomalies


def test_an_instance_has_one_label():
    scene = draw_scene(2, 128, 256, 2)
    for number in np.unique(scene.instance[scene.instance > 0]):
        inside = scene.instance == number
        assert len(np.unique(scene.label[inside])) == 1
        assert len(np.unique(scene.anomaly[inside])) == 1


@pytest.fixture(scope="module")
def training_labels():
    streets = SyntheticStreets("train", 200, (48, 96))
    return np.stack([streets[i].label for i in range(200)])


def test_every_class_covers_its_share(training_labels):
    share = np.bincount(training_labels.ravel(), minlength=256)[:19] / training_labels.size
    assert not [name for name, found in zip(CITYSCAPES.names, share, strict=True) if found <= 0.003]
    for name in ("car", "truck", "bus"):
        assert share[CITYSCAPES.id_of(name)] > 0.03


@pytest.mark.parametrize(
    ("name", "part"), [("car", 0.75), ("truck", 0.5), ("bus", 0.5), ("person", 0.5), ("road", 1.0)]
)
def test_frequent_classes_are_in_many_scenes(training_labels, name, part):
    present = (training_labels == CITYSCAPES.id_of(name)).sum((1, 2)) > 4
    assert present.mean() >= part


def test_void_is_rare_and_not_absent(training_labels):
    assert 0.001 < (training_labels == 255).mean() < 0.05


@pytest.mark.parametrize("split", ["train", "val"])
def test_nothing_unknown_in_the_splits_of_known_things(split):
    streets = SyntheticStreets(split, 12, (32, 64))
    for i in range(12):
        scene = draw_scene(streets.scene_seed(i), 32, 64, anomalies=0)
        assert not (scene.anomaly == 1).any()
        assert (streets[i].image == scene.image).all()
        assert set(np.unique(streets[i].label)) <= {*range(19), 255}


def test_the_anomaly_split_shows_unknown_things():
    streets = SyntheticStreets("anomaly", 40, (64, 128))
    assert streets.taxonomy is None
    shares = []
    for i in range(40):
        label = streets[i].label
        assert set(np.unique(label)) <= {0, 1, 255}
        shares.append((label == 1).mean())
    assert min(shares) > 0.0005
    assert 0.01 < np.mean(shares) < 0.15


def test_there_are_at_least_twelve_kinds_of_unknown_things():
    assert len(UNKNOWNS) >= 12
    for name, build in UNKNOWNS.items():
        thing = build(np.random.Generator(np.random.PCG64(0)))
        points = [f.points for s in thing.solids for p in s.panels for f in p.faces]
        assert all(p.ndim == 3 and p.shape[2] == 3 and np.isfinite(p).all() for p in points), name
        assert thing.height > 0.3 and thing.half_width > 0.1


def test_streets_are_a_data_set_of_samples():
    streets = SyntheticStreets("val", 3, (32, 64), seed=4)
    sample = streets[1]
    assert isinstance(sample, Sample)
    assert (streets.name, streets.taxonomy, len(streets)) == ("synthetic", CITYSCAPES, 3)
    assert streets.keys == ("val_000000", "val_000001", "val_000002")
    assert sample.key == streets.keys[1] and sample.path is None
    assert sample.image.shape == (32, 64, 3) and sample.label.shape == (32, 64)
    assert (streets[-1].image == streets[2].image).all()
    assert len(list(streets)) == 3
    with pytest.raises(IndexError):
        streets[3]


def test_no_seed_serves_twice():
    seeds = [
        SyntheticStreets(split, 5, seed=seed).scene_seed(i)
        for split in ("train", "val", "anomaly")
        for seed in (0, 1, 7)
        for i in range(5)
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("test", 3), "no split 'test'"),
        (("val", -1), "negative"),
        (("val", 1, (8, 64)), "too small"),
        (("val", 1, (32, 64), -2), "seed -2"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        SyntheticStreets(*arguments)


def test_contact_sheet_shows_every_scene():
    sheet = contact_sheet([1, 2, 3], columns=2, size=(32, 64), gap=4)
    assert sheet.shape == (2 * 36 + 4, 2 * 68 + 4, 3) and sheet.dtype == np.uint8
    assert (sheet[4:36, 72:136] == draw_scene(2, 32, 64).image).all()
    assert (sheet[40:72, 72:136] == 255).all()
    labels = contact_sheet([1], columns=1, size=(32, 64), show="label")
    assert (labels[4:36, 4:68] == CITYSCAPES.palette()[draw_scene(1, 32, 64).label]).all()
    unknown = contact_sheet([1], columns=1, size=(32, 64), anomalies=2, show="anomaly")
    assert unknown.shape == labels.shape
