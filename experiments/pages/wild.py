"""docs/wild.md: both recipes of the shipped worlds on photographs of other cameras, and what they learn there.

The folder holds the JSON files of the commands that the page names.
"""

from __future__ import annotations

from pathlib import Path

from experiments.pages.markdown import head, percent, read, table

RECIPES = ("light", "full")
SETS = {"road_anomaly_21": "camvid-11", "road_obstacle_21": "camvid-11", "camvid": "camvid-8+3"}


def anomalies(folder: Path) -> str:
    """AUPR, FPR95 and component F1 of each recipe on each set."""
    rows = []
    for name, world in SETS.items():
        for recipe in RECIPES:
            found = read(folder / f"{name}_{recipe}.json")["scores"]["raml"]
            pooled, component = found["pooled"], found["component"]["fixed"]
            cells = (pooled["aupr"], pooled["auroc"], pooled["fpr95"], *(component[k] for k in ("siou", "ppv", "f1")))
            rows.append([name, f"`{world}`", f"`{recipe}`", *map(percent, cells)])
    columns = ["data set", "world", "recipe", "AUPR", "AUROC", "FPR95", "sIoU", "PPV", "component F1"]
    call = "`ignota evaluate anomaly NAME --world WORLD --recipe RECIPE --scores raml --json NAME_RECIPE.json`"
    said = (
        "Pooled; components at the world's own threshold, of `camvid-11` with `full` its surest objects"
        " ([objects](objects.md))."
    )
    return f"## Finding the unknown\n\n{call}. {said}\n\n{table(columns, rows)}\n"


def taught(folder: Path) -> str:
    """Acceptance and IoU of each object taught once, and what the classes take of CamVid."""
    rows = []
    for recipe in RECIPES:
        for given in ("mask", "object"):
            found = read(folder / f"wild_{given}_{recipe}.json")
            images, known = found["images"], found.get("known")
            accepted = sum(each["accepted"] for each in images.values())
            worst = (
                ["–", "–"] if known is None else [f"{100 * max(known[k].values()):.3f}" for k in ("claimed", "lost")]
            )
            pairs = [percent(found["pairs"].get(pair)) for pair in ("2→3", "3→2")]
            rows.append([f"`{recipe}`", given, f"{accepted} of {len(images)}", percent(found["iou"]), *pairs, *worst])
    columns = [
        "recipe",
        "shown by",
        "accepted",
        "IoU on its own image",
        "2→3",
        "3→2",
        "claimed, worst",
        "mIoU lost, worst",
    ]
    call = (
        "`ignota evaluate wild road_anomaly_21 --world camvid-11 --recipe RECIPE --given GIVEN --pairs 2:3,3:2 --json"
        " wild_GIVEN_RECIPE.json`. Masks also with `--known camvid --known-data $IGNOTA_DATA/camvid`"
    )
    return (
        f"## Teaching it\n\n{call}. Each object of RoadAnomaly21 is taught once to a copy of the world,"
        " without force. Images 2 and 3 show giraffes, taught on one and searched on the other. Claimed and lost are"
        f" shares of CamVid's validation images, by the worst of the ten classes.\n\n{table(columns, rows)}\n"
    )


def learnt(folder: Path) -> str:
    """Few-shot learning on the training camera."""
    rows = []
    for recipe in RECIPES:
        for shots in (5, 1):
            found = read(folder / f"shots_{shots}_{recipe}.json")
            cells = [found["miou"][k] for k in ("novel", "old", "harmonic")]
            cells += [
                found["old_before"],
                found["old_after"],
                *(found["iou"][k] for k in ("car", "pedestrian", "bicyclist")),
            ]
            rows.append([f"`{recipe}`", str(shots), *map(percent, cells)])
    columns = [
        "recipe",
        "shots",
        "novel",
        "old",
        "harmonic",
        "old before",
        "old after",
        "car",
        "pedestrian",
        "bicyclist",
    ]
    call = (
        "`ignota evaluate incremental camvid --world camvid-8+3 --recipe RECIPE --methods raml --shots SHOTS --json"
        " shots_SHOTS_RECIPE.json`"
    )
    return f"## On the training camera\n\n{call}\n\n{table(columns, rows)}\n"


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured."""
    return head(page) + "\n".join((anomalies(folder), taught(folder), learnt(folder)))
