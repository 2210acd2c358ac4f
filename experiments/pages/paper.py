"""docs/paper.md: what `ignota reproduce` measured, beside what the paper prints.

The folder holds folders that `ignota reproduce` wrote, WORLD-full; a smoke test is refused. Without any the page says
what was not run. The pictures are those of the first folder, where its images are drawn: images of others are never
copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.pages.markdown import head, read
from PIL import Image

from ignota.reports.tables import Table, to_markdown

WORLDS = ("synthetic", "camvid", "cityscapes")
_NAMES = ("table-1", "table-2", "table-3", "table-d", "table-e", "table-f", "table-g", "choices", "figure-7")
_FIGURES = ("figure-1", "figure-2", "figure-3", "figure-4", "figure-5", "figure-6", "figure-7", "figure-8", "figure-i")

WHY = {
    "table-1": "The paper trains PSPNet on 7000 real images of BDD100K; here network, training and data are those of "
    "the world named above. Baselines are trainings of this project.",
    "table-2": "Network, data and schedules are smaller. The branches are fine-tuned without the shots, as in the "
    "released code; Table *choices* has the row with them.",
    "table-3": "Network, data and schedules are smaller.",
    "table-d": "Another image of another world: the pattern counts, not the figures.",
    "table-e": "As in Table 2; URS takes every region between edges of the image as a candidate.",
    "table-f": "As in Table 2; the spread of cosines depends on D and its training data, so that the best θ_novel need "
    "not be 0.8.",
    "table-g": "As in Table 2; the paper does not say from which images it draws.",
    "choices": "The paper has no table of these; it argues for its choices in the text.",
    "figure-7": "The paper shows curves without figures.",
}
"""Why ours are not the paper's figures, table by table."""


def results(folder: Path) -> dict[Path, dict[str, Any]]:
    """What each folder measured, drawn images first; raises ValueError for a smoke test."""
    found = {file.parent: read(file) for file in sorted(folder.glob("*/results.json"))}
    for place, one in found.items():
        if one["smoke"]:
            raise ValueError(f"{place} is a smoke test: the page shows full figures alone")
    return dict(sorted(found.items(), key=lambda item: WORLDS.index(item[1]["world"])))


def written(page: str, folder: Path) -> str:
    """The page: its own head, then every table and figure that was measured."""
    found = list(results(folder).values())
    text = head(page) + ("## What was measured\n\n" if found else "") + "".join(_setting(one) for one in found)
    if found:
        text += "## Does the paper's order hold?\n\n" + _ORDER
    text += "".join(f"### {_title(one)}\n\n{_table(one['claims'])}\n" for one in found)
    for name in _NAMES:
        shown = [one for one in found if name in one["tables"]]
        if not shown:
            continue
        text += f"## {name.replace('-', ' ').capitalize()}\n\n"
        for one in shown:
            text += f"### {name}: {_title(one)}\n\n`{_command(one, name)}`: {_duration(one, name)}\n\n"
            text += "".join(f"{_table(table)}\n" for table in one["tables"][name])
        text += f"Why ours differ: {WHY[name]}\n\n"
    text += "## Figures\n\n" if any(one["figures"] for one in found) else ""
    for name in _FIGURES:
        for one in (one for one in found if name in one["figures"]):
            text += f"**{one['figures'][name]['title']}.** {one['figures'][name]['text']} `{_command(one, name)}`: "
            text += f"{one['figures'][name]['seconds']:.0f} seconds.\n\n"
            if one is found[0] and one["world"] == "synthetic":
                text += f"![{one['figures'][name]['title']}](pictures/{_picture(name)})\n\n"
    return text + _missing(found)


_ORDER = """Differences in points, the first minus the second, paired over seeds (of shots and D, or of the branch),
with the 95 % interval of their mean. A claim *holds* where the interval lies above 0 and the mean is one point or more;
it *does not hold* where the whole interval lies below one point; it is *undecided* otherwise.

"""


def _setting(one: dict[str, Any]) -> str:
    wall, processor = (one["spent"].get(key, 0.0) / 60 for key in ("wall", "processor"))
    steps = "; ".join(
        f"branch `{system}` {card['steps']} steps and its D {card['embedder_steps']} of {card['published_steps']}"
        for system, card in one["schedules"].items()
    )
    return (
        f"**{_title(one)}.** {one['stands_for']} Short side {one['size']} pixels, {one['images']} images measured, "
        f"{one['seeds']} seeds of shots and D, {one['branches']} trainings of each branch of Tables 3 and E; {steps}. "
        f"Everything, trainings included, took {processor:.0f} minutes of processor time and {wall:.0f} of wall clock, "
        "with other work beside.\n\n"
    )


def _title(one: dict[str, Any]) -> str:
    return f"{one['world']}, {one['fidelity']}"


def _command(one: dict[str, Any], name: str) -> str:
    data = "" if one["world"] == "synthetic" else " --data $IGNOTA_DATA"
    reuse = f" --reuse {','.join(one['reuse'])}" if one["reuse"] else ""
    return f"ignota reproduce {name} --world {one['world']}{data} --fidelity {one['fidelity']}{reuse}"


def _duration(one: dict[str, Any], name: str) -> str:
    return f"{one['seconds'][name]:.0f} seconds of measuring beside the shared trainings, {one['fidelity']} fidelity."


def _table(plain: dict[str, Any]) -> str:
    rows = tuple(tuple(row) for row in plain["rows"])
    return to_markdown(Table(plain["title"], tuple(plain["columns"]), rows, plain["note"]))


def _picture(name: str) -> str:
    return f"paper-{name}.jpg"


def _missing(found: Sequence[dict[str, Any]]) -> str:
    """What was not run."""
    lines = []
    for one in found:
        lacking = [n for n in _NAMES if n not in one["tables"]] + [n for n in _FIGURES if n not in one["figures"]]
        lacking = list(dict.fromkeys(lacking))
        if lacking:
            lines.append(f"- {_title(one)}: not run: {', '.join(lacking)}.")
    settings = {(one["world"], one["fidelity"]) for one in found}
    wanted = [(world, "full") for world in WORLDS]
    lines += [f"- {world}, {fidelity}: not run for this page." for world, fidelity in wanted
              if (world, fidelity) not in settings]  # fmt: skip
    return "## What was not run\n\n" + "\n".join(lines) + "\n" if lines else ""


def pictures(folder: Path, docs: Path) -> None:
    """pictures/paper-….jpg: the sheets of the first folder, if its images are drawn."""
    place, first = next(iter(results(folder).items()), (None, None))
    if place is None or first is None or first["world"] != "synthetic":
        return
    for name in first["figures"]:
        picture = Image.open(place / f"{name}.png").convert("RGB")
        picture.thumbnail((1300, 1300))
        picture.save(docs / "pictures" / _picture(name), quality=85)
