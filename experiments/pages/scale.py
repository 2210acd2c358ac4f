"""The figures in docs/scale.md, between its marks, from what benchmarks/lake.py and benchmarks/queues.py measured.

The folder holds the files of RUNS. Prices are in dollars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.pages.markdown import marked, read, table

RUNS = ("speed-local-1", "speed-ray-1", "speed-ray-2", "kills", "memory", "cost", "queues")
CORES, FILL = 64, 0.9
"""Of a machine on paper: its cores, and the share of each second that they segment."""
_ROWS = 256
_YEAR = 365.25 * 24 * 3600
CORE_HOUR, GIGABYTE_MONTH, THOUSAND_WRITES = 0.04, 0.023, 0.005


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value == 0:
        return "0"
    digits = max(0, 3 - len(str(int(abs(value))))) if abs(value) >= 1 else 3
    text = f"{float(f'{value:.3g}'):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(value: float, units: Sequence[str], step: float = 1000.0) -> str:
    """With the largest unit that leaves a number of 1 or more."""
    place = 0
    while value >= step and place < len(units) - 1:
        value, place = value / step, place + 1
    return f"{number(value)} {units[place]}"


def size(value: float) -> str:
    return amount(value, ("B", "kB", "MB", "GB", "TB", "PB", "EB"))


def duration(seconds: float) -> str:
    for unit, length in (("years", _YEAR), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= length:
            return f"{number(seconds / length)} {unit}"
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(seconds * 1000)} ms"


def engines(runs: dict[str, Any]) -> str:
    local, one, two = (runs[name] for name in RUNS[:3])
    rows = [
        [what, number(run["per_second"]), number(run["per_second_with_start"]), number(run["start"])]
        for what, run in (("local, one thread", local), ("Ray, 1 worker", one), ("Ray, 2 workers", two))
    ]
    shown = table(["engine", "frames a second", "start counted", "seconds until the first row"], rows)
    return shown + (
        f"\n{local['frames']} frames of {local['size']}×{local['size'] * 4 // 3}, world `{local['world']}` at that"
        f" size, {local['cores']} cores. Ray with one worker reaches **{one['per_second'] / local['per_second']:.2f}**"
        f" of the plain loop, with two **{two['per_second'] / one['per_second']:.2f}** × one.\n"
    )


def deaths(runs: dict[str, Any]) -> str:
    kills = runs["kills"]
    return (
        f"{kills['frames']} frames, {kills['workers_killed']} workers and {kills['drivers_killed']} drivers killed by"
        f" SIGKILL: **{kills['frames_with_one_row']} frames have exactly one row** ({kills['rows']} rows in all); "
        f"{kills['frames_done_again']} frames were done twice, as their rows had not been written yet.\n"
    )


def memory(runs: dict[str, Any]) -> str:
    found = runs["memory"]
    rows = [[count, size(each["peak"]), size(each["median_of_second_half"])] for count, each in found["bytes"].items()]
    return table(["frames", "peak", "median of the second half"], rows) + (
        f"\nAll processes of the run together, shared pages once ({found['workers']} workers): the peak of 2,000 frames"
        f" is **{found['peak_ratio']:.2f}** of that of 200.\n"
    )


def costs(runs: dict[str, Any]) -> str:
    cost = runs["cost"]
    seconds, stored = cost["seconds"], cost["bytes"]
    rows = [
        ["read and decode a frame", duration(seconds["read"])],
        ["segment a frame", duration(seconds["segment"])],
        ["make its row, regions with it", duration(seconds["row"])],
        ["an unknown region (mask, embedding)", duration(seconds["region"])],
        ["write a stored row", duration(seconds["write"])],
        ["read a stored row back at the next start", duration(seconds["read_back"])],
        ["Ray and driver, a frame", duration(overhead(runs))],
        ["a stored row", size(stored["row"])],
        ["a stored region, all of the row counted", size(stored["row"] / max(cost["regions_per_frame"], 1))],
    ]
    short, height, width = cost["size"]
    return table(["one thread", "cost"], rows) + (
        f"\n{cost['frames']} synthetic streets of {width}×{height} (PNG, {size(stored['image'])} each), world "
        f"`{cost['world']}` at its own size (short side {short}), {number(cost['regions_per_frame'])} unknown regions a"
        " frame.\n"
    )


def overhead(runs: dict[str, Any]) -> float:
    """CPU seconds a frame of everything but workers and readers: what one driver can carry is limited by it."""
    cpu = runs["speed-ray-2"]["cpu_per_frame"]
    return float(cpu["driver"] + cpu.get("ray", 0.0))


def per_frame(runs: dict[str, Any]) -> float:
    """Core seconds of a frame, engine and all."""
    seconds = runs["cost"]["seconds"]
    return float(sum(seconds[name] for name in ("read", "segment", "row", "write")) + overhead(runs))


def plan(runs: dict[str, Any]) -> str:
    cost = runs["cost"]
    each, stored = per_frame(runs), cost["bytes"]["row"]
    driver, planned = runs["speed-ray-2"]["cpu_per_frame"]["driver"], cost["bytes"]["planned"]
    rows = []
    for name, frames, machines in (("10⁶", 1e6, 1), ("10⁹", 1e9, 100), ("10¹²", 1e12, 10_000)):
        core_hours = frames * each / 3600
        hours = core_hours / (machines * CORES * FILL)
        writes = frames / _ROWS / 1000 * THOUSAND_WRITES
        month = frames * stored / 1e9 * GIGABYTE_MONTH
        rows.append([
            name, number(core_hours), f"{machines:,} × {CORES} cores",
            number(math.ceil(machines * CORES / (each / driver))), duration(hours * 3600),
            size(frames * cost["bytes"]["image"]), size(frames * stored), number(frames / _ROWS),
            dollars(hours * machines * CORES * CORE_HOUR), dollars(writes), dollars(month),
        ])  # fmt: skip
    head = [
        "frames",
        "core hours",
        "machines",
        "calls",
        "time",
        "images read",
        "rows stored",
        "part files",
        "computing",
    ]
    head += ["writing", "storing, a month"]
    return table(head, rows) + (
        f"\n{duration(each)} of a core a frame, cores busy {FILL:.0%} of the time; {dollars(CORE_HOUR)} a core"
        f" hour, {dollars(GIGABYTE_MONTH)} a GB and month, {dollars(THOUSAND_WRITES)} a thousand writes."
        f" One driver spends {duration(driver)} on a frame, so it carries at most {number(1 / driver)} frames a second:"
        f" **{number(each / driver)} cores**. It holds {number(planned)} B of memory for each frame of its call:"
        f" {size(1e6 * planned)} for 10⁶, {size(1e9 * planned)} for 10⁹.\n"
    )


def dollars(value: float) -> str:
    return f"{number(value)} $" if value < 1e6 else f"{number(value / 1e6)} million $"


def queues(runs: dict[str, Any]) -> str:
    found = runs["queues"]
    rows = [
        [
            workers,
            number(each["measured"]),
            number(each["simulated"]),
            f"{100 * each['off']:+.1f} %",
            f"{100 * each['busy']:.0f} %",
        ]
        for workers, each in found.items()
        if workers.isdigit()
    ]
    return table(["workers", "measured, frames a second", "simulated", "off by", "a worker is busy"], rows)


NEEDS = {"deaths": "kills", "memory": "memory"}
MISSING = "Not measured yet.\n"
FIGURES = {"engines": engines, "deaths": deaths, "memory": memory, "costs": costs, "queues": queues}


def written(page: str, folder: Path) -> str:
    """The page with all figures replaced. Raises ValueError for a figure that the page has no marks for."""
    runs = {name: read(folder / f"{name}.json") for name in RUNS if (folder / f"{name}.json").exists()}
    texts = {name: figure(runs) if NEEDS.get(name, "cost") in runs else MISSING for name, figure in FIGURES.items()}
    return marked(page, texts | {"plan": plan(runs)})
