"""The whole loop on the built-in synthetic world, small enough for a laptop: what `ignota demo` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from ignota.engine.configuration import ExperimentConfig
from ignota.engine.experiment import REPORT, RESULTS, run_experiment


def run_demo(config: ExperimentConfig, out: Path, device: torch.device, quiet: bool) -> dict[str, Any]:
    """Trains, sees the unknown, learns it, measures; prints two tables and writes results and report to `out`."""
    results = run_experiment(config, out, None, device, quiet)
    if not quiet:
        console = Console()
        for table in demo_tables(results):
            console.print(table)
        console.print(f"Figures: {out / RESULTS}\nPictures: {out / REPORT}", soft_wrap=True)
    return results


def demo_tables(results: dict[str, Any]) -> list[Table]:
    """What the demonstration shows on the terminal."""
    closed = results["closed_set"]["miou"]
    seen = Table(title=f"See the unknown (closed set: {100 * closed:.1f} mIoU; pooled over all pixels, in percent)")
    for column in ("score", "AUPR", "AUROC", "FPR95"):
        seen.add_column(column, justify="left" if column == "score" else "right")
    for name in ("msp", "max_logit", "raml_paper", "raml"):
        figures = results["anomaly"]["scores"][name]["pooled"]
        seen.add_row(name, *(f"{100 * figures[key]:.1f}" for key in ("aupr", "auroc", "fpr95")))
    gain = results["anomaly"]["raml_minus_max_logit"]
    low, high = 100 * gain["low"], 100 * gain["high"]
    seen.caption = f"raml's AUPR minus max_logit's: {100 * gain['mean']:+.1f} (95 % interval {low:+.1f} to {high:+.1f})"
    learnt = Table(title="Learn it from 5 examples a class (mIoU, in percent)")
    for column in ("method", "all", "novel", "old", "harmonic"):
        learnt.add_column(column, justify="left" if column == "method" else "right")
    for name, found in results["incremental"]["5-shot"]["methods"].items():
        values = (found["miou"][key] for key in ("all", "novel", "old", "harmonic"))
        learnt.add_row(name, *("–" if value is None else f"{100 * value:.1f}" for value in values))
    return [seen, learnt]
