"""regions.parquet: the unknown regions of all results in a folder, one row each, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ignota.cli.resuming import read_result
from ignota.data.drafts import draft_file
from ignota.data.files import as_text, natural_key

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "regions.parquet"
_ROWS_AT_ONCE = 512


def can_write_tables() -> bool:
    """Whether pyarrow, the extra `parquet`, is installed."""
    return find_spec("pyarrow") is not None


def write_table(out: Path, names: Sequence[str], others: bool = True) -> int:
    """Writes the table of all results in `out` and returns its number of rows.

    names: those that come first, in this order; others: those not named follow, by name. The results are read one by
    one, so the table may be larger than memory; it is written beside its place, synced, then renamed.
    """
    import pyarrow.parquet as pq

    count = 0
    with draft_file(out / TABLE) as stream, pq.ParquetWriter(stream, _schema(), compression="zstd") as writer:
        for rows in _batches(_rows(out, names, others)):
            writer.write_batch(_record_batch(rows))
            count += len(rows)
    return count


def _rows(out: Path, names: Sequence[str], others: bool) -> Iterator[dict[str, Any]]:
    first = dict.fromkeys(names)
    rest = (path.stem for path in out.glob("*.json") if others and path.stem not in first)
    for name in (*first, *sorted(rest, key=natural_key)):
        result = read_result(out / f"{name}.json")
        if result is None:
            continue
        made_by = {key: result["made_by"].get(key) for key in ("world", "perception")}
        of_image = {key: result.get(key) for key in ("image", "frame", "width", "height")}
        for region in result.get("regions", ()):
            yield {"name": as_text(name), **of_image, **region, **made_by}


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) == _ROWS_AT_ONCE:
            yield held
            held = []
    if held:
        yield held


def _record_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist(rows, schema=_schema())


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        {
            "name": pa.string(),
            "image": pa.string(),
            "frame": pa.int64(),
            "width": pa.int32(),
            "height": pa.int32(),
            "box": pa.list_(pa.int32(), 4),
            "rle": pa.struct({"size": pa.list_(pa.int32(), 2), "counts": pa.string()}),
            "area": pa.int64(),
            "score": pa.float64(),
            "nearest": pa.string(),
            "embedding": pa.list_(pa.float32()),
            "world": pa.string(),
            "perception": pa.string(),
        }
    )
