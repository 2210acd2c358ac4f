"""Copies trained worlds into the package; writes the model cards of all worlds there.

    python -m experiments.ship [runs/camvid-8+3 runs/camvid-11] [--measured experiments/measured/results]

A card ends with the world's figures of the result page (experiments/pages/results.py).
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.pages.results import on_world

WORLDS = Path(__file__).resolve().parents[1] / "src" / "ignota" / "worlds"
_LIMIT, _BRANCHED = 16_000_000, 40_000_000
"""Bytes of a shipped world, and of one with branches."""


def read(world: Path) -> dict[str, Any]:
    """The document of a world."""
    return dict(json.loads((world / "world.json").read_text(encoding="utf-8")))


def name_of(document: dict[str, Any]) -> str:
    """The name of the configuration that a world was trained by."""
    return str(document["provenance"]["configuration"]["name"])


def ship(folder: Path) -> None:
    """Copies a run's world into the package; raises ValueError where it is larger than allowed."""
    source, document = folder / "world", read(folder / "world")
    target = WORLDS / name_of(document)
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for file in ("world.json", "exemplars.sqlite", *document["files"]):
        shutil.copyfile(source / file, target / file)
    size, limit = sum(file.stat().st_size for file in target.iterdir()), _BRANCHED if document["branches"] else _LIMIT
    if size > limit:
        raise ValueError(f"{target} takes {size:,} bytes, more than {limit:,}")


def card(name: str, document: dict[str, Any], size: int, figures: str) -> str:
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

{figures}"""


def recipes(document: dict[str, Any]) -> str:
    """A model card's lines on a second recipe."""
    entry = document["objectness"]
    if entry is None:
        return ""
    return f"""- **Recipes** `light`, and `full`, which reads the objectness network of the package `{entry["package"]}`
  {entry["version"]} (SHA-256 {entry["sha256"]};
  its training data are not documented).
"""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--measured", type=Path, default=Path("experiments/measured/results"))
    args = parser.parse_args(words)
    names = {folder.name for folder in WORLDS.iterdir()} | {name_of(read(run / "world")) for run in args.runs}
    figures = {name: on_world(args.measured, name).rstrip() + "\n" for name in names}
    for run in args.runs:  # only now, when nothing is missing that a card needs
        ship(run)
    for file in sorted(WORLDS.glob("*/world.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        name = file.parent.name
        size = sum(one.stat().st_size for one in file.parent.iterdir())
        (file.parent / "README.md").write_text(card(name, document, size, figures[name]), encoding="utf-8")


if __name__ == "__main__":
    main()
