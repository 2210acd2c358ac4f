"""Measures `segment --engine`: each call measures one thing and writes a file of figures for experiments.render.

    python -m benchmarks.lake speed --out experiments/measured/scale --engine local
    python -m benchmarks.lake speed --out experiments/measured/scale --engine ray --workers 1        and --workers 2
    python -m benchmarks.lake kills --out experiments/measured/scale   200 frames; a worker dies every 25, drivers twice
    python -m benchmarks.lake memory --out experiments/measured/scale  peak memory of 200 and of 2,000 frames
    python -m benchmarks.lake cost --out experiments/measured/scale    seconds and bytes of a frame, a region and a row

Frames are synthetic streets, the world is a shipped one at a small working size: what is measured is the engine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.dataset as ds
from benchmarks.queues import middle_rate
from PIL import Image

from ignota.heap import keep_freed_memory
from ignota.lake.frames import read_span
from ignota.lake.on_ray import Pool, tables_on_ray
from ignota.lake.parts import Parts, sole_writer
from ignota.lake.rows import as_table, frame_row, tables_here, take_threads
from ignota.lake.segmenting import Lake, left, segment_lake
from ignota.lake.sources import LakeFile, Source, sources
from ignota.lake.spans import Finished, spans
from ignota.storage import bundle
from ignota.storage.seals import world_fingerprint
from ignota.synthetic.streets import SyntheticStreets
from ignota.world.region_rows import region_rows

WORLD = "camvid-8+3"
KILL_EVERY, DRIVER_DIES = 25, (70, 140)
_DIFFERENT = 16


def draw(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Numbered street images; only a few of them differ, as drawing takes longer than segmenting."""
    folder.mkdir(parents=True)
    streets = SyntheticStreets("anomaly", _DIFFERENT, size, 3)
    for number in range(count):
        Image.fromarray(streets[number % _DIFFERENT].image).save(folder / f"{number:05d}.png")
    return folder


def drive(args: argparse.Namespace, frames: Path, rows: Path, tick: Any = None) -> dict[str, Any]:
    """One run of an engine over all that is left, in this process: its times, and CPU seconds by who spent them."""
    arrivals: list[tuple[float, int]] = []
    first: dict[str, float] = {}
    clocks = Clocks()

    def came(count: int) -> None:
        if not arrivals:
            first.update(clocks.read())
        arrivals.append((time.perf_counter(), count))
        if tick is not None:
            tick(count)

    if args.engine == "local":
        take_threads(1)
    world = bundle.load(args.world, size=args.size)
    state = world_fingerprint(world)
    spent: dict[str, float] = {}

    def watched(tables: Iterable[Any]) -> Iterator[Any]:
        """Looks at the clocks with every table, as Ray's processes are gone when the last was taken."""
        for table in tables:
            spent.update(clocks.read())
            yield table

    def engine(work: Any) -> Iterator[Any]:
        if args.engine == "local":
            return watched(tables_here(world, state, work))
        pool = Pool(args.world, state, args.workers, size=args.size)
        return watched(tables_on_ray(work, pool))

    with sole_writer(str(rows)):
        lake = Lake(tuple(sources([str(frames)], str(rows))), str(rows), state)
        work, _ = left(lake)
        began = time.perf_counter()
        outcome = segment_lake(work, engine, Parts(str(rows)), came)
        ended = time.perf_counter()
    after = sum(count for _, count in arrivals[1:])
    return {
        "engine": args.engine,
        "workers": args.workers if args.engine == "ray" else 1,
        "frames": outcome.done,
        "errors": outcome.errors,
        "seconds": ended - began,
        "start": arrivals[0][0] - began,
        "per_second": after / (ended - arrivals[0][0]),
        "per_second_in_the_middle": middle_rate(arrivals),
        "per_second_with_start": outcome.done / (ended - began),
        "cpu_per_frame": {who: (spent[who] - first.get(who, 0.0)) / after for who in spent},
    }


class Clocks:
    """CPU seconds of this process and of those that it started, by what they do; those that ended are remembered."""

    def __init__(self) -> None:
        self.spent: dict[int, tuple[str, float]] = {}

    def read(self) -> dict[str, float]:
        me = psutil.Process()
        self.spent[me.pid] = ("driver", sum(me.cpu_times()[:2]))
        for child in me.children(recursive=True):
            try:
                what, seconds = role(child), sum(child.cpu_times()[:2])
            except psutil.Error:
                continue
            before = self.spent.get(child.pid, (what, 0.0))[0]
            self.spent[child.pid] = (before if what == "idle" else what, seconds)
        found: Counter[str] = Counter()
        for what, seconds in self.spent.values():
            found["readers" if what == "idle" else what] += seconds
        return dict(found)


def role(process: psutil.Process) -> str:
    """By the title that Ray gives its processes; a reader is idle between two units of work."""
    name = " ".join(process.cmdline())
    if name.startswith("ray::MapWorker"):
        return "workers"
    if name.startswith("ray::IDLE"):
        return "idle"
    return "readers" if "(read)" in name else "ray"


def measure_speed(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    with contextlib.suppress(PermissionError):
        os.nice(-15)  # before others' work, where that is allowed: it is not to be measured
    frames = draw(scratch / "frames", args.frames, (args.size, args.size * 4 // 3))
    return drive(args, frames, scratch / "rows")


def measure_kills(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Drivers as processes of their own, which tell each finished frame; this one kills."""
    frames, rows = draw(scratch / "frames", 200, (args.size, args.size * 4 // 3)), scratch / "rows"
    call = [sys.executable, "-m", "benchmarks.lake", "drive", "--out", str(args.out), "--world", args.world]
    call += ["--size", str(args.size), "--workers", str(args.workers), "--engine", "ray", "--folder", str(scratch)]
    finished, deaths, drivers, rng = 0, 0, 0, np.random.default_rng(args.seed)
    while True:
        process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if not line.strip().isdigit():  # Ray tells of the deaths as well
                continue
            before, finished = finished, finished + int(line)
            if before // KILL_EVERY != finished // KILL_EVERY:
                alive = [each for each in psutil.Process(process.pid).children(recursive=True) if is_worker(each)]
                if alive:
                    alive[int(rng.integers(len(alive)))].kill()
                    deaths += 1
            if drivers < len(DRIVER_DIES) and finished >= DRIVER_DIES[drivers]:
                drivers += 1
                process.send_signal(signal.SIGKILL)
                break
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.returncode
    images = Counter(row["image"] for row in ds.dataset(rows, partitioning="hive").to_table(["image"]).to_pylist())
    return {
        "frames": len(list(frames.iterdir())),
        "rows": images.total(),
        "frames_with_one_row": sum(count == 1 for count in images.values()),
        "workers_killed": deaths,
        "drivers_killed": drivers,
        "frames_done_again": finished - images.total(),
    }


def is_worker(process: psutil.Process) -> bool:
    try:
        return role(process) == "workers"
    except psutil.Error:
        return False


def measure_memory(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for count in (200, 2000):
        folder = scratch / str(count)
        draw(folder / "frames", count, (args.size, args.size * 4 // 3))
        call = [sys.executable, "-m", "benchmarks.lake", "drive", "--out", str(args.out), "--world", args.world]
        call += ["--size", str(args.size), "--workers", str(args.workers), "--engine", args.engine]
        process = subprocess.Popen([*call, "--folder", str(folder)], stdout=subprocess.DEVNULL)
        samples = []
        while process.poll() is None:
            samples.append(memory(process.pid))
            time.sleep(0.5)
        assert process.returncode == 0
        late = samples[len(samples) // 2 :]
        found[str(count)] = {"peak": max(samples), "median_of_second_half": statistics.median(late)}
    grown = found["2000"]["peak"] / found["200"]["peak"]
    return {"engine": args.engine, "workers": args.workers, "bytes": found, "peak_ratio": grown}


def memory(pid: int) -> int:
    """Bytes of a process and of all that it started, shared pages counted once (PSS)."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def measure_cost(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Seconds of one thread for each step of a frame at a camera's size, and the bytes of its row."""
    take_threads(1)
    world = bundle.load(args.world, size=None)
    size = (720, 960)
    frames = draw(scratch / "frames", 2 * _DIFFERENT, size)
    state = world_fingerprint(world)
    lake = Lake(tuple(sources([str(frames)], str(scratch / "rows"))), str(scratch / "rows"), state)
    work, _ = left(lake)
    seconds: dict[str, list[float]] = {name: [] for name in ("read", "segment", "row", "regions")}
    tables, regions = [], 0
    for span in work:
        reader = read_span(span)
        for _ in span.files:
            began = time.process_time()
            frame = next(reader)
            seconds["read"].append(time.process_time() - began)
            began = time.process_time()
            scene = world.segment(frame.pixels)  # type: ignore[arg-type]
            count = len(scene.unknown)
            seconds["segment"].append(time.process_time() - began)
            began = time.process_time()
            region_rows(scene)
            seconds["regions"].append(time.process_time() - began)
            regions += count
            began = time.process_time()
            tables.append(as_table([frame_row(world, state, frame)]))
            seconds["row"].append(time.process_time() - began)
    began = time.process_time()
    parts = Parts(str(scratch / "rows"))
    for table in tables:
        parts.add(table)
    parts.flush()
    write = time.process_time() - began
    stored = sum(path.stat().st_size for path in (scratch / "rows").rglob("*.parquet"))
    count = len(tables)
    read, segment, row, region = (sum(seconds[name][2:]) / (count - 2) for name in seconds)
    began = time.process_time()
    for source in lake.sources:
        left(Lake((source,), lake.out, state))
    back = time.process_time() - began
    return {
        "size": [world.networks.size, size[0], size[1]],
        "frames": count,
        "regions_per_frame": regions / count,
        "seconds": {
            "read": read, "segment": segment, "row": max(row - segment, 0.0),
            "region": region * count / max(regions, 1), "write": write / count, "read_back": back / count,
        },
        "bytes": {"image": sum(p.stat().st_size for p in frames.iterdir()) / count, "row": stored / count,
                  "planned": planned_bytes(),
                  "in_memory": sum(table.nbytes for table in tables) / count},
    }  # fmt: skip


def planned_bytes(count: int = 20_000) -> float:
    """What a driver holds of each frame of its call: address, state, place in the list of work, id once it is done."""
    tracemalloc.start()
    files = tuple(
        LakeFile(f"/data/fleet/drive-0001/front/{n:08d}.png", f"size={n} mtime={n / 7}") for n in range(count)
    )
    source = Source("/data/fleet/drive-0001/front", "image", files)
    work = list(spans(source, Finished({}, {}), "0" * 16, 1))
    texts = [span.to_json() for span in work]
    ids = {bytes.fromhex(span.frame_id(file, None)) for span in work for file in span.files}
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ids) == count and texts
    return held / count


def measure_drive(args: argparse.Namespace, _: Path) -> dict[str, Any]:
    """A driver that another measurement starts: prints the number of rows as they come."""
    lock = threading.Lock()

    def tick(count: int) -> None:
        with lock:
            sys.stdout.write(f"{count}\n")
            sys.stdout.flush()

    drive(args, args.folder / "frames", args.folder / "rows", tick)
    return {}


MEASUREMENTS = {
    "speed": measure_speed, "kills": measure_kills, "memory": measure_memory, "cost": measure_cost,
    "drive": measure_drive,
}  # fmt: skip


def main() -> None:
    keep_freed_memory()  # as every command
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", choices=("local", "ray"), default="ray")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--world", default=WORLD)
    parser.add_argument("--size", type=int, default=192, help="short side of frames and of the working image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_worker_niceness", "0")  # as the plain loop; by default Ray stands back for all others
    with tempfile.TemporaryDirectory(prefix="ignota-lake-") as scratch:
        found = MEASUREMENTS[args.what](args, Path(scratch))
    if args.what == "drive":
        return
    name = f"speed-{args.engine}-{found['workers']}" if args.what == "speed" else args.what
    head = {"world": args.world, "size": args.size, "cores": os.cpu_count(), "machine": platform.machine()}
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(head | found, indent=2)
    (args.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
