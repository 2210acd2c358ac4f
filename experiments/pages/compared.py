"""docs/compared.md: the methods that the paper compares with, by worlds that `ignota fit` made richer.

The folder holds WORLD-more.json or WORLD-more-DATASET.json, which `ignota evaluate anomaly … --json` wrote for the
richer world WORLD-more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.pages.markdown import anomalies, head, read

FITTED = "dml_frozen dml_eds_frozen dml_mmsp_frozen ensemble mc_dropout max_entropy autoencoder rbm duir"
IMAGES = 92


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured, world by world."""
    text, introduced = head(page), set()
    for file in sorted(folder.glob("*.json")):
        world = file.stem.partition("-more")[0]
        if world not in introduced:
            text += f"## {world}\n\n```sh\n{fit(world)}\n```\n\n"
            introduced.add(world)
        text += section(world, file.name, read(file))
    return text.rstrip() + "\n"


def fit(world: str) -> str:
    lines = (f"ignota fit {FITTED}", f"  --world {world} --data $IGNOTA_DATA/camvid --images {IMAGES}")
    return " \\\n".join((*lines, f"  --out runs/{world}-more"))


def section(world: str, file: str, found: dict[str, Any]) -> str:
    """The figures of one data set with the richer world."""
    name, scores = found["dataset"], found["scores"]
    root = name if name == "camvid" else f"{name}_val"
    ordered = dict(sorted(scores.items(), key=lambda item: -item[1]["pooled"]["aupr"]))
    call = " \\\n".join(
        (
            f"ignota evaluate anomaly {name} --data $IGNOTA_DATA/{root} --world runs/{world}-more",
            f"  --scores {','.join(scores)}",
            f"  --json runs/{file}",
        )
    )
    return f"### {name} ({found['images']} images)\n\n```sh\n{call}\n```\n\n{anomalies({**found, 'scores': ordered})}"
