"""Rows of a regions.parquet about pictures of synthetic streets, without any network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ignota.formats.rle import encode_rle
from ignota.synthetic.streets import SyntheticStreets

FEATURES = 12
PERCEPTION = "0123456789abcdef"
SIZE = (48, 96)


@pytest.fixture(scope="session")
def street_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four synthetic streets; never changed by a test."""
    folder = tmp_path_factory.mktemp("streets")
    streets = SyntheticStreets("anomaly", 4, SIZE, 3)
    paths = [folder / f"s{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        Image.fromarray(streets[i].image).save(path)
    return paths


@pytest.fixture
def rows(street_files: list[Path]) -> list[dict[str, Any]]:
    """Ten regions on each picture, in two bunches of directions."""
    rng = np.random.default_rng(0)
    made = []
    for path in street_files:
        for i in range(10):
            mask = np.zeros(SIZE, bool)
            mask[4 * i : 4 * i + 4, 20 : 30 + i] = True
            vector = np.eye(FEATURES)[i % 2] + 0.1 * rng.normal(size=FEATURES)
            made.append(
                {
                    "name": path.stem, "image": str(path), "frame": None, "width": SIZE[1], "height": SIZE[0],
                    "box": [20, 4 * i, 30 + i, 4 * i + 4], "rle": encode_rle(mask), "area": int(mask.sum()),
                    "score": 0.6 + 0.03 * i, "nearest": "road", "world": "", "perception": PERCEPTION,
                    "embedding": (vector / np.linalg.norm(vector)).tolist(),
                }
            )  # fmt: skip
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as regions.parquet."""

    def written(rows: list[dict[str, Any]], name: str = "regions.parquet") -> Path:
        path = tmp_path / name
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path

    return written
