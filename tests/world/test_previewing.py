"""What teaching would do, before it is done; counter-examples and corrections on a world."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ignota.errors import InputError
from ignota.exemplars.rows import pack, unpack
from ignota.exemplars.store import COUNTER_EXAMPLE
from ignota.perception.novel import Exemplar, class_rows
from ignota.perception.perception import calibrated
from ignota.world import previewing
from ignota.world.model import OpenWorldModel
from ignota.world.previewing import FLOOD, Preview, TeachingRefused, held_out_conflicts

Photos = list[NDArray[np.uint8]]


def box(left: int, right: int, top: int = 20, bottom: int = 50) -> NDArray[np.bool_]:
    mask = np.zeros((60, 120), bool)
    mask[top:bottom, left:right] = True
    return mask


def trial(before: list[int], after: list[int], sure: list[int], marked: list[int]) -> previewing._Trial:
    rows = (np.array([row]) for row in (before, after, sure, marked))
    b, a, s, m = rows
    return previewing._Trial("a.jpg", b.astype(np.uint8), a.astype(np.uint8), s.astype(bool), m.astype(bool))


def test_totals_and_conflicts_count_pixels() -> None:
    # class 9 is taught; 4 marked pixels, 3 covered; 4 covered outside, one of them unknown before, one its own before
    one = trial(
        before=[0, 0, 1, 1, 2, 2, 2, 9, 0, 0], after=[9, 9, 9, 1, 9, 9, 2, 9, 9, 0],
        sure=[1, 1, 1, 1, 1, 1, 1, 1, 0, 1], marked=[1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
    )  # fmt: skip
    found = previewing._totals([one], 9)
    assert found == {"coverage": 3 / 4, "outside": 4 / 7, "flood": 2 / 7, "iou": 3 / 8}
    assert previewing._conflicts([one], 9, list("abcdefghij")) == {"c": 2 / 3}
    seen = previewing._covered(one, 9, list("abcdefghij"))
    assert seen.taken == {"a": 3, "c": 2, "b": 1, "j": 1} and int(seen.mask.sum()) == 7


def test_an_image_without_a_mark_counts_in_no_total() -> None:
    shown = trial([0, 0], [9, 0], [1, 1], [1, 0])
    wrong = trial([0, 0], [9, 9], [1, 1], [0, 0])
    assert previewing._totals([shown, wrong], 9) == previewing._totals([shown], 9)


def test_only_a_flood_is_refused() -> None:
    preview = Preview("thing", 1, 10, 0.9, 0.9, FLOOD, 0.1, {"road": 0.4}, {"road": 0.9})
    assert preview.doubts == ()
    flood = dataclasses.replace(preview, flood=FLOOD + 0.01)
    assert len(flood.doubts) == 1 and "40 % of 'road'" in flood.doubts[0]
    assert "against=MASK" in str(TeachingRefused(flood)) and "--against MASK" not in str(TeachingRefused(flood))


def test_a_preview_stores_nothing_and_says_what_learning_does(world: OpenWorldModel, photos: Photos) -> None:
    mask, other = box(20, 60), world.encode(photos[1])
    state = world.store.state()
    found = world.preview("crate", (photos[0], mask), others=[other])
    assert world.store.state() == state and "crate" not in world.classes.names
    assert [image.mask.shape for image in found.images] == [world.encode(p).image.shape[:2] for p in photos[:2]]
    learnt = world.learn("crate", (photos[0], mask), force=True)
    assert dataclasses.replace(learnt, images=()) == dataclasses.replace(found, images=())
    number = len(world.taxonomy)
    for photo, image in zip(photos[:2], found.images, strict=True):
        np.testing.assert_array_equal(world.segment(photo).working_labels == number, image.mask)
    assert world.preview("crate", (photos[1], mask)).examples == 1  # of a class that is there


def test_what_lies_outside_the_mark_is_against_the_class(world: OpenWorldModel, photos: Photos) -> None:
    world.learn("crate", (photos[0], box(20, 60)), force=True)
    exemplar = world.exemplars[0]
    assert set(exemplar.against) == set(world.known.space.taps)
    assert {len(v) for v in exemplar.against.values()} == {len(exemplar.against["decoder"])} != {0}
    with_counters = world.segment(photos[0]).labels == len(world.taxonomy)
    bare = dataclasses.replace(exemplar, against={})
    tables, novel = world.tables(world.encode(photos[0])), previewing.novel_evidence(world.known, [bare])
    without = world.taught(tables, novel).novel >= 0
    assert int(without.sum()) > int((world.taught(tables).novel >= 0).sum()) > 0
    assert with_counters.any()


def test_marks_of_one_call_are_not_against_one_another(world: OpenWorldModel, photos: Photos) -> None:
    left, right = box(10, 40), box(70, 110)
    encoding = world.encode(photos[0])
    world.learn("crate", [(encoding, left), (encoding, right)], force=True)
    space = world.known.space
    rows, against = class_rows(space, world.exemplars, torch.device("cpu"))
    assert float((rows @ against.T).amax()) < 0.9995
    number = sum(len(e.against["decoder"]) for e in world.exemplars)
    assert len(against) == number  # none had to be dropped, as none was taken in


def test_later_examples_stand_against_earlier_surroundings(world: OpenWorldModel, photos: Photos) -> None:
    encoding = world.encode(photos[0])
    world.learn("crate", (encoding, box(10, 40)), force=True)
    world.learn("crate", (encoding, box(70, 110)), force=True)
    rows, against = class_rows(world.known.space, world.exemplars, torch.device("cpu"))
    assert len(against) < sum(len(e.against["decoder"]) for e in world.exemplars)
    assert float((rows @ against.T).amax()) < 0.9995


def test_a_correction_takes_back_what_was_claimed(world: OpenWorldModel, photos: Photos) -> None:
    world.learn("crate", (photos[0], box(50, 90)), force=True)
    number, encoding = len(world.taxonomy), world.encode(photos[0])
    claimed = world.segment(encoding).labels == number
    assert claimed.any()
    before, events = world.segment(encoding).labels, len(world.store.history())
    found = world.learn("crate", against=(encoding, claimed))
    left = world.segment(encoding).labels == number
    assert found.examples == 0 and left[claimed].mean() < 0.5, left[claimed].mean()
    card = world.store.cards("crate")[-1]
    assert card.given == COUNTER_EXAMPLE and card.mask is not None
    assert [c.exemplars for c in world.store.classes()] == [1]  # a correction is no example
    assert len(world.store.history()) == events + 1
    world.undo()
    np.testing.assert_array_equal(world.segment(encoding).labels, before)


def test_a_class_that_nobody_showed_cannot_be_corrected(world: OpenWorldModel, photos: Photos) -> None:
    world.learn("boat", (photos[0], box(20, 60)), force=True)
    for act in (world.learn, world.preview):
        with pytest.raises(InputError, match="show first what it is"):
            act("ghost", against=(photos[0], box(20, 60)))
    with pytest.raises(InputError, match="no example"):
        world.learn("ghost", [])


def test_corrections_survive_merging_and_leave_prototypes_alone(world: OpenWorldModel, photos: Photos) -> None:
    world.learn("crate", (photos[0], box(20, 60)), force=True)
    world.learn("boat", (photos[1], box(20, 60)), force=True)
    means = world.novel.means.clone()
    world.learn("crate", against=(photos[2], box(70, 110)))
    torch.testing.assert_close(world.novel.means, means)
    assert world.novel.taught is not None and world.novel.taught.shots.tolist() == [1, 1]
    world.merge("crate", "boat")
    assert [len(e.whole) > 0 for e in world.exemplars].count(False) == 1 and world.novel.names == ("boat",)


def test_exemplars_without_counter_examples_keep_working(world: OpenWorldModel, photos: Photos) -> None:
    world.learn("crate", (photos[0], box(20, 60)), force=True)
    old = dataclasses.replace(world.exemplars[0], against={})
    evidence = previewing.novel_evidence(world.known, [unpack("crate", pack(old))])
    assert evidence.taught is not None and len(evidence.taught.against) == 0
    assert torch.isfinite(evidence.taught.margin).all()


def test_packing_keeps_counter_examples() -> None:
    some = Exemplar("a", {}, {}, {}, {"t": torch.arange(6.0).view(2, 3).half()})
    again = unpack("a", pack(some))
    assert again.whole == {} and torch.equal(again.against["t"], some.against["t"])


def test_held_out_conflicts_count_area(world: OpenWorldModel, photos: Photos) -> None:
    world.learn("crate", [(photos[0], box(20, 60))], force=True)
    taught = world.novel.taught
    assert taught is not None
    greedy = dataclasses.replace(taught, margin=torch.full((1,), -5.0))
    names = world.taxonomy.names
    everything = held_out_conflicts(calibrated(world.known, lowest_similarity=-1.0), greedy, 0, names)
    assert set(everything.values()) == {1.0}
    assert held_out_conflicts(calibrated(world.known, lowest_similarity=1.0), greedy, 0, names) == {}
    assert held_out_conflicts(world.known, dataclasses.replace(taught, margin=torch.full((1,), 5.0)), 0, names) == {}
