"""docs/objects.md: unknown objects of the shipped world on photographs of other cameras.

The folder holds NAME_RECIPE.json of the command that the page names.
"""

from __future__ import annotations

from pathlib import Path

from experiments.pages.markdown import head, percent, read, table

RECIPES = ("full", "light")
SETS = ("road_anomaly_21", "road_obstacle_21")


def listed(folder: Path) -> str:
    """How many objects are listed, how many are false, and how many true ones they cover."""
    rows = []
    for name in SETS:
        for recipe in RECIPES:
            found = read(folder / f"{name}_{recipe}.json")["objects"]
            each = (f"{found['listed_per_image']:.1f}", f"{found['false_per_image']:.1f}")
            rows.append(
                [name, f"`{recipe}`", *each, str(found["true"]), percent(found["covered"]), percent(found["found"])]
            )
    columns = ["data set", "recipe", "listed an image", "false an image", "true objects", "covered", "found"]
    call = "`ignota evaluate wild NAME --world camvid-11 --recipe RECIPE --given object --json NAME_RECIPE.json`"
    return f"## Figures\n\n{call}\n\n{table(columns, rows)}\n"


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured."""
    return head(page) + listed(folder)
