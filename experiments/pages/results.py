"""docs/results.md: what the shipped worlds measure with both recipes.

The folder holds the JSON files of COMMANDS.
"""

from __future__ import annotations

from pathlib import Path

from experiments.pages.markdown import anomalies, called, head, incremental, percent, read, table

RECIPES = ("light", "full")
SETS = {"camvid": "camvid-8+3", "road_anomaly_21": "camvid-11", "road_obstacle_21": "camvid-11"}
SHOTS = (5, 1)
_ROOTS = {"camvid": "camvid", "road_anomaly_21": "road_anomaly_21_val", "road_obstacle_21": "road_obstacle_21_val"}
_SCORES = {
    "camvid": "raml,raml_paper,raml_released,max_logit,msp,entropy,energy,sml",
    "road_anomaly_21": "raml,raml_paper,max_logit,knn,region:max_logit,region:knn",
    "road_obstacle_21": "raml,raml_paper,max_logit,knn,region:max_logit,region:knn",
}


def closed(world: str) -> str:
    """The command that measures the closed set of a world."""
    return f"ignota evaluate closed camvid --data $IGNOTA_DATA/camvid --world {world} --json closed_{world}.json"


def anomaly(name: str, recipe: str) -> str:
    """The command that measures anomaly scores: all of them with the recipe light."""
    scores = _SCORES[name] if recipe == "light" else "raml,max_logit"
    return (
        f"ignota evaluate anomaly {name} --data $IGNOTA_DATA/{_ROOTS[name]} --world {SETS[name]} --recipe {recipe}"
        f" --scores {scores} --json {name}_{recipe}.json"
    )


def learning(shots: int, recipe: str) -> str:
    """The command that measures few-shot learning."""
    methods = "raml,npm_frozen" if recipe == "light" else "raml"
    return (
        f"ignota evaluate incremental camvid --data $IGNOTA_DATA/camvid --world camvid-8+3 --recipe {recipe}"
        f" --methods {methods} --shots {shots} --json shots_{shots}_{recipe}.json"
    )


def car(shots: int, recipe: str) -> str:
    """The command that measures car alone, over random draws of its examples."""
    return (
        f"ignota evaluate incremental camvid --data $IGNOTA_DATA/camvid --world camvid-8+3 --recipe {recipe}"
        f" --novel car --methods raml --shots {shots} --draws 5 --min-share 0.005 --json car_{shots}_{recipe}.json"
    )


COMMANDS = (
    *map(closed, ("camvid-8+3", "camvid-11")),
    *(anomaly(name, recipe) for recipe in RECIPES for name in SETS),
    *(learning(shots, recipe) for recipe in RECIPES for shots in SHOTS),
    *(car(shots, recipe) for recipe in RECIPES for shots in SHOTS),
)
UPPER = 0.834
"""IoU of car by a network that was trained with it, see docs/experiments/nine-classes.md."""


def closed_sets(folder: Path) -> str:
    """mIoU and IoU of each known class, world by world."""
    text = "## Known classes\n\nIoU on CamVid's validation images.\n\n"
    return text + "".join(closed_set(folder, world) for world in ("camvid-8+3", "camvid-11"))


def closed_set(folder: Path, world: str) -> str:
    found = read(folder / f"closed_{world}.json")
    classes = found["iou"]
    row = [f"`{world}`", *map(percent, (found["miou"], *classes.values()))]
    return f"{called(closed(world))}{table(['world', 'mIoU', *classes], [row])}\n"


def both_recipes(folder: Path, only: str = "") -> str:
    """AUPR, FPR95 and component F1 of `raml` by each recipe on each set; only: of this world."""
    rows = []
    for name, world in SETS.items():
        if only not in ("", world):
            continue
        for recipe in RECIPES:
            found = read(folder / f"{name}_{recipe}.json")["scores"]["raml"]
            pooled, fixed = found["pooled"], found["component"]["fixed"]
            cells = (pooled["aupr"], pooled["auroc"], pooled["fpr95"], *(fixed[key] for key in ("siou", "ppv", "f1")))
            rows.append([name, f"`{world}`", f"`{recipe}`", *map(percent, cells)])
    columns = ["data set", "world", "recipe", "AUPR", "AUROC", "FPR95", "sIoU", "PPV", "component F1"]
    said = "Score `raml`, pooled; components at the world's own threshold. The commands stand below."
    return f"## Finding the unknown\n\n{said}\n\n{table(columns, rows)}\n"


def each_set(folder: Path) -> str:
    """Every score that was measured on each set."""
    text = ""
    for name, world in SETS.items():
        for recipe in RECIPES:
            found = read(folder / f"{name}_{recipe}.json")
            text += f"### {name} ({found['images']} images), `{world}`, recipe `{recipe}`\n\n"
            text += called(anomaly(name, recipe)) + anomalies(found)
    return text


def learnt(folder: Path) -> str:
    """Few-shot learning of the novel classes."""
    said = "The novel classes of `camvid-8+3`, mIoU. *Old before* and *old after* leave novel pixels out."
    text = f"## Learning it\n\n{said}\n\n"
    for shots in SHOTS:
        for recipe in RECIPES:
            text += f"### {shots}-shot, recipe `{recipe}`\n\n{called(learning(shots, recipe))}"
            text += incremental(read(folder / f"shots_{shots}_{recipe}.json"))
    return text + "Methods that run on branches, measured apart: [branches.md](branches.md).\n"


def car_alone(folder: Path) -> str:
    """IoU of car over random draws of its examples, beside the network that was trained with it."""
    rows, text = [], "## Car alone, five random draws\n\n"
    for shots in SHOTS:
        for recipe in RECIPES:
            found = read(folder / f"car_{shots}_{recipe}.json")["methods"]["raml"]
            mean, spread = found["iou"]["car"], found["std"]["iou"]["car"]
            cells = (f"{percent(mean)} ± {percent(spread)}", percent(mean / UPPER), percent(found["old_after"]))
            rows.append([f"`{recipe}`", str(shots), *cells])
            text += called(car(shots, recipe))
    columns = ["recipe", "shots", "IoU of car", "share of the nine-class network", "old after"]
    said = (
        "IoU, mean ± standard deviation over the draws. A network trained with car as a ninth class has"
        f" {100 * UPPER:.1f} ([experiment](experiments/nine-classes.md)). Images that show car on half a percent of"
        " their pixels may be drawn."
    )
    return f"{text}{said}\n\n{table(columns, rows)}\n"


def on_world(folder: Path, world: str) -> str:
    """What a shipped world's card shows: its closed set, what it finds, and what it learns if classes are left."""
    taught = learnt(folder) if world == "camvid-8+3" else ""
    text = closed_set(folder, world) + both_recipes(folder, world).replace(" The commands stand below.", "")
    return text + taught.partition("Methods that run on branches")[0]


def written(page: str, folder: Path) -> str:
    """The page: its own head, then what was measured."""
    found = closed_sets(folder) + both_recipes(folder) + each_set(folder) + car_alone(folder) + learnt(folder)
    return head(page) + found
