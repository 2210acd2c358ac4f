"""regions.parquet read back, and every way in which it may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ignota.discovery.region_table import read_table
from ignota.formats.rle import decode_rle
from ignota.structures import InputError

Rows = list[dict[str, Any]]
FEATURES = 12
PERCEPTION = "0123456789abcdef"


def test_rows_come_back_as_they_were(rows: Rows, write: Callable[..., Path]) -> None:
    rows[3]["frame"] = 7
    found = read_table(write(rows), FEATURES, PERCEPTION)
    assert len(found) == len(rows)
    for i, row in enumerate(rows):
        assert found.place(i) == (row["image"], -1 if row["frame"] is None else row["frame"])
        assert found.boxes[i].tolist() == row["box"]
        assert (found.areas[i], found.scores[i]) == (row["area"], row["score"])
        np.testing.assert_allclose(found.vectors[i], row["embedding"], atol=1e-6)
        assert (found.mask(i) == decode_rle(row["rle"])).all()
    assert found.shares[0] == rows[0]["area"] / (48 * 96)


def test_relative_images_are_sought_beside_the_table(rows: Rows, write: Callable[..., Path], tmp_path: Path) -> None:
    for row in rows:
        row["image"] = "here.png"
    (tmp_path / "here.png").touch()
    assert read_table(write(rows), FEATURES, PERCEPTION).path(0) == tmp_path / "here.png"


def test_an_empty_table_has_no_regions(rows: Rows, write: Callable[..., Path]) -> None:
    import pyarrow.parquet as pq

    path = write(rows)
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert read_table(path, FEATURES, PERCEPTION).vectors.shape == (0, FEATURES)


@pytest.mark.parametrize("column", ["name", "image", "width", "height", "box", "rle", "area", "score", "embedding"])
def test_a_missing_column_is_named(rows: Rows, write: Callable[..., Path], column: str) -> None:
    for row in rows:
        del row[column]
    with pytest.raises(InputError, match=f"no column '{column}'"):
        read_table(write(rows), FEATURES, PERCEPTION)


WRONG: dict[str, tuple[str, Any]] = {
    "text for a number": ("area", "many"),
    "a fraction for a count": ("area", 3.5),
    "truth for a count": ("area", True),
    "nothing at all": ("area", 0),
    "more than the image": ("area", 48 * 96 + 1),
    "a number for a name": ("name", 5),
    "bytes for a path": ("image", b"a.png"),
    "a wide image": ("width", 2_000_000),
    "a number for a box": ("box", 4),
    "a short box": ("box", [1, 2, 3]),
    "an empty box": ("box", [30, 4, 30, 8]),
    "a box outside": ("box", [0, 0, 97, 4]),
    "a negative corner": ("box", [-1, 0, 9, 4]),
    "text for a score": ("score", "high"),
    "no score": ("score", float("nan")),
    "a large score": ("score", 1.5),
    "text for a mask": ("rle", "abc"),
    "a mask of another size": ("rle", {"size": [10, 10], "counts": "0"}),
    "a mask without counts": ("rle", {"size": [48, 96], "counts": None}),
    "text for a vector": ("embedding", ["a"] * FEATURES),
    "a number for a vector": ("embedding", 0.5),
    "a hole in a vector": ("embedding", [None] + [0.3] * (FEATURES - 1)),
    "NaN in a vector": ("embedding", [float("nan")] + [0.3] * (FEATURES - 1)),
    "infinity in a vector": ("embedding", [float("inf")] + [0.3] * (FEATURES - 1)),
    "a long vector": ("embedding", [1.0] * FEATURES),
    "no vector": ("embedding", [0.0] * FEATURES),
    "an empty cell": ("score", None),
    "a text for a frame": ("frame", "first"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_values_are_refused_in_one_line(rows: Rows, write: Callable[..., Path], fault: str) -> None:
    column, value = WRONG[fault]
    alone = value is None or value != value  # Parquet has one type a column: other faults are those of all rows
    for row in rows[5:6] if alone else rows:
        row[column] = value
    path = write(rows)
    with pytest.raises(InputError) as refused:
        read_table(path, FEATURES, PERCEPTION)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_embeddings_of_another_world_are_refused(rows: Rows, write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="have 12 numbers, those of this world 800"):
        read_table(write(rows), 800, PERCEPTION)


@pytest.mark.parametrize(
    ("given", "said"),
    [("fedcba9876543210", "another world found its"), (None, "does not tell which world"), (3, "another world")],
)
def test_regions_of_another_world_are_refused(
    rows: Rows, write: Callable[..., Path], given: str | None, said: str
) -> None:
    for row in rows[-1:] if given is None else rows:
        row["perception"] = given
    with pytest.raises(InputError, match=said) as refused:
        read_table(write(rows), FEATURES, PERCEPTION)
    assert "regions.parquet" in str(refused.value)


def test_tables_of_older_versions_are_refused(rows: Rows, write: Callable[..., Path]) -> None:
    for row in rows:
        del row["perception"]
    with pytest.raises(InputError, match="does not tell which world"):
        read_table(write(rows), FEATURES, PERCEPTION)


def test_the_digest_tells_any_change(rows: Rows, write: Callable[..., Path]) -> None:
    digest = read_table(write(rows), FEATURES, PERCEPTION).digest
    assert digest == read_table(write(rows, "other.parquet"), FEATURES, PERCEPTION).digest
    assert digest != read_table(write(rows[::-1]), FEATURES, PERCEPTION).digest
    rows[0]["score"] += 1e-9
    assert digest != read_table(write(rows), FEATURES, PERCEPTION).digest


def test_a_damaged_mask_is_told_when_it_is_needed(rows: Rows, write: Callable[..., Path]) -> None:
    rows[2]["rle"] = {"size": [48, 96], "counts": "~~~"}
    with pytest.raises(InputError, match="region 2 of s0"):
        read_table(write(rows), FEATURES, PERCEPTION).mask(2)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(50) + b"PAR1", b"name,image\n"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "regions.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_table(path, FEATURES, PERCEPTION)
    with pytest.raises(InputError, match="is no file"):
        read_table(tmp_path / "none.parquet", FEATURES, PERCEPTION)
