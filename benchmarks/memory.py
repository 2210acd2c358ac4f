"""Bytes by which a fresh process grows at most, for what `peak` is asked.

In a process that ran before, memory that was freed and kept would hide it; so each question has a process of its own.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from benchmarks.racing import peak_memory


def peak(question: str) -> float:
    """Megabytes for one of `QUESTIONS`, 0 where the system does not tell."""
    command = [sys.executable, "-m", "benchmarks.memory", question]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def forward() -> None:
    """An image of 2048×1024 passes the segmenter."""
    from benchmarks.test_paths_stages import Street

    Street("cpu")


def forward_and_stage() -> None:
    """The same, and the anomaly stage after it while its features are kept."""
    from benchmarks.test_paths_stages import Street

    Street("cpu").anomaly()


def curves() -> None:
    """A hundred million pixels, a million at a time, for AUPR, AUROC and FPR95."""
    from ignota.functional.curves import add_scores, curve_from_histogram, curve_metrics, empty_histogram

    counts = empty_histogram()
    for _ in range(100):
        add_scores(counts, IMAGE[0], IMAGE[1])
    curve_metrics(curve_from_histogram(counts.numpy()))


QUESTIONS = {"forward": forward, "forward and stage": forward_and_stage, "curves": curves}
IMAGE: tuple[np.ndarray, np.ndarray] = (np.empty(0), np.empty(0))

if __name__ == "__main__":
    from ignota.functional.curves import histogram

    rng = np.random.default_rng(0)
    IMAGE = rng.standard_normal(10**6, np.float32), rng.random(10**6) < 0.05
    histogram(IMAGE[0][:9], IMAGE[1][:9])  # what is loaded at the first call is not of the question
    with peak_memory() as found:
        QUESTIONS[sys.argv[1]]()
    print(found.get("grown", 0) / 1e6)
