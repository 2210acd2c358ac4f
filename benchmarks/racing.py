"""A race: floor, ours and references alternate in one run, so that the result is a ratio and not a time.

Nothing here depends on pytest; `conftest.py` provides races and stores their outcomes.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ignota.heap import keep_freed_memory

Run = Callable[[], object]

OURS = "ours"
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Bar:
    """What a ratio has to be. of, to: contestants; the ratio is the time of the first over that of the second."""

    of: str
    to: str
    least: float | None = None
    most: float | None = None


@dataclass
class Outcome:
    """What one race found. seconds: median of each contestant. rounds: how often each ran. notes: further figures."""

    name: str
    title: str
    device: str
    threads: int
    seconds: dict[str, float]
    rounds: dict[str, int]
    bars: list[dict[str, Any]]
    floor: str | None = None
    notes: dict[str, float | int | str] = field(default_factory=dict)

    def ratio(self, of: str, to: str) -> float:
        return self.seconds[of] / self.seconds[to]


def run_race(
    contestants: Mapping[str, Run],
    device: str,
    rounds: int = 9,
    seconds: float = 20.0,
    before: Run | None = None,
) -> tuple[dict[str, float], dict[str, int]]:
    """Median time and number of runs of each. They take turns; one that has used up its `seconds` drops out.

    Each runs once beforehand, unmeasured, unless that alone takes a quarter of its seconds: then that run counts.
    before: what makes ready for a run, not timed.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, run in contestants.items():
        first = timed(run, device, before)
        if first > seconds / 4:
            times[name].append(first)
    for _ in range(rounds):
        for name, run in contestants.items():
            if sum(times[name]) < seconds and (not times[name] or times[name][0] <= seconds / 4):
                times[name].append(timed(run, device, before))
    return {name: statistics.median(found) for name, found in times.items()}, {n: len(t) for n, t in times.items()}


def timed(run: Run, device: str, before: Run | None = None) -> float:
    """Seconds of one run, until the device is done."""
    if before is not None:
        before()
    _settle(device)
    start = time.perf_counter()
    run()
    _settle(device)
    return time.perf_counter() - start


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def judged(outcome: Outcome, bars: list[Bar]) -> list[dict[str, Any]]:
    """Each bar with the ratio that was found and whether it is met."""
    found = []
    for bar in bars:
        ratio = outcome.ratio(bar.of, bar.to)
        met = (bar.least is None or ratio >= bar.least) and (bar.most is None or ratio <= bar.most)
        found.append({**asdict(bar), "ratio": ratio, "met": met})
    return found


def bandwidth(device: str) -> float:
    """Bytes a second that a copy of 256 MB moves, read and written: the median of nine."""
    source = torch.rand(1 << 26, device=device)
    target = torch.empty_like(source)
    seconds = statistics.median(timed(lambda: target.copy_(source), device) for _ in range(9))
    return 2 * source.numel() * 4 / seconds


@contextmanager
def peak_memory() -> Iterator[dict[str, int]]:
    """Bytes by which the process grew at most meanwhile, under "grown" afterwards; Linux alone can tell."""
    found: dict[str, int] = {}
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        yield found
        return
    before = _kilobytes("VmRSS")
    yield found
    found["grown"] = (_kilobytes("VmHWM") - before) * 1024


def _kilobytes(field_name: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field_name))


def machine() -> dict[str, str | int]:
    """What ran it, in words that name no host."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        )
        if Path("/proc/cpuinfo").exists()
        else iter(()),
        platform.processor() or platform.machine(),
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "simd": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "numpy": np.__version__,
        "freed memory": "kept" if keep_freed_memory() else "given back",
    }
