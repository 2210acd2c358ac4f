"""docs/results.md: what the shipped worlds measure.

The folder holds RUN.json, the `results.json` of each run, and RUN-DATASET.json, which `ignota evaluate anomaly DATASET`
wrote for the world of that run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.pages.markdown import anomalies, head, incremental, percent, read, table


def closed_set(found: dict[str, Any]) -> str:
    """mIoU and IoU of each known class."""
    classes = found["iou"]
    return table(["mIoU", *classes], [[percent(found["miou"]), *(percent(value) for value in classes.values())]]) + "\n"


def run_section(results: Mapping[str, Any]) -> str:
    """What one run measured."""
    name, seconds = results["name"], results["seconds"]
    training = sum(value for stage, value in seconds.items() if stage != "this_run")
    data = "" if name.startswith("synthetic") else " --data $IGNOTA_DATA/camvid"
    took = f"training took {training / 60:.0f} minutes"
    if not seconds.get("closed_set"):  # it was put there by `ignota.reproduce.given.take`
        took = f"closed set of the formerly shipped world; the later stages took {training / 60:.0f} minutes"
    text = f"## {name}\n\n`ignota run {name}{data} --out runs/{name}`; {took}.\n\n"
    text += f"Closed set on the evaluation images:\n\n{closed_set(results['closed_set'])}"
    if "anomaly" in results:
        text += f"Classes never seen as anomalies ({results['anomaly']['images']} images):\n\n"
        text += anomalies(results["anomaly"])
    for shots, found in results.get("incremental", {}).items():
        text += f"The same classes learnt, {shots}, mIoU; `old before` and `old after` leave novel pixels out:\n\n"
        text += incremental(found)
    if "incremental" in results:
        text += "Methods that run on branches, measured apart: [branches.md](branches.md).\n\n"
    return text


def anomaly_section(world: str, found: Mapping[str, Any]) -> str:
    """What `ignota evaluate anomaly` measured with the world of a run."""
    name = found["dataset"]
    call = (
        f"ignota evaluate anomaly {name} --data $IGNOTA_DATA/{name}_val --world runs/{world}/world --json {name}.json"
    )
    return f"### {name} ({found['images']} images) by {world}\n\n`{call}`\n\n{anomalies(found)}"


def sections(folder: Path) -> dict[str, str]:
    """The section of each run by its name, its data sets of anomalies included."""
    found = {file.stem: read(file) for file in sorted(folder.glob("*.json"))}
    texts = {name: run_section(one) for name, one in found.items() if "closed_set" in one}
    for name, one in found.items():
        if "closed_set" not in one:
            world = name.removesuffix(f"-{one['dataset']}")
            texts[world] += anomaly_section(world, one)
    return texts


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured."""
    return head(page) + "".join(sections(folder).values()).rstrip() + "\n"
