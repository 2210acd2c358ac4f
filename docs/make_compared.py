"""Writes docs/compared.md: the methods that the paper compares with, by worlds that `ignota fit` made richer.

    python docs/make_compared.py camvid-8+3:runs/camvid-8+3-more.json …

Each word names the world before it was made richer, shipped or a folder, and the file that `ignota evaluate anomaly …
--json` wrote for it afterwards, which lies beside the richer world and is named after it: WORLD-more.json or
WORLD-more-DATASET.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from make_results import anomalies

PAGE = Path(__file__).resolve().parent / "compared.md"
FITTED = "dml_frozen dml_eds_frozen dml_mmsp_frozen ensemble mc_dropout max_entropy autoencoder rbm duir"
IMAGES = 92

HEAD = f"""# Baselines of the paper, measured

The methods that the paper compares with, as [methods.md](methods.md) describes them, on the closed sets of this
project. Percent; rows are sorted by pooled AUPR. One run, seed 0; states come from {IMAGES} training images. The
worlds are those shipped on 2026-11-25; [results.md](results.md) has the figures of `raml` in the current ones.
`docs/make_compared.py` writes this page from the output of the commands.

"""


def page(words: Sequence[str]) -> str:
    """The whole page."""
    text, seen = HEAD, set()
    for word in words:
        world, _, file = word.rpartition(":")
        found = json.loads(Path(file).read_text(encoding="utf-8"))
        if world not in seen:
            text += f"## {Path(world).name}\n\n```sh\n{fit(world, richer(world, Path(file)))}\n```\n\n"
            seen.add(world)
        text += section(world, Path(file), found)
    return text.rstrip() + "\n"


def richer(world: str, file: Path) -> Path:
    """Where the richer world lies."""
    return file.parent / f"{Path(world).name}-more"


def fit(world: str, out: Path) -> str:
    lines = (f"ignota fit {FITTED}", f"  --world {world} --data $IGNOTA_DATA/camvid --images {IMAGES}")
    return " \\\n".join((*lines, f"  --out {out}"))


def section(world: str, file: Path, found: dict[str, Any]) -> str:
    """The figures of one data set with the richer world."""
    name, scores = found["dataset"], found["scores"]
    root = name if name == "camvid" else f"{name}_val"
    ordered = dict(sorted(scores.items(), key=lambda item: -item[1]["pooled"]["aupr"]))
    call = " \\\n".join(
        (
            f"ignota evaluate anomaly {name} --data $IGNOTA_DATA/{root} --world {richer(world, file)}",
            f"  --scores {','.join(scores)}",
            f"  --json {file}",
        )
    )
    return f"### {name} ({found['images']} images)\n\n```sh\n{call}\n```\n\n{anomalies({**found, 'scores': ordered})}"


if __name__ == "__main__":
    PAGE.write_text(page(sys.argv[1:]), encoding="utf-8")
