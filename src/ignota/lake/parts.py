"""Rows on disk: Parquet files in one folder per source, written atomically, and read back to find finished work.

The part files are the only record of what was done: there is no second one that could say something else.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ignota.data.drafts import is_ours, sweep
from ignota.data.files import one_line
from ignota.lake.sources import Source, address, faults, is_local, located, opened, write_whole
from ignota.lake.spans import Finished, frame_id
from ignota.structures import InputError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, BYTES = 256, 32_000_000
"""Rows wait in memory until there are so many, or so many bytes."""
SOON, LATE = 1.0, 30.0
"""Seconds that they wait at most: few at first, then twice as many each time. A kill costs no more than that."""
_KEYS = ["id", "image", "frame", "frames", "error"]
Again = Literal["all", "errors"]
"""What is done once more though it is there."""


@contextmanager
def sole_writer(out: str) -> Iterator[None]:
    """Keeps a second command from writing to `out`, where it lies on this machine; raises InputError for the second."""
    fs, path = located(out)
    if not is_local(fs):
        with nullcontext():
            yield
        return
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{one_line(out)} is no folder: name another --out")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        if not is_ours(lock.fileno()):
            raise InputError(f"another command writes to {one_line(out)}: wait, or name another --out")
        yield


def settle(out: str, source: Source, world: str, again: Again | None = None) -> Finished:
    """What is finished of a source. Rows of its files that another world or an older file gave, or that are there
    twice, go first, so that no frame has two; again: all rows of its files go, or those that hold an error."""
    files = {file.uri: file for file in source.files}
    found = Finished({}, {})
    seen: set[str] = set()

    def kept(key: dict[str, Any]) -> bool:
        file = files.get(key["image"])
        if file is None:
            return True  # of a file that this call does not name
        if again == "all" or (again == "errors" and key["error"] is not None):
            return False
        if key["id"] in seen or key["id"] != frame_id(world, file, key["frame"]):
            return False
        seen.add(key["id"])
        found.frames.setdefault(file.uri, set()).add(key["frame"])
        if key["frames"] is not None:
            found.totals[file.uri] = max(key["frames"], found.totals.get(file.uri, 0))
        return True

    for part in _parts(out, source.name):
        _keep_only(part, kept)
    return found


class Parts:
    """Collects rows and writes them as part files below `out`; rows that are still held are lost with the process,
    which does their frames again."""

    def __init__(self, out: str, rows: int = ROWS) -> None:
        self.out, self.rows, self._wait = out, rows, SOON
        self._held: list[pa.Table] = []
        self._seen: set[bytes] = set()
        self._since = time.monotonic()

    def add(self, table: pa.Table) -> int:
        """Takes rows in, whatever their sources, and returns how many; a frame that was seen before is dropped."""
        fresh = []
        for number, text in enumerate(table.column("id").to_pylist()):
            if (id_ := bytes.fromhex(text)) not in self._seen:
                self._seen.add(id_)
                fresh.append(number)
        if fresh:
            self._held.append(table if len(fresh) == table.num_rows else table.take(fresh))
        held = sum(held.num_rows for held in self._held)
        late = held > 0 and time.monotonic() - self._since > self._wait
        if late or held >= self.rows or sum(held.nbytes for held in self._held) >= BYTES:
            self._wait = min(2 * self._wait, LATE) if late else self._wait
            self.flush()
        return len(fresh)

    def flush(self) -> None:
        """Writes what is held."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._held:
            return
        table = pa.concat_tables(self._held)
        for name in sorted(set(table.column("source").to_pylist())):
            rows = table.filter(pc.equal(table.column("source"), name)).drop_columns(["source"])
            _write(self.out, name, rows.sort_by([("image", "ascending"), ("frame", "ascending")]))
        self._held = []
        self._since = time.monotonic()


def _write(out: str, name: str, table: pa.Table) -> None:
    digest = hashlib.sha256("".join(table.column("id").to_pylist()).encode()).hexdigest()[:16]
    write_whole(f"{out.rstrip('/')}/source={name}/part-{digest}.parquet", _encoded(table))


def _encoded(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _parts(out: str, name: str) -> list[str]:
    fs, path = located(f"{out.rstrip('/')}/source={name}")
    if is_local(fs):
        sweep(Path(path))
    try:
        found = fs.ls(path, detail=False) if fs.isdir(path) else []
    except faults() as error:
        raise InputError(f"cannot read {one_line(out)}: {one_line(error)[:200]}") from None
    names = (each for each in found if each.endswith(".parquet") and "/." not in each)
    return sorted(address(fs, each) for each in names)


def _keep_only(part: str, kept: Callable[[dict[str, Any]], bool]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with opened(part) as stream, pq.ParquetFile(stream) as table:
            keys = table.read(columns=_KEYS).to_pylist()
            mask = [kept(key) for key in keys]
            rest = None if all(mask) else table.read().filter(pa.array(mask))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{one_line(part)} is no part file ({one_line(error)[:120]}): remove it, and its frames are done again"
        ) from None
    if rest is None:
        return
    if rest.num_rows:
        write_whole(part, _encoded(rest))
        return
    fs, path = located(part)
    fs.rm(path)
