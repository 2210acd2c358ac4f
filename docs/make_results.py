"""Writes docs/results.md from what the commands measured, and puts trained worlds with model cards in the package.

    python docs/make_results.py runs/camvid-8+3 runs/camvid-11 --anomaly runs/camvid-11:road_anomaly_21.json …

Each folder is one that `ignota run` wrote; --anomaly names the run and the file that `ignota evaluate anomaly … --json`
wrote for its world. With --ship the worlds of the folders are copied to src/ignota/worlds, each with a README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE, WORLDS = ROOT / "docs" / "results.md", ROOT / "src" / "ignota" / "worlds"
_LIMIT, _BRANCHED = 16_000_000, 40_000_000
"""Bytes of a shipped world, and of one with branches."""

HEAD = """# Results

Anomaly scores and few-shot learning of the shipped worlds. Percent; one run each, seed 0, on 2 CPU cores with other
work beside. `pooled` counts all pixels of a set together; `per image` is the mean over images. AUPR, AUROC: higher is
better; FPR95: lower is better. `docs/make_results.py` copies every figure from the output of the command beside it.

Figures of `raml` are those of the recipe `light`. Its rows of learnt classes were measured before counter-examples
existed; [wild.md](wild.md) has the current ones by both recipes.

Sizes, weights and thresholds were chosen on training images, a part of them held out. [The log](../LOG.md) has what
was tried, failures included. These choices were made after the test sets had been seen:

- `camvid-11` distorts the held-out images and leaves the nearest class out: after RoadAnomaly21 and RoadObstacle21
  had been read with other settings.
- Margins of taught classes may be below 0, and the anomaly counts less with more exemplars: after CamVid's validation
  images had been read.
- Regions have two scales: after all three sets had been read with three scales and with a tree of them.

"""


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"


def closed_set(found: dict[str, Any]) -> str:
    """mIoU and IoU of each known class."""
    classes = found["iou"]
    return table(["mIoU", *classes], [[percent(found["miou"]), *(percent(value) for value in classes.values())]])


def anomalies(found: dict[str, Any]) -> str:
    """Every score, pooled and per image."""
    kinds = [kind for kind in ("pooled", "per_image") if kind in next(iter(found["scores"].values()))]
    metrics = ("aupr", "auroc", "fpr95")
    head = ["score", *(f"{m.upper()}, {kind.replace('_', ' ')}" for kind in kinds for m in metrics)]
    rows = (
        [f"`{name}`", *(percent(score[kind][m]) for kind in kinds for m in metrics)]
        for name, score in found["scores"].items()
    )
    text = table(head, rows) + components(found["scores"])
    if "raml_minus_max_logit" in found:
        gain = found["raml_minus_max_logit"]
        low, mean, high = (f"{100 * gain[key]:+.1f}" for key in ("low", "mean", "high"))
        text += f"`raml` minus `max_logit`, pooled AUPR: {mean} points (95 % interval {low} to {high}).\n\n"
    return text


def components(scores: dict[str, Any]) -> str:
    """Whole components, as the benchmark counts them, where they were counted."""
    counted = {name: score["component"] for name, score in scores.items() if "component" in score}
    if not counted:
        return ""
    kinds, metrics = ("oracle", "fixed"), ("siou", "ppv", "f1")
    rows = (
        [f"`{name}`", *(percent((found.get(kind) or {}).get(m)) for kind in kinds for m in metrics)]
        for name, found in counted.items()
    )
    said = "Whole components; threshold with the best pixel F1 on this set (oracle), or from training images (fixed):"
    return f"{said}\n\n{table(['score', *(f'{m}, {kind}' for kind in kinds for m in metrics)], rows)}"


def incremental(found: dict[str, Any]) -> str:
    """Every method after a number of shots."""
    keys = ("all", "novel", "old", "harmonic")
    taught = [name for name in found["iou"] if name in found["support"]]
    head = ["method", *keys, "old before", "old after", *taught]
    rows = (
        [
            f"`{name}`",
            *(percent(method["miou"][key]) for key in keys),
            percent(method["old_before"]),
            percent(method["old_after"]),
            *(percent(method["iou"][label]) for label in taught),
        ]
        for name, method in found["methods"].items()
    )
    return table(head, rows)


def run_section(folder: Path) -> str:
    """What one run measured."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    name, seconds = results["name"], results["seconds"]
    training = sum(value for stage, value in seconds.items() if stage != "this_run")
    data = "" if name.startswith("synthetic") else " --data $IGNOTA_DATA/camvid"
    took = f"training took {training / 60:.0f} minutes"
    if not seconds.get("closed_set"):  # it was put there by `ignota.reproduce.given.take`
        took = f"closed set of the formerly shipped world; the later stages took {training / 60:.0f} minutes"
    text = f"## {name}\n\n`ignota run {name}{data} --out runs/{name}`; {took}.\n\n"
    text += f"Closed set on the evaluation images:\n\n{closed_set(results['closed_set'])}"
    if "anomaly" in results:
        text += f"Classes never seen as anomalies ({results['anomaly']['images']} images):\n\n"
        text += anomalies(results["anomaly"])
    for shots, found in results.get("incremental", {}).items():
        text += f"The same classes learnt, {shots}, mIoU; `old before` and `old after` leave novel pixels out:\n\n"
        text += incremental(found)
    return text


def anomaly_section(world: str, file: Path) -> str:
    """What `ignota evaluate anomaly` measured with the world of a run."""
    found = json.loads(file.read_text(encoding="utf-8"))
    name = found["dataset"]
    call = f"ignota evaluate anomaly {name} --data $IGNOTA_DATA/{name}_val --world {world}/world --json {file.name}"
    return f"### {name} ({found['images']} images) by {Path(world).name}\n\n`{call}`\n\n{anomalies(found)}"


def ship(folder: Path, sections: str) -> None:
    """Copies a run's world into the package with a model card; raises ValueError where it is larger than allowed."""
    source, document = folder / "world", json.loads((folder / "world" / "world.json").read_text(encoding="utf-8"))
    name = document["provenance"]["configuration"]["name"]
    target = WORLDS / name
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for file in ("world.json", "exemplars.sqlite", *document["files"]):
        shutil.copyfile(source / file, target / file)
    size, limit = sum(file.stat().st_size for file in target.iterdir()), _BRANCHED if document["branches"] else _LIMIT
    if size > limit:
        raise ValueError(f"{target} takes {size:,} bytes, more than {limit:,}")
    (target / "README.md").write_text(card(name, document, size, sections), encoding="utf-8")


def card(name: str, document: dict[str, Any], size: int, sections: str) -> str:
    """The model card of a shipped world."""
    classes = ", ".join(entry["name"] for entry in document["taxonomy"]["classes"])
    frozen, config = document["frozen"], document["provenance"]["configuration"]
    split, held = config["data"]["split"], ", ".join(f"`{system}`" for system in document["branches"])
    branches = f", the branches {held} (trained without shots; `ignota fit --branches`)" if held else ""
    return f"""# {name}

A world of {len(document["taxonomy"]["classes"])} known classes ({classes}); split `{split}`.

- **Made by** `ignota run {name} --data $IGNOTA_DATA/camvid --out runs/{name}`, seed {config["seed"]}; configuration
  {document["provenance"]["configuration_hash"]}. `world.json` has all its settings.
- **Trained on** CamVid's training images, 367 frames of 480×360 from drives through Cambridge. CamVid is research data
  (Brostow et al., Pattern Recognition Letters 2009). This world contains no image of it, but every number comes from
  them. Ask its authors before other use.
- **Holds** a DeepLabV3+ with EfficientNet-Lite0, D as printed and as released, and what `fit` found{branches}:
  {size / 1e6:.1f} MB in half precision. Its encoder started from ImageNet weights. The frozen encoder is not
  included: it is `{frozen["encoder"]}` of the package `{frozen.get("package", frozen["source"])}`, SHA-256
  {frozen["sha256"]}.
{recipes(document)}- **Limits** An ImageNet encoder has seen many of the objects that count as unknown
  here: animals, vehicles, furniture. The figures do not cover objects unknown to ImageNet too, night, rain, other
  countries or other cameras. For `camvid-11`, `fit.distort` and `fit.by_class` were decided after the two
  SegmentMeIfYouCan sets had been read. This is not a safety device. Thin objects (poles, signs) are often missed.

{sections}"""


def recipes(document: dict[str, Any]) -> str:
    """A model card's lines on a second recipe."""
    entry = document["objectness"]
    if entry is None:
        return ""
    return f"""- **Recipes** `light`, and `full`, which reads the objectness network of the package `{entry["package"]}`
  {entry["version"]} (SHA-256 {entry["sha256"]};
  its training data are not documented). The figures below are those of `light`, for learnt classes before
  counter-examples existed; docs/wild.md has the current ones by both recipes.
"""


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--anomaly", nargs="*", default=[], metavar="RUN:FILE")
    parser.add_argument("--ship", nargs="*", type=Path, default=[], metavar="RUN")
    args = parser.parse_args(words)
    sections = {folder: run_section(folder) for folder in args.runs}
    for word in args.anomaly:
        run, _, file = word.rpartition(":")
        sections[Path(run)] += anomaly_section(run, Path(file))
    PAGE.write_text(HEAD + "".join(sections.values()).rstrip() + "\n", encoding="utf-8")
    for folder in args.ship:
        ship(folder, sections[folder].rstrip() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
