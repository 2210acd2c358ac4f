"""Teaching on photographs of other cameras, against masks compared pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.evaluation.evaluation import anomaly_label_lut, untaught_copy
from ignota.evaluation.wild import evaluate_wild
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.taxonomy import CITYSCAPES
from ignota.world.model import OpenWorldModel
from ignota.world.previewing import TeachingRefused


@pytest.fixture(scope="module")
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


@pytest.fixture(scope="module")
def val(streets: Path) -> LabelledImages:
    return open_dataset("cityscapes", streets, "val")


def test_figures_are_those_of_worlds_taught_by_hand(world: OpenWorldModel, val: LabelledImages) -> None:
    found = evaluate_wild(world, val, pairs=[(val.keys[1], val.keys[0])], known=val)
    lut, copies = anomaly_label_lut(world, val), []
    samples = [val[i] for i in range(2)]
    for sample in samples:
        copy = untaught_copy(world)
        try:
            copy.learn("thing", (sample.image, lut[sample.label] == 1))
            copies.append(copy)
        except TeachingRefused:
            copies.append(None)
        assert found["images"][sample.key]["accepted"] == (copies[-1] is not None)

    def iou(copy: OpenWorldModel | None, sample: Any) -> float:
        truth = lut[sample.label]
        claimed = np.zeros(truth.shape, bool) if copy is None else copy.segment(sample.image).labels == 16
        both = union = 0
        for claim, real in zip(claimed.ravel().tolist(), truth.ravel().tolist(), strict=True):
            both += claim and real == 1
            union += (claim or real == 1) and real != 255
        return both / max(union, 1)

    for copy, sample in zip(copies, samples, strict=True):
        assert found["images"][sample.key]["iou"] == pytest.approx(iou(copy, sample))
    assert found["pairs"] == {f"{val.keys[1]}→{val.keys[0]}": pytest.approx(iou(copies[1], samples[0]))}
    for copy, sample in zip(copies, samples, strict=True):
        if copy is not None:
            claims = [(copy.segment(other.image).labels == 16).mean() for other in samples]
            assert found["known"]["claimed"][sample.key] == pytest.approx(np.mean(claims))
            lost = miou(world, samples) - miou(copy, samples)
            assert found["known"]["lost"][sample.key] == pytest.approx(lost)


def miou(world: OpenWorldModel, samples: list[Any]) -> float:
    """Of the known classes, by sets of pixels, what is no known class left out."""
    names = world.taxonomy.names
    lut = np.array([names.index(name) if name in names else 255 for name in CITYSCAPES.names] + [255] * 237, np.uint8)
    truth = np.concatenate([lut[s.label].ravel() for s in samples])
    guess = np.concatenate([world.segment(s.image).labels.ravel() for s in samples])[truth != 255]
    truth = truth[truth != 255]
    pairs = [((truth == c) & (guess == c), (truth == c) | (guess == c)) for c in range(len(names))]
    return float(np.mean([both.sum() / either.sum() for both, either in pairs if either.any()]))


def test_an_object_of_the_scene_is_taught_as_a_click_gives_it(world: OpenWorldModel, val: LabelledImages) -> None:
    found = evaluate_wild(world, val, given="object")
    lut = anomaly_label_lut(world, val)
    for i in range(2):
        sample = val[i]
        shared = {r.area: int((r.mask & (lut[sample.label] == 1)).sum()) for r in world.segment(sample.image).unknown}
        figures = found["images"][sample.key]
        if max(shared.values(), default=0) == 0:
            assert not figures["accepted"] and figures["refused"] == "no unknown object lies on it"
        else:
            assert shared[figures["marked"]] == max(shared.values())


def test_what_cannot_be_measured(world: OpenWorldModel, val: LabelledImages) -> None:
    with pytest.raises(InputError, match="no image 'x' with an object"):
        evaluate_wild(world, val, pairs=[("x", val.keys[0])])
    assert val.taxonomy == CITYSCAPES
