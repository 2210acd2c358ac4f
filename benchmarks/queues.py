"""Simulates the queues of `segment --engine ray` from the measured costs of one worker; predicts several.

    python -m benchmarks.queues --runs experiments/measured/scale [--workers 2] [--cores 2]

Readers put blocks of eight frames into a bounded queue, workers take them, one writer takes the rows. Whoever computes
needs a core; where there are fewer cores than that, they take turns. `--runs` is where benchmarks/lake.py wrote the run
of one worker, from which the seconds come, and that of N workers, which the simulation is compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simpy

TURN = 0.01
"""Seconds that a process has a core before the next one in line gets it."""
PIECE = 8
QUEUE = 8
"""Blocks that wait between readers and workers: what Ray Data lets lie in its object store, about."""

Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Costs:
    """CPU seconds of a frame to read, to segment, and to take and write its row; other: of Ray itself, each second."""

    read: float
    segment: float
    write: float
    other: float = 0.0


@dataclass(frozen=True)
class Predicted:
    """seconds: from the first block read to the last row written. per_second: rows after the first block. busy: share
    of the time each worker computes or waits for a core. waiting: the most blocks that waited for a worker."""

    seconds: float
    per_second: float
    busy: float
    waiting: int


def simulate(costs: Costs, frames: int, workers: int, cores: int, readers: int = 2) -> Predicted:
    """Runs the queues until every row is written. Raises ValueError for no frame, worker or core."""
    if min(frames, workers, cores, readers) < 1:
        raise ValueError("frames, workers, cores and readers are 1 or more each")
    env = simpy.Environment()
    core = simpy.Resource(env, cores)
    sizes = [min(PIECE, frames - start) for start in range(0, frames, PIECE)]
    left, read, rows = list(reversed(sizes)), simpy.Store(env, QUEUE), simpy.Store(env)
    busy, most = [0.0] * workers, 0
    done, arrivals = env.event(), list[tuple[float, int]]()

    def compute(seconds: float) -> Steps:
        while seconds > 1e-12:
            with core.request() as turn:
                yield turn
                spell = min(TURN, seconds)
                yield env.timeout(spell)
                seconds -= spell

    def reader() -> Steps:
        nonlocal most
        while left:
            size = left.pop()
            yield from compute(size * costs.read)
            yield read.put(size)
            most = max(most, len(read.items))

    def worker(number: int) -> Steps:
        while True:
            size = yield read.get()
            began = env.now
            yield from compute(size * costs.segment)
            busy[number] += env.now - began
            yield rows.put(size)

    def writer() -> Steps:
        missing = frames
        while missing:
            size = yield rows.get()
            yield from compute(size * costs.write)
            missing -= size
            arrivals.append((env.now, size))
        done.succeed()

    def ray() -> Steps:
        while True:
            yield from compute(TURN * costs.other)
            yield env.timeout(TURN * (1 - min(costs.other, 1)))

    for _ in range(readers):
        env.process(reader())
    for number in range(workers):
        env.process(worker(number))
    env.process(writer())
    if costs.other > 0:
        env.process(ray())
    env.run(done)
    rate = (frames - arrivals[0][1]) / (env.now - arrivals[0][0]) if len(arrivals) > 1 else float("nan")
    return Predicted(env.now, rate, sum(busy) / workers / env.now, most)


def middle_rate(arrivals: list[tuple[float, int]]) -> float:
    """Rows a second without the first and the last tenth: every worker is there, and none has run out of work. NaN for
    too few. arrivals: time and number of rows."""
    times, counts = np.array(arrivals).T
    done = np.cumsum(counts)
    inside = np.flatnonzero((done >= 0.1 * done[-1]) & (done <= 0.9 * done[-1]))
    first, last = int(inside[0]), int(inside[-1])
    return float((done[last] - done[first]) / (times[last] - times[first])) if last > first else float("nan")


def costs_of(run: dict[str, Any]) -> Costs:
    """What each frame of a measured run of one worker took of a core, by who took it.

    Of the worker the wall clock counts: it had a core to itself, and what it waited for, several will wait for too.
    """
    cpu = run["cpu_per_frame"]
    readers = max(cpu["readers"], 0.0)  # those that ended took their clocks along
    return Costs(readers, 1 / run["per_second"], cpu["driver"], cpu["ray"] * run["per_second"])


def compared(runs: Path, workers: int, cores: int) -> dict[str, Any]:
    """The run of one worker as it was and as it is simulated, and the same of `workers`."""
    measured = {n: json.loads((runs / f"speed-ray-{n}.json").read_text()) for n in (1, workers)}
    costs = costs_of(measured[1])
    found: dict[str, Any] = {"costs": vars(costs), "cores": cores}
    for n, run in measured.items():
        foretold = simulate(costs, run["frames"], n, cores)
        found[str(n)] = {
            "measured": run["per_second"], "simulated": foretold.per_second,
            "off": foretold.per_second / run["per_second"] - 1,
            "busy": foretold.busy, "waiting": foretold.waiting,
        }  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    text = json.dumps(compared(args.runs, args.workers, args.cores), indent=2)
    (args.runs / "queues.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
