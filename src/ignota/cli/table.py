"""regions.parquet: the unknown regions of all results in a folder, one row each, written atomically."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ignota.cli.resuming import read_result
from ignota.data.drafts import draft_file
from ignota.data.files import as_text, natural_key, one_line
from ignota.structures import InputError

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
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    options = {"compression": "zstd", "write_page_checksum": True}
    with draft_file(out / TABLE) as stream, pq.ParquetWriter(stream, _schema(), **options) as writer:
        for held in _held(_results(out, names, others)):
            writer.write_table(pa.Table.from_batches(held))
            count += sum(batch.num_rows for batch in held)
    return count


def _results(out: Path, names: Sequence[str], others: bool) -> Iterator[pa.RecordBatch]:
    """The rows of each result; raises InputError for one that is damaged."""
    import pyarrow as pa

    first = dict.fromkeys(names)
    rest = (path.stem for path in out.glob("*.json") if others and path.stem not in first)
    for name in (*first, *sorted(rest, key=natural_key)):
        path = out / f"{name}.json"
        result = read_result(path)
        if result is None:
            continue
        try:
            yield pa.RecordBatch.from_pylist(_rows(name, result), schema=_schema())
        except (pa.ArrowException, ArithmeticError, AttributeError, TypeError, ValueError) as error:
            raise InputError(
                f"{one_line(path)} is damaged ({one_line(error)[:80]}): remove it and run the same command again"
            ) from None


def _rows(name: str, result: dict[str, Any]) -> list[dict[str, Any]]:
    made_by = {key: result["made_by"].get(key) for key in ("world", "perception")}
    of_image = {key: result.get(key) for key in ("image", "frame", "width", "height")}
    return [{"name": as_text(name), **of_image, **region, **made_by} for region in result.get("regions", ())]


def _held(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches together until they have some hundred rows, as each write makes a row group."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(each.num_rows for each in held) >= _ROWS_AT_ONCE:
            yield held
            held = []
    if held:
        yield held


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
