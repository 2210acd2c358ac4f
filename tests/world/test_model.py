"""Learning and forgetting: what changes, and what must not."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ignota.exemplars.store import ExemplarRow
from ignota.perception.perception import calibrated
from ignota.perception.scene import Scene, resize_mask
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.taxonomy import MAX_CLASSES
from ignota.world.model import OpenWorldModel

Photos = list[NDArray[np.uint8]]


def box(left: int, right: int) -> NDArray[np.bool_]:
    mask = np.zeros((60, 120), bool)
    mask[20:50, left:right] = True
    return mask


def same(a: Scene, b: Scene) -> None:
    assert torch.equal(a.score, b.score)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.anomaly, b.anomaly)


def test_forgetting_restores_every_bit(world: OpenWorldModel, photos: Photos) -> None:
    before = [world.segment(photo) for photo in photos]
    world.learn("crate", [(photos[0], box(20, 60)), (photos[1], box(50, 90))], force=True)
    first = [world.segment(photo) for photo in photos]
    world.learn("boat", [(photos[2], box(10, 40))], force=True)
    world.forget("boat")
    for one, two in zip(first, [world.segment(photo) for photo in photos], strict=True):
        same(one, two)
    world.forget("crate")
    for one, two in zip(before, [world.segment(photo) for photo in photos], strict=True):
        same(one, two)


def test_the_taught_thing_is_found_where_it_was_shown(world: OpenWorldModel, photos: Photos) -> None:
    region = world.segment(photos[0]).region(np.ones(photos[0].shape[:2], bool))
    known = len(world.taxonomy)
    world.learn("all of it", [(photos[0], region)], force=True)
    scene = world.segment(photos[0])
    assert scene.taxonomy.names[known] == "all of it"
    left, top, right, bottom = region.box
    assert (scene.labels[top:bottom, left:right][region.crop] == known).mean() > 0.3
    world.forget("all of it")
    world.learn("crate", [(photos[0], box(20, 60))], force=True)
    assert world.classes.names[known:] == ("crate",)
    found = world.segment(photos[0]).labels == known
    inside, outside = found[box(20, 60)].mean(), found[~box(20, 60)].mean()
    assert inside > max(0.3, 2 * outside)  # how much exactly depends on the rounding of the tiny world


def test_anomaly_never_rises_by_learning(world: OpenWorldModel, photos: Photos) -> None:
    before = world.segment(photos[0]).anomaly
    world.learn("crate", [(photos[0], box(20, 60))], force=True)
    assert (world.segment(photos[0]).anomaly <= before).all()


def test_scores_are_those_of_the_unlearnt_world(world: OpenWorldModel, photos: Photos) -> None:
    encoding = world.encode(photos[0])
    before = world.scores(encoding, ["raml", "raml_paper"])
    world.learn("crate", [(photos[0], box(20, 60))], force=True)
    after = world.scores(encoding, ["raml", "raml_paper"])
    for name in before:
        assert torch.equal(before[name], after[name])


def test_every_kind_of_image_says_the_same(world: OpenWorldModel, photos: Photos, tmp_path: Path) -> None:
    Image.fromarray(photos[0]).save(tmp_path / "a.png")
    tensor = torch.from_numpy(photos[0]).permute(2, 0, 1)
    kinds = [
        tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(photos[0]), tensor, tensor / 255,
        world.encode(photos[0]),
    ]  # fmt: skip
    expected = world.segment(photos[0])
    for kind in kinds:
        same(world.segment(kind), expected)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8), torch.zeros(4, 4)],
    ids=["grey", "float", "empty", "flat tensor"],
)
def test_arrays_that_are_no_images(world: OpenWorldModel, image: NDArray | torch.Tensor) -> None:
    with pytest.raises(InputError, match="an image is 'H W 3' uint8"):
        world.segment(image)


def test_a_lesson_that_fails_teaches_nothing(world: OpenWorldModel, photos: Photos) -> None:
    for lesson, words in (
        ([], "no example"),
        ([(photos[0], box(20, 60)), (photos[1], box(20, 60)[:30])], "draw it on the same image"),
        ([(photos[0], box(20, 60)), (photos[1], box(20, 20))], "too few to learn from"),
    ):
        with pytest.raises(InputError, match=words):
            world.learn("crate", lesson, force=True)
    with pytest.raises(InputError, match="is a known class"):
        world.learn(" road ", [(photos[0], box(20, 60))], force=True)
    with pytest.raises(InputError, match="'road' is a known class"):
        world.forget("road")
    assert world.store.classes() == ()
    assert not world.novel.names


def test_another_process_is_heard_of_by_refresh(world: OpenWorldModel, photos: Photos) -> None:
    other = bundle.load(world.store.path.parent, writable=True)
    other.learn("crate", [(photos[0], box(20, 60))], force=True)
    assert not world.novel.names
    world.refresh()
    assert world.novel.names == ("crate",)
    same(world.segment(photos[1]), other.segment(photos[1]))
    other.store.close()


def test_taught_classes_have_colours_of_their_own(world: OpenWorldModel, photos: Photos) -> None:
    for i in range(9):
        world.learn(f"thing {i}", [(photos[0], box(10 + 5 * i, 60 + 5 * i))], force=True)
    colours = [label.colour for label in world.classes.classes]
    assert len(set(colours[len(world.taxonomy) :])) == 9


def test_masks_shrink_by_area() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, 3:6] = True
    assert resize_mask(mask, (4, 4)).tolist() == [[False, True, True, False]] * 4
    assert resize_mask(mask, (8, 8)) is mask


def test_an_image_is_read_once_for_as_long_as_its_encoding_is_kept(world: OpenWorldModel, photos: Photos) -> None:
    encoding = world.encode(photos[0])
    first = world.tables(encoding)
    assert world.tables(encoding) is first
    assert world.tables(dataclasses.replace(encoding)) is not first
    world.fitted = calibrated(world.fitted, trusted=0.9)
    world.refresh()
    assert world.tables(encoding) is not first  # another reading asks for other tables
    del encoding, first
    gc.collect()
    assert not world._read


def test_exemplars_keep_what_branches_read_under_names_of_their_own(world: OpenWorldModel, photos: Photos) -> None:
    world.learn("crate", [(photos[0], box(20, 60))], force=True)
    (plain,), (card,) = world.store.exemplars(), world.store.cards()
    before = world.segment(photos[1])
    more = dataclasses.replace(
        plain,
        whole={**plain.whole, "paper/decoder": torch.ones(1, 7)},
        parts={**plain.parts, "paper/decoder": torch.ones(2, 7)},
        shares={**plain.shares, "branch/paper": torch.ones(4)},
    )
    world.undo()
    world.store.add("crate", (255, 200, 0), [ExemplarRow(more, card.image_sha256)])
    world.refresh()
    same(before, world.segment(photos[1]))
    (kept,) = world.store.exemplars()
    assert torch.equal(kept.whole["paper/decoder"], torch.ones(1, 7))
    assert torch.equal(kept.shares["branch/paper"], torch.ones(4))


def test_a_world_knows_how_many_classes_fit(world: OpenWorldModel, photos: Photos) -> None:
    assert world.store.most == MAX_CLASSES - len(world.taxonomy)
    world.store.most = 1
    world.learn("crate", [(photos[0], box(20, 60))], force=True)
    with pytest.raises(InputError, match="full with 254 classes"):
        world.learn("boat", [(photos[0], box(50, 90))], force=True)
    assert world.classes.names[-1] == "crate"
