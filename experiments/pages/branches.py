"""docs/branches.md: what the shipped `camvid-8+3` measures with its branches.

The folder holds the JSON files of COMMANDS.
"""

from __future__ import annotations

from pathlib import Path

from experiments.pages.markdown import anomalies, called, head, incremental, read, table

from ignota.storage import bundle

METHODS = "raml,raml_tuned,raml_paper,raml_released,raml_urs,npm,plm_latest,plm_all,ft,npm_frozen"
_ON = "--data $IGNOTA_DATA/camvid --world camvid-8+3 --recipe light"
SECTIONS = {
    "anomaly": (
        "Classes never seen as anomalies",
        f"ignota evaluate anomaly camvid {_ON} --scores meta_mass,raml_paper,max_logit,dml,raml --json anomaly.json",
    ),
    "five": (
        "Learnt from five examples each",
        f"ignota evaluate incremental camvid {_ON} --methods {METHODS} --shots 5 --json five.json",
    ),
    "one": (
        "From one each",
        f"ignota evaluate incremental camvid {_ON} --methods {METHODS} --shots 1 --json one.json",
    ),
    "car": (
        "Car alone, five examples",
        f"ignota evaluate incremental camvid {_ON} --novel car --methods raml,raml_tuned,raml_paper --shots 5"
        " --json car.json",
    ),
}
COMMANDS = tuple(line for _, line in SECTIONS.values())
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
    text = f"{head(page)}## Schedules\n\n{schedules()}"
    for name, (title, line) in SECTIONS.items():
        one = read(folder / f"{name}.json")
        text += f"## {title} ({one['images']} images)\n\n{called(line)}"
        text += anomalies(one) if "scores" in one else incremental(one)
    return text + FOOT
