from __future__ import annotations

import numpy as np
import pytest

from ignota.structures import InputError, Preprocessing, RegionSet


@pytest.mark.parametrize("ids", [np.zeros((2, 3), np.int64), np.zeros((2, 3, 1), np.int32), np.zeros(3, np.int32)])
def test_a_region_map_is_two_dimensional_int32(ids):
    with pytest.raises(ValueError, match="'H W' int32"):
        RegionSet(ids, 0)


def test_an_empty_region_set():
    assert RegionSet(np.zeros((0, 0), np.int32), 0).count == 0


def test_input_errors_are_value_errors():
    assert issubclass(InputError, ValueError)


def test_preprocessing_is_that_of_the_shipped_encoder():
    assert Preprocessing() == Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
