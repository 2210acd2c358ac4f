"""New classes get colours that differ clearly from all others."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab

from ignota.colours import distinct_colour
from ignota.taxonomy import TAXONOMIES, UNKNOWN_COLOUR


def difference(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    """As the eye sees it: ΔE of CIE 1976, which is another measure than the one that chooses."""
    left, right = (rgb2lab(np.array(colour, float) / 255) for colour in (a, b))
    return float(np.linalg.norm(left - right))


@pytest.mark.parametrize("name", TAXONOMIES)
def test_twelve_taught_classes_differ_from_all_known_ones_and_each_other(name: str) -> None:
    taken = [label.colour for label in TAXONOMIES[name].classes]
    for _ in range(12):
        colour = distinct_colour(taken)
        assert min(difference(colour, other) for other in [*taken, UNKNOWN_COLOUR]) > 18, colour
        taken.append(colour)


def test_the_first_one_is_far_from_the_colours_of_camvid() -> None:
    taken = [label.colour for label in TAXONOMIES["camvid"].classes]
    assert min(difference(distinct_colour(taken), other) for other in taken) > 45


def test_nothing_taken_or_everything_taken() -> None:
    first = distinct_colour([])
    assert first == distinct_colour([]) and all(0 <= value <= 255 for value in first)
    everything = [(r, g, b) for r in range(0, 256, 51) for g in range(0, 256, 51) for b in range(0, 256, 51)]
    assert len(distinct_colour(everything)) == 3
