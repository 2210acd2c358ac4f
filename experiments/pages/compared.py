"""docs/compared.md: the methods that the paper compares with, by worlds that `ignota fit` made richer.

The folder holds the JSON files of COMMANDS.
"""

from __future__ import annotations

from pathlib import Path

from experiments.pages.markdown import anomalies, called, head, read

FITTED = "dml_frozen dml_eds_frozen dml_mmsp_frozen ensemble mc_dropout max_entropy autoencoder rbm duir"
SCORES = f"msp,max_logit,{FITTED.replace(' ', ',')},mahalanobis,raml_paper,raml"
SETS = {"camvid-8+3": ("camvid",), "camvid-11": ("road_anomaly_21", "road_obstacle_21")}


def fit(world: str) -> str:
    """The command that adds the states of the compared methods to a world."""
    return f"ignota fit {FITTED} --world {world} --data $IGNOTA_DATA/camvid --images 92 --out runs/{world}-more"


def evaluation(name: str, world: str) -> str:
    """The command that measures every score on one set."""
    root = name if name == "camvid" else f"{name}_val"
    return (
        f"ignota evaluate anomaly {name} --data $IGNOTA_DATA/{root} --world runs/{world}-more --recipe light"
        f" --scores {SCORES} --json {name}.json"
    )


COMMANDS = tuple(
    line for world, names in SETS.items() for line in (fit(world), *(evaluation(name, world) for name in names))
)


def section(name: str, world: str, folder: Path) -> str:
    """The figures of one data set with the richer world, the best score first."""
    found = read(folder / f"{name}.json")
    ordered = dict(sorted(found["scores"].items(), key=lambda item: -item[1]["pooled"]["aupr"]))
    text = f"### {name} ({found['images']} images)\n\n{called(evaluation(name, world))}"
    return text + anomalies({**found, "scores": ordered})


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured, world by world."""
    text = head(page)
    for world, names in SETS.items():
        text += f"## {world}\n\n{called(fit(world))}" + "".join(section(name, world, folder) for name in names)
    return text.rstrip() + "\n"
