"""docs/objects.md: unknown objects of the shipped world on photographs of other cameras.

The folder holds the JSON files of COMMANDS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.pages.markdown import called, head, percent, read, table

RECIPES = ("full", "light")
SETS = ("road_anomaly_21", "road_obstacle_21")
COMMANDS = tuple(
    f"ignota evaluate wild {name} --data $IGNOTA_DATA/{name}_val --world camvid-11 --recipe {recipe} --given object"
    f" --json {name}_{recipe}.json"
    for name in SETS
    for recipe in RECIPES
)


def listed(folder: Path) -> str:
    """How many objects are listed, how many are false, how many true ones they cover, and their average precision."""
    shares, rows, sizes = ("covered", "found", "ap", "ap50"), [], []
    for name in SETS:
        for recipe in RECIPES:
            found = read(folder / f"{name}_{recipe}.json")["objects"]
            each = (f"{found['listed_per_image']:.1f}", f"{found['false_per_image']:.1f}", str(found["true"]))
            rows.append([name, f"`{recipe}`", *each, *(percent(found[share]) for share in shares)])
            sizes.append([name, f"`{recipe}`", *map(_of_size, found["by_size"].values())])
    columns = [
        "data set",
        "recipe",
        "listed an image",
        "false an image",
        "true objects",
        "covered",
        "found",
        "AP",
        "AP50",
    ]
    call = "".join(called(line) for line in COMMANDS) + "Shares and AP in percent."
    said = (
        "By size of the true object, below 32² pixels, below 96² and larger: covered / found, of so many. AP is that of"
        " OoDIS ([methods](methods.md)), with connected components as true objects."
    )
    head = ["data set", "recipe", "small", "medium", "large"]
    return f"## Figures\n\n{call}\n\n{table(columns, rows)}\n{said}\n\n{table(head, sizes)}\n"


def _of_size(found: dict[str, Any]) -> str:
    return f"{percent(found['covered'])} / {percent(found['found'])} of {found['true']}"


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured."""
    return head(page) + listed(folder)
