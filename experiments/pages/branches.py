"""docs/branches.md: what the shipped `camvid-8+3` measures with its branches.

The folder holds anomaly.json, five.json, one.json and car.json, from the commands that the page names.
"""

from __future__ import annotations

from pathlib import Path

from experiments.pages.markdown import anomalies, head, incremental, read, table

from ignota.storage import bundle

METHODS = "raml,raml_tuned,raml_paper,raml_released,raml_urs,npm,plm_latest,plm_all,ft,npm_frozen"
CALLS = (
    "anomaly camvid --scores meta_mass,raml_paper,max_logit,dml,raml --json anomaly.json",
    f"incremental camvid --methods {METHODS} --shots 5 --json five.json",
    f"incremental camvid --methods {METHODS} --shots 1 --json one.json",
    "incremental camvid --novel car --methods raml,raml_tuned,raml_paper --shots 5 --json car.json",
)
FILES = ("anomaly", "five", "one", "car")
TITLES = (
    "Classes never seen as anomalies",
    "Learnt from five examples each",
    "From one each",
    "Car alone, five examples",
)
FOOT = """`meta_mass` is transductive: stage 2 saw training images of the same streets with the novel classes as void.
`old before` and `old after` exclude novel pixels; for a method on a branch they refer to the branch's own known labels.
"""


def schedules() -> str:
    """How long each branch was trained, beside the paper."""
    document = bundle.read_document(bundle.find_world("camvid-8+3"))
    rows = [(system, entry.settings) for system, entry in document.branches.items()]
    keys = ("steps", "embedder_steps", "published_steps")
    return (
        table(
            ["branch", "steps of stage 2", "steps of D", "the paper's, each"],
            [[f"`{system}`", *(str(card.get(key, "–")) for key in keys)] for system, card in rows],
        )
        + "\n"
    )


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured."""
    found = [read(folder / f"{name}.json") for name in FILES]
    text = f"{head(page)}## Schedules\n\n{schedules()}"
    for title, call, one in zip(TITLES, CALLS, found, strict=True):
        text += f"## {title} ({one['images']} images)\n\n`ignota evaluate {call}`\n\n"
        text += anomalies(one) if "scores" in one else incremental(one)
    return text + FOOT
