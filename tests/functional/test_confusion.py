import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score

from ignota.functional import confusion as module
from ignota.functional.confusion import confusion_matrix, harmonic_mean, iou, mean_iou, stolen_pixels
from ignota.structures import InputError

CLASSES = 4


def pictures(seed: int = 0, shape: tuple[int, ...] = (2, 6, 7)) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    target = rng.choice([0, 1, 2, 3, 255], shape).astype(np.uint8)
    prediction = rng.choice([0, 1, 2, 3, 254, 255], shape).astype(np.uint8)
    return torch.from_numpy(target), torch.from_numpy(prediction)


DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")),
]


def slow_confusion(target: torch.Tensor, prediction: torch.Tensor, classes: int) -> np.ndarray:
    expected = np.zeros((classes, classes + 1), np.int64)
    for t, p in zip(target.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if t != 255:
            expected[t, p if 0 <= p < classes else classes] += 1
    return expected


@pytest.mark.parametrize("block", [1 << 18, 5])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_matrix_equals_the_loops(dtype, device, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    target, prediction = pictures()
    out = confusion_matrix(target.to(device, dtype), prediction.to(device, dtype), CLASSES)
    assert out.dtype == torch.int64
    np.testing.assert_array_equal(out.cpu().numpy(), slow_confusion(target, prediction, CLASSES))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 1000), st.booleans(), st.booleans())
def test_any_number_of_classes_and_any_prediction(classes, seed, repeated, foreign):
    """Up to 254 classes there is a faster way; predictions beyond 8 bits end it halfway."""
    rng = np.random.default_rng(seed)
    target = torch.from_numpy(rng.choice([*range(min(classes, 255)), 255], 60))
    prediction = torch.from_numpy(rng.integers(0, 256, 60))
    if repeated:
        target, prediction = target[:3].repeat_interleave(20), prediction[:3].repeat_interleave(20)
    if foreign:
        prediction[-2:] = torch.tensor([-1, 2**40])
    found = confusion_matrix(target.view(6, 10), prediction.view(10, 6).T.reshape(6, 10), classes)
    expected = slow_confusion(target, prediction.view(10, 6).T.reshape(-1), classes)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_matrix_equals_scikit_learn():
    target, prediction = pictures(1)
    seen = (target != 255) & (prediction < CLASSES)
    expected = sklearn_confusion(target[seen], prediction[seen], labels=range(CLASSES))
    np.testing.assert_array_equal(confusion_matrix(target, prediction, CLASSES)[:, :CLASSES].numpy(), expected)


def test_unknown_is_an_error_of_the_true_class():
    out = confusion_matrix(torch.tensor([1, 1]), torch.tensor([1, 254]), 2)
    assert out.tolist() == [[0, 0, 0], [0, 1, 1]]
    assert iou(out)[1].item() == 0.5
    negative = confusion_matrix(torch.tensor([1, 0]), torch.tensor([-1, 0]), 2)
    assert negative.tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("label", [4, 5, 254, -1, 2**32])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(InputError, match=r"classes are 0\.\.3"):
        confusion_matrix(torch.tensor([0, label]), torch.tensor([0, 0]), CLASSES)


def test_inputs_stay_as_they_were():
    target, prediction = pictures()
    before = target.clone(), prediction.clone()
    for dtype in (torch.uint8, torch.int32, torch.int64):
        t, p = target.to(dtype), prediction.to(dtype)
        confusion_matrix(t, p, CLASSES)
        assert t.equal(before[0].to(dtype))
        assert p.equal(before[1].to(dtype))


def test_no_pixel():
    out = confusion_matrix(torch.zeros(0, dtype=torch.uint8), torch.zeros(0, dtype=torch.uint8), 3)
    assert out.tolist() == [[0] * 4] * 3
    assert iou(out).isnan().all()
    assert math.isnan(mean_iou(out))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 12))
def test_parts_add_up(seed, cut):
    target, prediction = pictures(seed, (12,))
    parts = [confusion_matrix(target[s], prediction[s], CLASSES) for s in (slice(cut), slice(cut, None))]
    assert (parts[0] + parts[1]).equal(confusion_matrix(target, prediction, CLASSES))


def test_iou_equals_scikit_learn():
    target, prediction = pictures(2)
    seen = target != 255
    expected = jaccard_score(target[seen], prediction[seen], labels=range(CLASSES), average=None)
    np.testing.assert_allclose(iou(confusion_matrix(target, prediction, CLASSES)).numpy(), expected, rtol=1e-12)


def test_mean_iou_leaves_absent_classes_out():
    out = confusion_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 4)
    assert mean_iou(out) == pytest.approx(0.5)
    assert mean_iou(out, [0, 3]) == pytest.approx(0.5)
    assert math.isnan(mean_iou(out, [2, 3]))
    assert mean_iou(out[:, :4], [1]) == pytest.approx(0.5)


def test_harmonic_mean():
    assert harmonic_mean(0.683, 0.365) == pytest.approx(0.4757, abs=1e-4)  # the paper's Table E prints 47.5
    assert harmonic_mean(0.0, 0.0) == 0
    assert math.isnan(harmonic_mean(math.nan, 0.5))


def test_stolen_pixels_name_thief_and_victim():
    target = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    prediction = torch.tensor([3, 3, 2, 2, 0, 3, 0])
    stolen = stolen_pixels(confusion_matrix(target, prediction, CLASSES), known=[0, 1], novel=[2, 3])
    assert stolen.tolist() == [[0, 1], [2, 0]]
