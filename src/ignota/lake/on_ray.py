"""The frames of a lake on Ray Data: reading tasks, a pool of actors with one world each, one writer.

Ray keeps the number of frames between the steps bounded; what a worker that dies had in hand is done by another one.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ignota.backends.choosing import DEFAULT, with_backend
from ignota.data.files import one_line
from ignota.heap import keep_freed_memory
from ignota.lake.attempts import Attempts
from ignota.lake.frames import Frame, read_span
from ignota.lake.rows import as_table, empty_row, frame_row, schema, take_threads
from ignota.lake.spans import AT_ONCE, Span
from ignota.perception.known import RecipeChoice
from ignota.plugins import load_plugins
from ignota.storage import bundle
from ignota.storage.seals import world_fingerprint
from ignota.structures import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 16 << 20
_STORE, _STORE_EACH = 160 << 20, 80 << 20
_MOST_BLOCKS = 4096
_LIVES = 3
_DEADLY = f"{_LIVES} workers died of this frame, one after another"
_READERS = 2
_READER_CPUS = 0.25
"""A reader mostly waits for disk or network; the workers' cores are theirs."""

_PLAIN = tuple(field.name for field in fields(Frame) if field.name != "pixels")
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Of a Ray of one machine alone: what it listens on is 127.0.0.1, on every system. Ray reads it when it is imported."""


@dataclass(frozen=True)
class Pool:
    """The workers. world: path or name, as every one of them opens it; state: the fingerprint it must have there.

    device: `cuda` gives each worker a GPU. threads: of each worker. backend, calibration, tile: as `with_backend` takes
    them; the images lie at the same paths everywhere, as plugins do.
    """

    world: str
    state: str
    workers: int
    device: str = "cpu"
    threads: int = 1
    size: int | None = None
    allow_code: bool = False
    backend: str = DEFAULT
    calibration: tuple[Path, ...] = ()
    tile: int | None = None
    allow_download: bool = False
    recipe: RecipeChoice = "auto"
    plugins: tuple[Path, ...] = ()


class Segmenter:
    """One worker: opens the world once, then turns tables of frames into tables of rows.

    Work that a worker died of comes back to another one. That one goes on with care: frame by frame, and a frame that
    has cost `_LIVES` workers becomes a row that says so.
    """

    def __init__(self, pool: Pool, attempts: Any) -> None:
        keep_freed_memory()
        take_threads(pool.threads)
        load_plugins(pool.plugins)
        world = bundle.load(
            pool.world, pool.device, False, pool.size, pool.allow_code, pool.allow_download, pool.recipe
        )
        self.world = with_backend(world, pool.backend, pool.calibration, pool.tile)
        self.state, self.attempts = world_fingerprint(self.world), attempts
        if self.state != pool.state:
            raise InputError(f"{pool.world} is another world on {os.uname().nodename}: copy the same one there")

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        key = f"from {table.column('id')[0].as_py()}"
        careful = self._asked("begin", key) > 1
        for frame in unpacked(table):
            yield as_table([self._with_care(frame) if careful else self.row(frame)])
        self._asked("end", key)

    def row(self, frame: Frame) -> dict[str, Any]:
        return frame_row(self.world, self.state, frame)

    def _with_care(self, frame: Frame) -> dict[str, Any]:
        if self._asked("begin", frame.id) > _LIVES:
            return empty_row(self.state, replace(frame, error=_DEADLY))
        row = self.row(frame)
        self._asked("end", frame.id)
        return row

    def _asked(self, method: str, key: str) -> Any:
        import ray

        return ray.get(getattr(self.attempts, method).remote(key))


def check_ray() -> None:
    """Raises InputError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "--engine ray needs Ray: `pip install 'ignota[ray]'` brings it; --engine local gives the same rows"
        )


def tables_on_ray(work: Sequence[Span], pool: Pool, worker: type[Segmenter] = Segmenter) -> Iterator[pa.Table]:
    """Tables of rows in whatever order they come, each frame's once, whichever workers die.

    worker: what each member of the pool is. Ray is that of RAY_ADDRESS where it is set, else it is started here.
    """
    with _ray(pool) as ray:
        many = min(len(work), _MOST_BLOCKS)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = _BLOCK
        spans = ray.data.from_items([{"span": span.to_json()} for span in work], override_num_blocks=many)
        frames = spans.map_batches(
            read, batch_size=1, batch_format="pyarrow", num_cpus=_READER_CPUS, concurrency=_READERS
        )
        rows = frames.map_batches(
            worker,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=pool.workers, max_tasks_in_flight_per_actor=2),
            fn_constructor_args=(pool, ray.remote(num_cpus=0)(Attempts).remote()),
            num_cpus=pool.threads,
            num_gpus=1 if pool.device == "cuda" else None,
        )
        try:
            for table in rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
                yield table.cast(schema())
        except ray.exceptions.RayError as error:
            raise _explained(error) from error


def _explained(error: Exception) -> Exception:
    """What a worker raised, from the tracebacks that Ray tells it in."""
    found = re.findall(r"InputError: (.+)", str(error))
    return InputError(found[-1]) if found else RuntimeError(f"Ray ended the run: {one_line(error)[:300]}")


def read(table: pa.Table) -> Iterator[pa.Table]:
    """Frames of some spans, a few at a time; the step that Ray runs as tasks."""
    for text in table.column("span").to_pylist():
        held: list[Frame] = []
        for frame in read_span(Span.from_json(text)):
            held.append(frame)
            if len(held) == AT_ONCE:
                yield packed(held)
                held = []
        if held:
            yield packed(held)


def packed(frames: Sequence[Frame]) -> pa.Table:
    """Frames as a table that can travel."""
    import pyarrow as pa

    rows = [
        {name: getattr(frame, name) for name in _PLAIN}
        | {
            "size": None if frame.pixels is None else frame.pixels.shape[:2],
            "pixels": None if frame.pixels is None else frame.pixels.tobytes(),
        }
        for frame in frames
    ]
    numbers = ("frame", "frames")
    columns = {name: pa.int64() if name in numbers else pa.string() for name in _PLAIN}
    whole = pa.schema({**columns, "size": pa.list_(pa.int32()), "pixels": pa.large_binary()})
    return pa.Table.from_pylist(rows, schema=whole)


def unpacked(table: pa.Table) -> Iterator[Frame]:
    """The frames of such a table, one in memory at a time beside it."""
    for number in range(table.num_rows):
        row = {name: table.column(name)[number].as_py() for name in (*_PLAIN, "size")}
        size = row.pop("size")
        if size is None:
            yield Frame(**row)
            continue
        pixels = np.frombuffer(table.column("pixels")[number].as_buffer(), np.uint8).reshape(*size, 3)
        yield Frame(**row, pixels=pixels)


@contextmanager
def _ray(pool: Pool) -> Iterator[Any]:
    """Ray, started for this run unless it is there already, and quiet: faults come as rows, not as logs."""
    for name, value in (_QUIET if os.environ.get("RAY_ADDRESS") else _QUIET | _ON_LOOPBACK).items():
        os.environ.setdefault(name, value)
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("PYTHONPATH"):
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}}
    if not os.environ.get("RAY_ADDRESS"):
        options["num_cpus"] = pool.workers * pool.threads + 1
        options["object_store_memory"] = _STORE + _STORE_EACH * pool.workers
        options["include_dashboard"] = False
    with _deaf():
        ray.init(**options)
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _deaf() -> Iterator[None]:
    """Ray's own start-up lines go past Python straight to standard error, where only ours belong."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
