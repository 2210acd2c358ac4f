"""COCO's run-length encoding, byte for byte against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as oracle

from ignota.formats.rle import counts_mask, decode_mask, encode_labels, encode_mask, mask_counts

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
MASKS = SIZES.flatmap(lambda size: arrays(np.bool_, size))


def theirs(mask: np.ndarray) -> str:
    return oracle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@given(MASKS)
def test_bytes_are_those_of_pycocotools(mask: np.ndarray) -> None:
    text = encode_mask(mask)
    assert text == theirs(mask)
    np.testing.assert_array_equal(decode_mask(text, mask.shape), mask)
    decoded = oracle.decode({"size": list(mask.shape), "counts": text.encode()})
    np.testing.assert_array_equal(decoded.astype(bool), mask)


@given(SIZES.flatmap(lambda size: arrays(np.uint8, size, elements=st.sampled_from([0, 1, 7, 254]))))
def test_each_value_of_a_label_map_has_its_mask(labels: np.ndarray) -> None:
    found = encode_labels(labels)
    assert list(found) == np.unique(labels).tolist()
    for value, rle in found.items():
        assert rle == {"size": list(labels.shape), "counts": theirs(labels == value)}


def _ring() -> np.ndarray:
    y, x = np.mgrid[:700, :900]
    radius = np.hypot(y - 350, x - 450)
    return (radius < 300) & (radius > 120)


LARGE = {
    "a ring": _ring(),
    "empty": np.zeros((700, 900), bool),
    "full": np.ones((700, 900), bool),
    "a chess board": np.indices((301, 401)).sum(0) % 2 == 1,
    "noise": np.random.default_rng(1).random((400, 500)) < 0.3,
    "its last pixel": np.arange(600_000).reshape(600, 1000) == 599_999,
}


@pytest.mark.parametrize("case", LARGE)
def test_large_masks(case: str) -> None:
    mask = LARGE[case]
    text = encode_mask(mask)
    assert text == theirs(mask)
    np.testing.assert_array_equal(decode_mask(text, mask.shape), mask)
    np.testing.assert_array_equal(counts_mask(mask_counts(mask).tolist(), mask.shape), mask)
    assert oracle.area({"size": list(mask.shape), "counts": text.encode()}) == mask.sum()


WRONG = {
    "nothing": ("", "cut short"),
    "too short": ("4", "cover 4 pixels"),
    "too long": ("d0" + "5" * 50, "do not fit|cover"),
    "cut": (encode_mask(_ring())[:-1] + "P", "cut short"),
    "a foreign letter": ("4 4", "cut short or hold letters"),
    "no ASCII": ("4é", "letters"),
    "a number without end": ("P" * 20 + "0", "too large"),
    "a negative run": ("O9", "whole numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_counts_are_told(case: str) -> None:
    text, part = WRONG[case]
    with pytest.raises(ValueError, match=part):
        decode_mask(text, (4, 2))


@pytest.mark.parametrize("counts", [[3, 4], [-1, 9], [[8]], [8.0], [10**30], ["8"], [0] * 50, None])
def test_wrong_uncompressed_counts_are_told(counts: list[int]) -> None:
    with pytest.raises(ValueError, match=r"runs|counts"):
        counts_mask(counts, (4, 2))


@given(st.text(alphabet=st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_no_text_breaks_it(text: str) -> None:
    try:
        mask = decode_mask(text, (5, 7))
    except ValueError:
        return
    assert mask.shape == (5, 7)
