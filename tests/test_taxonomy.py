from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.taxonomy import (
    CAMVID,
    CITYSCAPES,
    IGNORE_INDEX,
    STREETHAZARDS,
    TAXONOMIES,
    UNKNOWN_COLOUR,
    UNKNOWN_INDEX,
    VOID_COLOUR,
    ClassLabel,
    ClassSplit,
    Taxonomy,
    nearest,
)

# (name, colour) by train id, from Cityscapes' published label table
CITYSCAPES_TABLE = [
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
]
CAMVID_TABLE = [
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (60, 40, 222)),
    ("tree", (128, 128, 0)),
    ("sign", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
]


@pytest.mark.parametrize(("taxonomy", "table"), [(CITYSCAPES, CITYSCAPES_TABLE), (CAMVID, CAMVID_TABLE)])
def test_tables(taxonomy, table):
    assert [(c.id, c.name, c.colour) for c in taxonomy.classes] == [(i, *row) for i, row in enumerate(table)]
    assert len(taxonomy) == len(table)
    assert all(taxonomy.id_of(name) == i for i, (name, _) in enumerate(table))


def test_streethazards_has_thirteen_classes_and_no_anomaly():
    assert len(STREETHAZARDS) == 13
    assert "anomaly" not in STREETHAZARDS.names


@pytest.mark.parametrize("taxonomy", TAXONOMIES.values(), ids=list(TAXONOMIES))
def test_palette(taxonomy):
    palette = taxonomy.palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    for label in taxonomy.classes:
        assert tuple(palette[label.id]) == label.colour
    assert tuple(palette[UNKNOWN_INDEX]) == UNKNOWN_COLOUR
    assert tuple(palette[IGNORE_INDEX]) == VOID_COLOUR
    assert UNKNOWN_COLOUR not in [label.colour for label in taxonomy.classes]


def test_subset_renumbers_in_the_given_order():
    few = CAMVID.subset((8, 0), "few")
    assert few.name == "few"
    assert [(c.id, c.name, c.colour) for c in few.classes] == [(0, "car", (64, 0, 128)), (1, "sky", (128, 128, 128))]
    assert CAMVID.subset((8,)).name == "camvid"


@pytest.mark.parametrize(
    ("ids", "names", "words"),
    [((0, 2), ("a", "b"), "in order"), ((0, 1), ("a", "a"), "repeat"), (range(255), map(str, range(255)), "byte")],
)
def test_taxonomies_that_cannot_be(ids, names, words):
    classes = tuple(ClassLabel(i, name, (0, 0, 0)) for i, name in zip(ids, names, strict=True))
    with pytest.raises(ValueError, match=words):
        Taxonomy("odd", classes)


def test_nearest_names_the_likely_word_or_all():
    assert nearest("busses", ["car", "bus"]) == "; did you mean 'bus'?"
    assert nearest("zzz", ["car", "bus"]) == "; there are: car, bus"
    with pytest.raises(KeyError, match="did you mean 'pedestrian'"):
        CAMVID.id_of("pedestrians")


class TestNamedSplits:
    """Section 4.2: 16+3 hides car, truck and bus; 16+1 hides car and never teaches truck and bus."""

    @pytest.mark.parametrize(
        ("text", "novel", "left_out"),
        [
            ("cityscapes", (), ()),
            ("cityscapes:19+0", (), ()),
            ("cityscapes:16+3", ("car", "truck", "bus"), ()),
            ("cityscapes:16+1", ("car",), ("truck", "bus")),
            ("cityscapes:18+1", ("car",), ()),
            ("cityscapes:14+5", ("sky", "car", "truck", "bus", "train"), ()),
            ("cityscapes:12+7", ("sky", "car", "truck", "bus", "train", "motorcycle", "bicycle"), ()),
            ("camvid:11+0", (), ()),
            ("camvid:8+3", ("car", "pedestrian", "bicyclist"), ()),
            ("camvid:8+1", ("car",), ("pedestrian", "bicyclist")),
            ("camvid:9+0", (), ("pedestrian", "bicyclist")),
            ("camvid:car, pedestrian", ("car", "pedestrian"), ()),
            ("camvid:pedestrian,car", ("pedestrian", "car"), ()),
            ("streethazards", (), ()),
        ],
    )
    def test_classes(self, text, novel, left_out):
        split = ClassSplit.parse(text)
        names = split.taxonomy.names
        assert tuple(names[i] for i in split.novel) == novel
        assert [names[i] for i in split.known] == [n for n in names if n not in novel and n not in left_out]

    @pytest.mark.parametrize("text", ["cityscapes:16+3", "cityscapes:16+1", "cityscapes:12+7", "camvid:8+1"])
    def test_the_name_tells_how_many(self, text):
        split = ClassSplit.parse(text)
        assert text.endswith(f":{len(split.known)}+{len(split.novel)}")

    def test_16_plus_1_ignores_truck_and_bus(self):
        split = ClassSplit.parse("cityscapes:16+1")
        for lut in (split.training_lut(), split.world_lut(), split.anomaly_lut()):
            assert lut[CITYSCAPES.id_of("truck")] == lut[CITYSCAPES.id_of("bus")] == IGNORE_INDEX
        assert split.world_taxonomy.names[-1] == "car"
        assert split.anomaly_lut()[CITYSCAPES.id_of("car")] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cityscape:16+3", "no taxonomy 'cityscape' .* did you mean 'cityscapes'"),
        ("cityscapes:16+4", "no split '16\\+4' of cityscapes; did you mean '1"),
        ("streethazards:12+1", "no split '12\\+1'"),
        ("camvid:pedestrain", "no class 'pedestrain' in camvid; did you mean 'pedestrian'"),
        ("camvid:car,car", "twice"),
        ("camvid:" + ",".join(CAMVID.names), "no known class is left"),
    ],
)
def test_errors_name_the_nearest(text, words):
    with pytest.raises(ValueError, match=words) as error:
        ClassSplit.parse(text)
    assert "\n" not in str(error.value)


def test_ids_that_do_not_exist():
    with pytest.raises(ValueError, match=r"no class has id 11; ids are 0\.\.10"):
        ClassSplit(CAMVID, (0, 11))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_luts_against_a_loop(data):
    order = data.draw(st.permutations(range(len(CAMVID))))
    known = data.draw(st.integers(1, len(order)))
    novel = data.draw(st.integers(0, len(order) - known))
    split = ClassSplit(CAMVID, tuple(order[:known]), tuple(order[known : known + novel]))
    training, world, anomaly = split.training_lut(), split.world_lut(), split.anomaly_lut()
    for value in range(256):
        names = split.taxonomy.names
        is_known, is_novel = value in split.known, value in split.novel
        if is_known:
            assert split.known_taxonomy.names[training[value]] == names[value]
        else:
            assert training[value] == IGNORE_INDEX
        if is_known or is_novel:
            assert split.world_taxonomy.names[world[value]] == names[value]
            assert (world[value] >= known) == is_novel
            assert anomaly[value] == int(is_novel)
        else:
            assert world[value] == anomaly[value] == IGNORE_INDEX
    assert all(lut.dtype == np.uint8 for lut in (training, world, anomaly))


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CITYSCAPES.name = "mine"
