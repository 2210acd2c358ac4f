"""The tiny world, opened; pictures and masks for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ignota.storage import bundle
from ignota.synthetic.streets import SyntheticStreets
from ignota.world.model import OpenWorldModel


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Iterator[OpenWorldModel]:
    """A copy of the tiny world that a test may teach."""
    opened = bundle.load(shutil.copytree(trained, tmp_path / "world"), writable=True)
    yield opened
    opened.store.close()


@pytest.fixture(scope="session")
def photos() -> list[NDArray[np.uint8]]:
    """Synthetic streets with unknown things."""
    streets = SyntheticStreets("anomaly", 3, (60, 120), 5)
    return [streets[i].image for i in range(3)]
