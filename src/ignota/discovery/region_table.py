"""Unknown regions of many images as columns, read from the regions.parquet of `segment` and `discover`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ignota.data.files import as_name, one_line
from ignota.formats.rle import decode_rle
from ignota.structures import InputError

LARGEST_SIDE = 100_000
_UNIT = 1e-2
_PERCEPTION = "perception"
_OPTIONAL = ("frame", _PERCEPTION)
"""Columns that older tables lack, or that hold empty cells."""
_COLUMNS = ("name", "image", "width", "height", "box", "rle", "area", "score", "embedding")
_AT_ONCE = 4096
_LARGEST = 2**53


@dataclass(frozen=True)
class RegionTable:
    """Unknown regions, one a row.

    images: path of each one's image as it was given. frames: number of the frame in a video, -1 for an image file.
    sizes: "R 2" (H, W). boxes: "R 4" left, top, right, bottom. counts: packed COCO RLE. areas: pixels. scores: anomaly
    in 0..1. vectors: "R F" unit embeddings, float32. base: folder against which relative paths are tried as well.
    """

    names: tuple[str, ...]
    images: tuple[str, ...]
    frames: Int[np.ndarray, " R"]
    sizes: Int[np.ndarray, "R 2"]
    boxes: Int[np.ndarray, "R 4"]
    counts: tuple[str, ...]
    areas: Int[np.ndarray, " R"]
    scores: Float[np.ndarray, " R"]
    vectors: Float[np.ndarray, "R F"]
    base: Path

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shares(self) -> Float[np.ndarray, " R"]:
        """Area as a share of the image."""
        return self.areas / np.maximum(self.sizes.prod(1), 1)

    def place(self, row: int) -> tuple[str, int]:
        """The image of a row and the number of its frame."""
        return self.images[row], int(self.frames[row])

    def mask(self, row: int) -> Bool[np.ndarray, "H W"]:
        """The region on its image; raises InputError for a damaged one."""
        try:
            return decode_rle({"size": self.sizes[row].tolist(), "counts": self.counts[row]})
        except InputError as error:
            raise InputError(f"region {row} of {one_line(self.names[row])}: {error}") from None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all rows in their order, wherever their table lies."""
        found = hashlib.sha256(json.dumps([self.names, self.images, self.counts]).encode())
        for array in (self.frames, self.sizes, self.boxes, self.areas, self.scores, self.vectors):
            found.update(f"{array.dtype} {array.shape};".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def only(self, rows: Sequence[int]) -> RegionTable:
        """These rows in this order."""
        picked = list(rows)
        return RegionTable(
            tuple(self.names[row] for row in picked), tuple(self.images[row] for row in picked), self.frames[picked],
            self.sizes[picked], self.boxes[picked], tuple(self.counts[row] for row in picked), self.areas[picked],
            self.scores[picked], self.vectors[picked], self.base,
        )  # fmt: skip

    def path(self, row: int) -> Path:
        """Where the image lies: as written, or else below the folder of the table."""
        path = Path(as_name(self.images[row]))
        return path if path.exists() or path.is_absolute() else self.base / path


def read_table(path: Path, features: int, perception: str) -> RegionTable:
    """Reads a regions.parquet whose embeddings have `features` numbers, checking every value.

    perception: fingerprint of the world that must have found the regions. Raises InputError for whatever is no such
    table, and for regions of another world.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{one_line(path)} is no file: name a regions.parquet that `ignota segment` wrote, or images")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as table:
            missing = [name for name in _COLUMNS if name not in table.schema_arrow.names]
            if missing:
                raise InputError(
                    f"{one_line(path)} has no column {missing[0]!r}: name a regions.parquet of `ignota segment`"
                )
            columns = [*_COLUMNS, *(name for name in _OPTIONAL if name in table.schema_arrow.names)]
            batches = [_checked(batch, features, perception) for batch in table.iter_batches(_AT_ONCE, columns=columns)]
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(path)} cannot be read ({one_line(error)[:120]}): write it again") from None
    except _Wrong as wrong:
        raise InputError(f"{one_line(path)}: {wrong}: write it again with `ignota segment`") from None
    return _concatenated(batches, features, path.parent)


class _Wrong(Exception):
    """What is wrong with a table."""


def _checked(batch: Any, features: int, perception: str) -> dict[str, Any]:
    """The columns of a record batch as arrays, each value in its range."""
    _check_world(batch, perception)
    for name in batch.schema.names:
        if name not in _OPTIONAL and batch.column(name).null_count:
            raise _Wrong(f"column {name!r} has empty cells")
    rows = batch.num_rows
    found: dict[str, Any] = {
        "name": _texts(batch.column("name").to_pylist(), "name"),
        "image": _texts(batch.column("image").to_pylist(), "image"),
        "frame": _numbers([-1 if v is None else v for v in batch.column("frame").to_pylist()], "frame", (rows,), -1)
        if "frame" in batch.schema.names
        else np.full(rows, -1, np.int64),
        "box": _numbers(batch.column("box").to_pylist(), "box", (rows, 4), 0),
        "area": _numbers(batch.column("area").to_pylist(), "area", (rows,), 1),
        "score": _floats(batch.column("score").to_pylist(), "score", (rows,)),
        "vector": _vectors(batch.column("embedding"), features),
    }
    if any("/" in name or "\0" in name for name in found["name"]):
        raise _Wrong("a name is a path")
    size = [_numbers(batch.column(name).to_pylist(), name, (rows,), 1) for name in ("height", "width")]
    found["size"] = np.stack(size, 1)
    rle = _call(lambda: [(r["counts"], tuple(r["size"])) for r in batch.column("rle").to_pylist()], "rle", "masks")
    found["counts"] = _texts([counts for counts, _ in rle], "rle")
    _check_values(found, [size for _, size in rle])
    return found


def _check_world(batch: Any, perception: str) -> None:
    """Raises _Wrong for rows that another world gave, or that do not tell which."""
    given = batch.column(_PERCEPTION).to_pylist() if _PERCEPTION in batch.schema.names else [None] * batch.num_rows
    if None in given:
        raise _Wrong("it does not tell which world found its regions, as tables of older versions")
    if any(each != perception for each in given):
        raise _Wrong("another world found its regions")


def _check_values(found: dict[str, Any], rle_sizes: list[tuple[Any, ...]]) -> None:
    sizes, box, score = found["size"], found["box"], found["score"]
    if (sizes > LARGEST_SIDE).any():
        raise _Wrong(f"an image is said to be wider or higher than {LARGEST_SIDE:,} pixels")
    if any(size != (h, w) for size, (h, w) in zip(rle_sizes, sizes.tolist(), strict=True)):
        raise _Wrong("a mask has another size than its image")
    inside = (box[:, :2] < box[:, 2:]).all(1) & (box[:, 2] <= sizes[:, 1]) & (box[:, 3] <= sizes[:, 0])
    if not inside.all():
        raise _Wrong("a box is empty or lies outside its image")
    if ((score < 0) | (score > 1)).any():
        raise _Wrong("a score lies outside 0..1")
    if (found["area"] > sizes.prod(1)).any():
        raise _Wrong("an area is larger than its image")
    if (abs(np.linalg.norm(found["vector"], axis=1) - 1) > _UNIT).any():
        raise _Wrong("an embedding is not of unit length")


def _call(read: Any, column: str, wanted: str) -> Any:
    try:
        return read()
    except Exception:  # whatever a column of another type makes of it
        raise _Wrong(f"column {column!r} does not hold {wanted}") from None


def _texts(values: list[Any], column: str) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise _Wrong(f"column {column!r} does not hold text")
    return values


def _numbers(values: Any, column: str, shape: tuple[int, ...], least: int) -> Int[np.ndarray, ...]:
    array = _call(lambda: np.array(values).reshape(shape), column, "whole numbers")
    if array.size and (array.dtype.kind not in "iu" or array.min() < least or array.max() > _LARGEST):
        raise _Wrong(f"column {column!r} does not hold whole numbers of {least} or more")
    return np.asarray(array.astype(np.int64))


def _floats(values: Any, column: str, shape: tuple[int, ...]) -> Float[np.ndarray, ...]:
    array = _call(lambda: np.array(values, np.float64).reshape(shape), column, "numbers")
    if not np.isfinite(array).all():
        raise _Wrong(f"column {column!r} holds numbers that are none (NaN or infinite)")
    return np.asarray(array)


def _vectors(column: Any, features: int) -> Float[np.ndarray, "R F"]:
    """The embeddings without a Python number for each of theirs."""
    import pyarrow.compute as pc

    lengths = _call(lambda: set(pc.list_value_length(column).to_pylist()), "embedding", "lists of numbers")
    if lengths - {features}:
        raise InputError(
            f"the embeddings have {min(lengths - {features})} numbers, those of this world {features}: name the world "
            "that wrote the table, or the images themselves"
        )
    flat = _call(lambda: column.flatten().to_numpy(zero_copy_only=False), "embedding", "lists of numbers")
    return _floats(flat, "embedding", (len(column), features)).astype(np.float32)


def _concatenated(batches: Iterable[dict[str, Any]], features: int, base: Path) -> RegionTable:
    listed = list(batches)

    def stacked(key: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.concatenate([np.empty((0, *shape), dtype), *(batch[key] for batch in listed)])

    def texts(key: str) -> tuple[str, ...]:
        return tuple(text for batch in listed for text in batch[key])

    return RegionTable(
        texts("name"), texts("image"), stacked("frame", (), np.int64), stacked("size", (2,), np.int64),
        stacked("box", (4,), np.int64), texts("counts"), stacked("area", (), np.int64),
        stacked("score", (), np.float64), stacked("vector", (features,), np.float32), base,
    )  # fmt: skip
