"""docs/performance-backends.md: backends of inference and the training step, as benchmarks/backends.py measured them.

The folder holds backends.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.pages.markdown import head, read, table

BASELINE = "float32, contiguous"
TAIL = "\n## How it is done"
"""Where the page goes on by hand."""


def described(machine: dict[str, Any]) -> str:
    has = "with" if machine["bfloat16"] else "without"
    return (
        f"{machine['processor']}, {machine['threads']} threads, {has} bfloat16 instructions; torch {machine['torch']}, "
        f"ONNX Runtime {machine['onnxruntime']}, Python {machine['python']}"
    )


def times(found: dict[str, Any]) -> str:
    """One table a world and size."""
    parts = []
    for entry in found.values():
        rows, base = entry["rows"], entry["rows"][BASELINE]
        height, width = entry["seen"]
        cells = [
            [name, f"{1000 * row['networks']:.0f}", f"{base['networks'] / row['networks']:.2f}",
             f"{1000 * row['segment']:.0f}", f"{base['segment'] / row['segment']:.2f}"]
            for name, row in rows.items()
        ]  # fmt: skip
        cells += [[name, fault, "", "", ""] for name, fault in entry["faults"].items()]
        columns = ["backend", "networks, ms", "× as fast", "`segment`, ms", "× as fast"]
        parts.append(
            f"`{entry['world']}`, an image of 1280×720 that its networks see at {width}×{height}:\n\n"
            + table(columns, cells)
        )
    machine = next(iter(found.values()))["machine"]
    return "## An image\n\n" + described(machine) + ".\n\n" + "\n".join(parts)


def accuracy(found: dict[str, Any]) -> str:
    """What each backend changes."""
    parts = []
    for entry in found.values():
        base = entry["rows"][BASELINE]
        columns = ["backend", "labels changed, %", "unknown or not changed, %", "mIoU, %", "Δ, points"]
        novel = "aupr" in base
        columns += ["AUPR of `raml`, %", "Δ, points"] if novel else []
        cells = []
        for name, row in entry["rows"].items():
            cell = [name, f"{100 * row['labels']:.3f}", f"{100 * row['unknown']:.3f}"]
            for key in ("miou", "aupr") if novel else ("miou",):
                cell += [f"{100 * row[key]:.2f}", f"{100 * (row[key] - base[key]):+.2f}"]
            cells.append(cell)
        share = "all" if entry["images"] == entry["of"] else f"{entry['images']}, evenly spaced, of the"
        parts.append(f"`{entry['world']}`, {share} {entry['of']} images of CamVid val:\n\n" + table(columns, cells))
    return "## What they change\n\n" + "\n".join(parts)


def training(found: dict[str, Any]) -> str:
    """Ratios of a step."""
    base = found["rows"][BASELINE]
    cells = [[name, f"{1000 * taken:.0f}", f"{base / taken:.2f}"] for name, taken in found["rows"].items()]
    return (
        "## A training step\n\nClosed set, 480×352, batch 8, forward, backward and optimiser; "
        + described(found["machine"])
        + ".\n\n"
        + table(["way", "ms", "× as fast"], cells)
        + "\nWhere the processor has no bfloat16 instructions, training stays in float32, channels last.\n"
    )


def written(page: str, folder: Path) -> str:
    """The page: its own head and end, between them the sections whose figures are there."""
    figures = read(folder / "backends.json")
    kinds = {"times": times, "accuracy": accuracy, "training": training}
    text = "\n".join(write(figures[name]) for name, write in kinds.items() if name in figures)
    return head(page) + text + "".join(page.partition(TAIL)[1:])
