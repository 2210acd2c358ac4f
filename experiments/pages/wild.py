"""docs/wild.md: what the shipped worlds learn on photographs of other cameras.

The folder holds the JSON files of COMMANDS.
"""

from __future__ import annotations

from pathlib import Path

from experiments.pages.markdown import called, head, percent, read, table

RECIPES = ("light", "full")
GIVEN = ("mask", "object")


def teaching(given: str, recipe: str) -> str:
    """The command that teaches every object once; masks also say what the classes take of CamVid."""
    known = " --known camvid --known-data $IGNOTA_DATA/camvid" if given == "mask" else ""
    return (
        "ignota evaluate wild road_anomaly_21 --data $IGNOTA_DATA/road_anomaly_21_val --world camvid-11"
        f" --recipe {recipe} --given {given} --pairs 2:3,3:2{known} --json {given}_{recipe}.json"
    )


COMMANDS = tuple(teaching(given, recipe) for recipe in RECIPES for given in GIVEN)


def taught(folder: Path) -> str:
    """Acceptance and IoU of each object taught once, and what the classes take of CamVid."""
    rows = []
    for recipe in RECIPES:
        for given in GIVEN:
            found = read(folder / f"{given}_{recipe}.json")
            images, known = found["images"], found.get("known")
            accepted = sum(each["accepted"] for each in images.values())
            worst = ["–", "–"]
            if known is not None:
                worst = [f"{100 * max(known[key].values()):.3f}" for key in ("claimed", "lost")]
            pairs = [percent(found["pairs"].get(pair)) for pair in ("2→3", "3→2")]
            rows.append([f"`{recipe}`", given, f"{accepted} of {len(images)}", percent(found["iou"]), *pairs, *worst])
    columns = ["recipe", "shown by", "accepted", "IoU on its own image", "2→3", "3→2"]
    return table([*columns, "claimed, worst", "mIoU lost, worst"], rows) + "\n"


def each_image(folder: Path) -> str:
    """IoU of each object on its own image."""
    found = {(given, recipe): read(folder / f"{given}_{recipe}.json") for recipe in RECIPES for given in GIVEN}
    keys = list(next(iter(found.values()))["images"])
    rows = (
        [f"`{recipe}`", given, *(percent(one["images"][key]["iou"]) for key in keys)]
        for (given, recipe), one in found.items()
    )
    return f"IoU of each image's object:\n\n{table(['recipe', 'shown by', *keys], rows)}"


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured."""
    said = (
        "Each object of RoadAnomaly21 is taught once to a copy of the world, without force. Images 2 and 3 show "
        "giraffes, taught on one and searched on the other. Claimed and lost are shares of CamVid's validation images, "
        "by the worst of the ten classes.\n\n"
    )
    calls = "".join(called(line) for line in COMMANDS)
    return f"{head(page)}## Teaching it\n\n{said}{calls}{taught(folder)}{each_image(folder)}"
