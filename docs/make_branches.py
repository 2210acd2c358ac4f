"""Writes docs/branches.md from what `ignota evaluate` measured with the shipped `camvid-8+3` and its branches.

    python docs/make_branches.py anomaly.json five.json one.json car.json

The files are those of the commands that the page names, in this order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from make_results import ROOT, anomalies, incremental, table

from ignota.storage import bundle

PAGE = ROOT / "docs" / "branches.md"
METHODS = "raml,raml_tuned,raml_paper,raml_released,raml_urs,npm,plm_latest,plm_all,ft,npm_frozen"
CALLS = (
    "anomaly camvid --scores meta_mass,raml_paper,max_logit,dml,raml --json anomaly.json",
    f"incremental camvid --methods {METHODS} --shots 5 --json five.json",
    f"incremental camvid --methods {METHODS} --shots 1 --json one.json",
    "incremental camvid --novel car --methods raml,raml_tuned,raml_paper --shots 5 --json car.json",
)
HEAD = """# Branches of the paper's systems

Figures of `camvid-8+3` with its branches on CamVid's validation images. Percent. Each branch was trained once, seed
0. The exemplars are the training images with the largest area of a class. `raml_tuned` was chosen on every fifth
training image; nothing was chosen on the images measured here.

`docs/make_branches.py` writes this page from the commands below, each with `--world camvid-8+3 --data
$IGNOTA_DATA/camvid`.

"""

FOOT = """`meta_mass` is transductive: stage 2 saw training images of the same streets with the novel classes as void.
`old before` and `old after` exclude novel pixels; for a method on a branch they refer to the branch's own known labels.
"""


def schedules() -> str:
    """How long each branch was trained, beside the paper."""
    document = bundle.read_document(bundle.find_world("camvid-8+3"))
    rows = [(system, entry.settings) for system, entry in document.branches.items()]
    keys = ("steps", "embedder_steps", "published_steps")
    return table(
        ["branch", "steps of stage 2", "steps of D", "the paper's, each"],
        [[f"`{system}`", *(str(card.get(key, "–")) for key in keys)] for system, card in rows],
    )


def main(files: Sequence[str]) -> None:
    found: list[dict[str, Any]] = [json.loads(Path(file).read_text(encoding="utf-8")) for file in files]
    titles = (
        "Classes never seen as anomalies",
        "Learnt from five examples each",
        "From one each",
        "Car alone, five examples",
    )
    text = HEAD + schedules()
    for title, call, one in zip(titles, CALLS, found, strict=True):
        text += f"## {title} ({one['images']} images)\n\n`ignota evaluate {call}`\n\n"
        text += anomalies(one) if "scores" in one else incremental(one)
    PAGE.write_text(text + FOOT, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
