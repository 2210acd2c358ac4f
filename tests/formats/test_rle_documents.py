"""The run-length code, byte for byte against pycocotools, and untrusted input."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from ignota.formats.rle import decode_rle, encode_rle
from ignota.structures import InputError

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


def shapes() -> list[np.ndarray]:
    yy, xx = np.mgrid[:720, :1280]
    ring = np.hypot(yy - 300, xx - 700)
    noise = np.random.default_rng(0).random((300, 200)) > 0.5
    return [
        (ring < 200) & (ring > 90),
        noise,
        np.ones((5, 7), bool),
        np.zeros((5, 7), bool),
        np.ones((3000, 2000), bool),
    ]


@pytest.mark.parametrize("number", range(5))
def test_large_masks_against_pycocotools(number: int) -> None:
    mask = shapes()[number]
    found = encode_rle(mask)
    assert found["counts"] == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(decode_rle(found), mask)


@given(MASKS)
@settings(max_examples=200, deadline=None)
def test_any_mask_against_pycocotools(mask: np.ndarray) -> None:
    found = encode_rle(mask)
    assert found["counts"] == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(decode_rle(found), mask)
    runs = coco.frPyObjects({"size": found["size"], "counts": _runs(mask)}, *found["size"])
    assert runs["counts"].decode() == found["counts"]
    assert np.array_equal(decode_rle({"size": found["size"], "counts": _runs(mask)}), mask)


def _runs(mask: np.ndarray) -> list[int]:
    runs, value = [0], False
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            runs.append(0)
            value = not value
        runs[-1] += 1
    return runs


HOSTILE: list[dict[str, Any]] = [
    {},
    {"size": [2, 2]},
    {"size": [2], "counts": "4"},
    {"size": [0, 4], "counts": ""},
    {"size": [10**9, 10**9], "counts": "4"},
    {"size": [2, 2], "counts": ""},
    {"size": [2, 2], "counts": "é"},
    {"size": [2, 2], "counts": "oooooooooooo"},
    {"size": [2, 2], "counts": "4" * 100},
    {"size": [2, 2], "counts": [5]},
    {"size": [2, 2], "counts": [8, -4]},
    {"size": [2, 2], "counts": [2**70]},
    {"size": [2, 2], "counts": [1.5, "x"]},
    {"size": [2, 2], "counts": 4},
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_codes_are_refused(number: int) -> None:
    with pytest.raises(InputError):
        decode_rle(HOSTILE[number])


@given(st.text(alphabet=[chr(c) for c in range(40, 120)], max_size=60), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_mask_or_refused(text: str, height: int, width: int) -> None:
    try:
        mask = decode_rle({"size": [height, width], "counts": text})
    except InputError:
        return
    assert mask.shape == (height, width)
