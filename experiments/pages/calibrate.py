"""docs/calibrate.md: what `experiments/calibration.py` measured, between the marks of the page.

The folder holds halves.json.
"""

from __future__ import annotations

from pathlib import Path

from experiments.pages.markdown import marked, read, table

COLUMNS = [
    "set", "recipe", "F1 fixed", "F1 target alone", "F1 calibrated", "gain, halves", "gain, images", "AUPR fixed",
    "AUPR calibrated", "target FPR", "FPR fixed", "FPR target alone", "FPR calibrated", "unknown, estimated",
]  # fmt: skip


def written(page: str, folder: Path) -> str:
    """The page with the figures replaced."""
    return marked(page, {"halves": f"\n{table(COLUMNS, read(folder / 'halves.json')['rows'])}\n"})
