"""`segment --engine`: a data lake to Parquet, one row per frame, in this process or on Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jsonargparse import Namespace

from ignota.cli.opening import calibration_images, chosen_device, opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.terminal import progress, say_unless_quiet
from ignota.data.files import as_name
from ignota.data.video import frame_count
from ignota.lake.parts import Parts, sole_writer
from ignota.lake.rows import take_threads
from ignota.lake.segmenting import Engine, Lake, Outcome, left, segment_lake
from ignota.lake.sources import sources
from ignota.lake.spans import Span
from ignota.storage import bundle
from ignota.storage.seals import world_fingerprint
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

if TYPE_CHECKING:
    import pyarrow as pa


def run_lake(args: Namespace) -> None:
    """The command; raises InputError where no frame could be read, now or before."""
    _check(args)
    take_threads(args.threads)  # before the world: a session of ONNX Runtime keeps the number it was opened with
    with opened_world(args) as world, sole_writer(args.out):
        state = world_fingerprint(world)
        lake = Lake(tuple(sources(args.images, args.out)), args.out, state, args.every)
        work, before = left(lake, "all" if args.again else "errors" if args.again_errors else None)
        engine = _here(world, state) if args.engine == "local" else _on_ray(state, args)
        with progress(_count(work), "segment", "frame", args.quiet) as bar:
            outcome = segment_lake(work, engine, Parts(args.out), bar.update)
    outcome.before = before
    say_unless_quiet(args, f"{_summary(outcome)} → {args.out}")
    if outcome.errors and outcome.errors == outcome.done and not before:
        raise InputError(outcome.fault)
    if outcome.errors:
        more = f" ({outcome.errors} frames like it)" if outcome.errors > 1 else ""
        sys.stderr.write(f"ignota: {outcome.fault}{more}; the row says so\n")


def _check(args: Namespace) -> None:
    if args.threads < 1 or (args.workers is not None and args.workers < 1):
        raise UsageError("--workers and --threads are 1 or more")
    if args.engine == "local" and args.workers not in (None, 1):
        raise UsageError(f"--engine local is one worker, not {args.workers}: take --engine ray, or --threads")
    if find_spec("pyarrow") is None:
        raise InputError("--engine writes Parquet, which needs pyarrow: `pip install 'ignota[parquet]'` brings it")
    if args.engine == "ray":
        from ignota.lake.on_ray import check_ray

        check_ray()


def _here(world: OpenWorldModel, state: str) -> Engine:
    from ignota.lake.rows import tables_here

    return lambda work: tables_here(world, state, work)


def _on_ray(state: str, args: Namespace) -> Engine:
    from ignota.lake.on_ray import Pool, tables_on_ray

    device = chosen_device(args).type
    present = torch.cuda.device_count() if device == "cuda" else (os.cpu_count() or 1) // args.threads
    world = str(bundle.find_world(args.world).absolute())
    calibration = tuple(path.absolute() for path in calibration_images(args.calibrate))
    pool = Pool(
        world, state, args.workers or max(1, present), device, args.threads, args.size, args.allow_code,
        args.backend, calibration, args.tile, args.allow_download, args.recipe,
        tuple(Path(file).absolute() for file in args.plugin),
    )  # fmt: skip

    def engine(work: Sequence[Span]) -> Iterable[pa.Table]:
        return tables_on_ray(work, pool)

    return engine


def _count(work: Sequence[Span]) -> int:
    """How many frames are left, roughly where there are videos."""
    return sum(len(span.files) if span.kind != "video" else _frames(span) for span in work)


def _frames(span: Span) -> int:
    try:
        return max(1, frame_count(Path(as_name(span.files[0].uri)), span.every) - len(span.done))
    except InputError:
        return 1  # a URL, or a fault that its row will tell


def _summary(outcome: Outcome) -> str:
    count = outcome.done + outcome.before
    before = f", {outcome.before} of them finished before" if outcome.before else ""
    errors = f", {outcome.errors} of them with an error" if outcome.errors else ""
    return f"{count} frame{'' if count == 1 else 's'}{before}{errors}"
