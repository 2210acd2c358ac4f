"""The results of `segment`: which are finished, and regions.parquet, the table of their unknown regions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ignota.cli.inputs import PARTS
from ignota.data.drafts import draft_file
from ignota.data.files import as_text, natural_key, one_line
from ignota.perception.branch import BRANCH_SCORES
from ignota.scores.fitted_scores import code_of
from ignota.storage.seals import perception_fingerprint, world_fingerprint
from ignota.structures import InputError
from ignota.world.labelling import systems_of
from ignota.world.model import OpenWorldModel

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_RESULT = 50_000_000
TABLE = "regions.parquet"
_ROWS_AT_ONCE = 512


def image_fingerprint(path: Path) -> str:
    """16 hexadecimal digits of a file's size and time of change: a hash of its content would read all of it again."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return hashlib.sha256(f"{state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:16]


def makers(world: OpenWorldModel, form: str = "") -> dict[str, str]:
    """What a result tells of the world that made it: its fingerprint after `form`, and that of its perception alone,
    which does not change when the world is taught."""
    state = f"{form} {world_fingerprint(world)}".strip()
    return {"world": state, "perception": perception_fingerprint(world)}


def method_form(world: OpenWorldModel, method: str) -> str:
    """What tells results of a method from those of `raml`: its name, and the weights of the branch that it runs on."""
    if method == "raml":
        return ""
    systems = systems_of((method,))
    return " ".join([method, *(world.branch(system).networks.digest[:16] for system in systems)])


def score_marks(world: OpenWorldModel, scores: Sequence[str]) -> dict[str, str]:
    """What tells maps of a score from those of another world: perception, size and backend, as teaching changes none,
    the weights of the branch that the score runs on, and the code of a plugin."""
    networks = world.networks
    common = f"{perception_fingerprint(world)} {networks.size} {networks.backend}"
    marks = {}
    for score in scores:
        parts = re.split(r"[:+]", score)
        systems = sorted({BRANCH_SCORES[part] for part in parts if part in BRANCH_SCORES})
        own = [*(world.branch(system).networks.digest[:16] for system in systems), *map(code_of, parts)]
        marks[score] = " ".join([common, *filter(None, own)])
    return marks


def made_by(makers: dict[str, str], image: Path) -> dict[str, str]:
    """The `made_by` of a result."""
    return makers | {"image": image_fingerprint(image)}


def is_finished(out: Path, name: str, made_by: dict[str, str]) -> bool:
    """Whether all results of an image are there and come from this world and this image; NAME.json is written last."""
    if not all((out / f"{name}{part}").is_file() for part in PARTS):
        return False
    result = read_result(out / f"{name}.json")
    return bool(made_by["image"]) and result is not None and result.get("made_by") == made_by


def read_result(path: Path) -> dict[str, Any] | None:
    """A NAME.json of `segment`; None for whatever else is called so."""
    try:
        if path.stat().st_size > LARGEST_RESULT or not path.is_file():
            return None
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("made_by"), dict) else None


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
