"""Average precision of unknown objects against pycocotools and against the benchmark's rules, object by object."""

from __future__ import annotations

import contextlib
import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage

from ignota.metrics.instances import OVERLAPS, SMALLEST, InstanceMetrics
from ignota.structures import InputError

Image = tuple[np.ndarray, np.ndarray, np.ndarray]


def image(seed: int) -> Image:
    """Objects near true ones and elsewhere, their scores, and a label with void and a speck."""
    rng = np.random.default_rng(seed)
    label, objects = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.int32)
    number = 0
    for top, left in ((2, 3), (2, 45), (32, 3), (32, 45)):
        height, width = rng.integers(5, 20, 2)
        if rng.random() < 0.8:
            label[top : top + height, left : left + width] = 1
        if rng.random() < 0.85:
            number += 1
            dy, dx = rng.integers(-2, 3, 2)
            objects[max(0, top + dy) : top + dy + height, max(0, left + dx) : left + dx + width] = number
    label[rng.integers(0, 40) :, 70:] = 255
    label[57:59, 30:33] = 1  # too small to count
    objects[57:59, 30:34] = number + 1
    objects[50:58, 69 - seed % 5 : 75] = number + 2  # between half and nine tenths on void
    return objects, np.round(rng.random(number + 2), 1), label  # rounded, so that some are equal


def state_of(images: list[Image]) -> InstanceMetrics:
    state = InstanceMetrics()
    for i, one in enumerate(images):
        state.update(f"{i}", *one)
    return state


def slow_average_precision(images: list[Image], overlap: float) -> float:
    """Every object with every true one, then precision and recall at every score, as Cityscapes' script does."""
    hits, misses, true = [], [], 0
    for objects, scores, label in images:
        ids, count = ndimage.label(label == 1, np.ones((3, 3)))
        truths = [ids == i for i in range(1, count + 1)]
        small = np.logical_or.reduce([t for t in truths if t.sum() < SMALLEST] + [label == 255])
        truths = [t for t in truths if t.sum() >= SMALLEST]
        true += len(truths)
        for i, score in enumerate(scores):
            pixels = objects == i + 1
            if not pixels.any():
                continue
            best = max(((pixels & t).sum() / (pixels | t).sum() for t in truths), default=0.0)
            if best > overlap:
                hits.append(score)
            elif (pixels & small).sum() / pixels.sum() <= overlap:
                misses.append(score)
    points = [(0.0, 1.0)]
    for limit in sorted({*hits, *misses}, reverse=True):
        tp, fp = sum(s >= limit for s in hits), sum(s >= limit for s in misses)
        points.append((tp / true, tp / (tp + fp)))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_the_benchmark(seed: int) -> None:
    images = [image(10 * seed + i) for i in range(6)]
    found = state_of(images).compute()
    each = [slow_average_precision(images, overlap) for overlap in OVERLAPS]
    assert found == {"ap": pytest.approx(np.mean(each)), "ap50": pytest.approx(each[0])}
    assert 0.05 < np.mean(each) < 0.95


def coco(images: list[Image]) -> Any:
    """pycocotools' own matching: void and specks are one crowd an image; overlaps are strictly greater there, too."""
    truths, guesses = [], []
    for i, (objects, scores, label) in enumerate(images):
        ids, count = ndimage.label(label == 1, np.ones((3, 3)))
        crowd = label == 255
        for n in range(1, count + 1):
            if (ids == n).sum() < SMALLEST:
                crowd |= ids == n
            else:
                truths.append((i, ids == n, 0))
        truths.append((i, crowd, 1))
        guesses += [(i, objects == n + 1, score) for n, score in enumerate(scores) if (objects == n + 1).any()]
    dataset = COCO()
    dataset.dataset = {
        "images": [{"id": i, "height": 60, "width": 80} for i in range(len(images))],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": n + 1, "image_id": i, "category_id": 1, "segmentation": encoded(mask), "area": int(mask.sum()),
             "iscrowd": crowd}
            for n, (i, mask, crowd) in enumerate(truths)
        ],
    }  # fmt: skip
    results = [
        {"image_id": i, "category_id": 1, "segmentation": encoded(mask), "score": float(score)}
        for i, mask, score in guesses
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(results), "segm")
        evaluation.params.iouThrs = OVERLAPS + 1e-9
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def encoded(mask: np.ndarray) -> Any:
    return masks.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_matches_are_those_of_pycocotools() -> None:
    images = [image(100 + i) for i in range(8)]
    state, evaluation = state_of(images), coco(images)
    everything = [e for e in evaluation.evalImgs if e is not None and e["aRng"] == [0, 1e10]]
    assert len(everything) == len(images)
    for seen, right, left_out, (_, scores, _) in zip(everything, state.right, state.left_out, images, strict=True):
        order = np.argsort(-scores, kind="mergesort")
        ignored = np.asarray(seen["dtIgnore"])
        assert np.array_equal(left_out[:, order], ignored)
        assert np.array_equal(right[:, order], (np.asarray(seen["dtMatches"]) > 0) & ~ignored)
    assert np.concatenate(state.right, 1).any() and np.concatenate(state.left_out, 1).any()
    # The same matches under COCO's curve, of 101 recalls with precision made falling, give nearly the same area.
    assert evaluation.eval["precision"][..., 0, 0, -1].mean() == pytest.approx(state.compute()["ap"], abs=0.03)


def test_nothing_to_find_and_nothing_found() -> None:
    empty = np.zeros((20, 20), np.int32)
    label = np.zeros((20, 20), np.uint8)
    assert state_of([(empty, np.zeros(0), label)]).compute() == {"ap": None, "ap50": None}
    label[:5, :5] = 1
    assert state_of([(empty, np.zeros(0), label)]).compute() == {"ap": 0.0, "ap50": 0.0}
    whole = (label.astype(np.int32), np.ones(1), label)
    assert state_of([whole]).compute() == {"ap": 1.0, "ap50": 1.0}


def test_what_does_not_fit_is_refused() -> None:
    label = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="do not fit"):
        InstanceMetrics().update("a", np.ones((4, 4), np.int32), np.zeros(0), label)
    with pytest.raises(ValueError, match="do not fit"):
        InstanceMetrics().update("a", np.zeros((4, 5), np.int32), np.zeros(0), label)
    with pytest.raises(InputError):
        InstanceMetrics().update("a", np.zeros((4, 4), np.int32), np.zeros(0), label + np.uint8(7))
