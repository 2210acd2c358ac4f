"""What result pages share: tables of percent, measured anomalies and taught classes, text between marks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, Any]:
    """A file of figures."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def called(line: str) -> str:
    """A command line as a block of its own, broken before its options where it is long."""
    if len(line) > 100:
        words = line.split(" --")
        line = " \\\n  --".join([" --".join(words[:2]), *words[2:]])
    return f"```sh\n{line}\n```\n\n"


def marked(page: str, blocks: Mapping[str, str]) -> str:
    """The page with the text after each mark `<!-- NAME -->` replaced, up to `<!-- /NAME -->` or `<!-- end -->`.

    Raises ValueError for a name that the page has no marks for.
    """
    for name, text in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- (?:/{name}|end) -->)", re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"the page has no marks for {name}")
        page = pattern.sub(lambda match, text=text: f"{match[1]}{text}{match[2]}", page)
    return page


def anomalies(found: Mapping[str, Any]) -> str:
    """Every score of `ignota evaluate anomaly`, pooled and per image."""
    kinds = [kind for kind in ("pooled", "per_image") if kind in next(iter(found["scores"].values()))]
    metrics = ("aupr", "auroc", "fpr95")
    head = ["score", *(f"{m.upper()}, {kind.replace('_', ' ')}" for kind in kinds for m in metrics)]
    rows = (
        [f"`{name}`", *(percent(score[kind][m]) for kind in kinds for m in metrics)]
        for name, score in found["scores"].items()
    )
    text = f"{table(head, rows)}\n{components(found['scores'])}"
    if "raml_minus_max_logit" in found:
        gain = found["raml_minus_max_logit"]
        low, mean, high = (f"{100 * gain[key]:+.1f}" for key in ("low", "mean", "high"))
        text += f"`raml` minus `max_logit`, pooled AUPR: {mean} points (95 % interval {low} to {high}).\n\n"
    return text


def components(scores: Mapping[str, Any]) -> str:
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
    return f"{said}\n\n{table(['score', *(f'{m}, {kind}' for kind in kinds for m in metrics)], rows)}\n"


def incremental(found: Mapping[str, Any]) -> str:
    """Every method of `ignota evaluate incremental`."""
    keys = ("all", "novel", "old", "harmonic")
    taught = [name for name in found["iou"] if name in found["support"]]
    rows = (
        [
            f"`{name}`",
            *(percent(method["miou"][key]) for key in keys),
            *(percent(method[key]) for key in ("old_before", "old_after")),
            *(percent(method["iou"][label]) for label in taught),
        ]
        for name, method in found["methods"].items()
    )
    return table(["method", *keys, "old before", "old after", *taught], rows) + "\n"


def head(page: str) -> str:
    """What a page says before its first section: written by hand, kept as it is."""
    return page.partition("\n## ")[0].rstrip("\n") + "\n\n"
