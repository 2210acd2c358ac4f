"""Writes docs/performance-backends.md from docs/performance-backends.json, which benchmarks/backends.py leaves.

python docs/make_backends.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURES, PAGE = HERE / "performance-backends.json", HERE / "performance-backends.md"
BASELINE = "float32, contiguous"

HEAD = """# Backends and training

`--backend` selects what runs the large networks of a world; everything after them reads the same taps. `ignota
benchmark` measures all backends on your machine. The baseline is PyTorch in float32 with its default memory layout
(contiguous).

"""


TAIL = """
## How it is done, and what was tried

* **torch-bf16** (`models/precision.py`). Batch normalisation is folded into the preceding convolutions and checked by
  one pass. Convolutions before the image is reduced to an eighth of its sides stay in float32. With bfloat16
  throughout, more labels change than the target allows; keeping the last layers or the decoder in float32 instead
  does not help. The backend refuses to run on processors without bfloat16 instructions.
* **compile**. torch.compile compiles every image size separately, a minute or more each. It needs a C++ compiler and
  says so if there is none.
* **onnx** (`backends/onnx_running.py`). Each network is exported once for all sizes. Its labels equal those of
  float32.
* **onnx-int8** (`backends/quantising.py`). QDQ, weights by output channel, ranges from training images. The first and
  last layers stay in float32, and so does the whole frozen encoder. In 8 bits its features are far off, whichever
  convolutions are left out. Its activations have no outliers; the cause was not found.
* **Tiles** (`perception/tiles.py`). Neighbouring tiles overlap by a quarter; the outer half of the overlap is
  discarded. The result equals the whole image within the receptive field. Pooling over the whole image becomes
  pooling over a tile.
* **Training** (`training/closed_set_run.py`). Mixed precision in bfloat16, channels last, with a custom backward pass
  for depthwise convolutions (`models/depthwise.py`).
  - One further process decodes or draws, and augments. It persists over the epochs and caches decoded images within
    the
    memory limit.
  - A step copies nothing back from a GPU; the loss is read at every tenth step. `benchmarks/test_training.py`
    verifies this
    with CUDA, and is skipped where there is none.
* **After the networks** (regions, pooling, nearest neighbours) all backends do the same. The ratio of `segment` is
  therefore below that of the networks, most of all for small images.
"""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


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


def page(figures: dict[str, Any]) -> str:
    """The sections whose figures are there."""
    sections = {"times": times, "accuracy": accuracy, "training": training}
    return HEAD + "\n".join(write(figures[name]) for name, write in sections.items() if name in figures) + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(FIGURES.read_text(encoding="utf-8"))), encoding="utf-8")
