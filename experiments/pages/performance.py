"""docs/performance.md: what `make bench` left, between the marks of the page.

The folder holds races.json of `pytest benchmarks --record`, scaling.json of `python -m benchmarks.scaling` and
cost.json of `python -m benchmarks.cost`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.pages.markdown import marked, read, table


def blocks(races: dict[str, Any], curves: dict[str, Any]) -> dict[str, str]:
    """What stands between the marks, by their name."""
    outcomes = list(races["outcomes"].values())
    return {
        "machine": machine(races, curves),
        "bars": bars(outcomes),
        "races": "\n".join(race(outcome) for outcome in outcomes),
        "scaling": scaling(curves),
    }


def written(page: str, folder: Path) -> str:
    """The page with every block replaced; raises ValueError for one that the page has no marks for."""
    texts = blocks(read(folder / "races.json"), read(folder / "scaling.json"))
    texts["cost"] = cost(read(folder / "cost.json"))
    return marked(page, {name: f"\n{text}\n" for name, text in texts.items()})


BARS = {"light": 2.4, "full": 6.0}
"""At most so many times the closed set's own pass, at the world's working size, by the best backend."""
PARTS = (
    "resizing",
    "closed set",
    "frozen encoder",
    "ViT",
    "objectness from it",
    "regions",
    "score",
    "labels",
    "objects",
)


def cost(found: dict[str, Any]) -> str:
    """One table a size: milliseconds of each part and their ratio to the closed set's pass on the same backend."""
    parts = []
    for size, entry in found["sizes"].items():
        rows = [_with_frozen(row) for row in entry["rows"]]
        head = ["part", *(f"`{row['recipe']}`, {row['backend']}" for row in rows)]
        cells = [[name, *(_share(row["seconds"], name) for row in rows)] for name in (*PARTS, "segment", "writing")]
        height, width = entry["seen"]
        parts += [f"The networks see {width}×{height} (short side {size}):\n", table(head, cells)]
        parts += [f"{name}: {fault}.\n" for name, fault in entry["faults"].items()]
    here, threads = found["machine"], found["threads"]
    machine = f"{here['cpu']}, {here['simd']}, {threads} thread{'s' if threads > 1 else ''}, torch {here['torch']}"
    when = f"{found['date']}; {found['clock']}, medians of {found['rounds']} rounds"
    said = f"`{found['world']}`, {machine}, {when}."
    return "\n".join([said + "\n", *parts, _bars_of_cost(found)])


def _with_frozen(row: dict[str, Any]) -> dict[str, Any]:
    seconds = row["seconds"]
    frozen = seconds["closed set and frozen encoder"] - seconds["closed set"]
    return {**row, "seconds": seconds | {"frozen encoder": frozen}}


def _share(seconds: dict[str, float], name: str) -> str:
    if name not in seconds:
        return "–"
    return f"{1e3 * seconds[name]:.0f} ({seconds[name] / seconds['closed set']:.2f} ×)"


def _bars_of_cost(found: dict[str, Any]) -> str:
    entry = next(iter(found["sizes"].values()))
    lines = []
    for recipe, most in BARS.items():
        own = {
            r["backend"]: r["seconds"]["segment"] / r["seconds"]["closed set"]
            for r in entry["rows"]
            if r["recipe"] == recipe
        }
        best = min(own, key=lambda name: own[name])
        mark = "met" if own[best] <= most else "**not met**"
        lines.append([f"`{recipe}`", f"≤ {most:g} ×", f"{own[best]:.2f} × ({best})", mark])
    return table(["`segment` over the closed set's pass, at the world's own size", "target", "best backend", ""], lines)


def machine(races: dict[str, Any], curves: dict[str, Any]) -> str:
    """What measured, and when; both runs must have been on one machine."""
    here = races["machine"]
    if here != curves["machine"]:
        raise ValueError("races and curves come from different machines or versions; measure both again")
    rows = [f"| {name} | {value} |" for name, value in here.items()]
    widths = {o["device"]: o["bandwidth"] for o in races["outcomes"].values()}
    rows += [f"| copy bandwidth, {device} | {value / 1e9:.0f} GB/s |" for device, value in widths.items()]
    return "\n".join(["| | |", "|---|---|", *rows, f"| measured | {races['date']} |"]) + "\n"


def bars(outcomes: list[dict[str, Any]]) -> str:
    """One row per target, with what was found."""
    lines = ["| path | threads | target | found | |", "|---|---:|---|---:|---|"]
    for outcome in outcomes:
        where = "" if outcome["device"] == "cpu" else f" ({outcome['device'].upper()})"
        for text, found, met in (*_ratios(outcome), *_figures(outcome)):
            mark = "met" if met else "**not met**"
            lines.append(f"| {outcome['title']}{where} | {outcome['threads']} | {text} | {found} | {mark} |")
    return "\n".join(lines) + "\n"


def _ratios(outcome: dict[str, Any]) -> list[tuple[str, str, bool]]:
    rows = []
    for bar in outcome["bars"]:
        ratio = bar["ratio"]
        if bar["least"] is not None:
            text = f"≥ {bar['least']:g} × faster than {bar['of']}"
            rows.append((text.replace(" than ours", ""), f"{ratio:,.1f} ×", bar["met"]))
        elif bar["most"] < 1:
            rows.append((f"≤ {100 * bar['most']:g} % of {bar['to']}", f"{100 * ratio:.1f} %", bar["met"]))
        else:
            of = "" if bar["of"] == "ours" else f"{bar['of']}: "
            rows.append((f"{of}≤ {bar['most']:g} × {bar['to']}", f"{ratio:.2f} ×", bar["met"]))
    return rows


def _figures(outcome: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Targets that are not ratios of times."""
    notes, rows = outcome["notes"], []
    if "most ms" in notes:
        ms = 1e3 * outcome["seconds"]["ours"]
        rows.append((f"≤ {notes['most ms']} ms", f"{ms:.0f} ms", ms <= notes["most ms"]))
    if "memory in MB" in notes:
        memory = notes["memory in MB"]  # 0 where the system does not tell
        rows.append(("≤ 64 MB", f"{memory:.0f} MB" if memory else "not measured", 0 < memory <= 64))
        error = max(value for name, value in notes.items() if name.startswith("error"))
        rows.append(("error ≤ 10⁻³", f"{error:.1e}", error <= 1e-3))
    if "peak memory of both in MB" in notes:
        both, alone = notes["peak memory of both in MB"], notes["peak memory of the forward pass in MB"]
        found = f"{both / alone:.2f} ×" if both and alone else "not measured"
        rows.append(("peak memory ≤ 1.3 × the forward pass's", found, 0 < both <= 1.3 * alone))
    return rows


def race(outcome: dict[str, Any]) -> str:
    """All contestants of a race, the fastest first."""
    seconds, ours = outcome["seconds"], outcome["seconds"]["ours"]
    title = outcome["title"][0].upper() + outcome["title"][1:]
    head = f"**{title}** ({outcome['device']}, {outcome['threads']} threads)\n"
    lines = [head, "| | median | over ours | runs |", "|---|---:|---:|---:|"]
    for name, value in sorted(seconds.items(), key=lambda pair: pair[1]):
        shown = {"ours": "**ours**", outcome["floor"]: f"{name} (floor)"}.get(name, name)
        lines.append(f"| {shown} | {_time(value)} | {value / ours:,.3g} × | {outcome['rounds'][name]} |")
    notes = {k: v for k, v in outcome["notes"].items() if k != "most ms"}
    if notes:
        listed = ", ".join(f"{name} {value:.3g}" for name, value in notes.items())
        lines += ["", f"{listed[0].upper()}{listed[1:]}."]
    return "\n".join(lines) + "\n"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.0f} µs"


def scaling(curves: dict[str, Any]) -> str:
    """One row a curve."""
    lines = ["| over | what | from | to | exponent |", "|---|---|---:|---:|---:|"]
    for name, curve in curves["curves"].items():
        ends = [f"{curve['sizes'][i]:,.0f}: {_time(curve['seconds'][i])}" for i in (0, -1)]
        lines.append(f"| {name} | {curve['what']} | {ends[0]} | {ends[1]} | {curve['exponent']:.2f} |")
    threads = sorted({curve["threads"] for curve in curves["curves"].values()})
    return "\n".join([*lines, "", f"Measured with {threads[0]} threads."]) + "\n"


def pictures(folder: Path, docs: Path) -> None:
    """pictures/scaling.png: all curves, both axes logarithmic, with the fitted slope of each."""
    import matplotlib.pyplot as plt
    import numpy as np

    shown = read(folder / "scaling.json")["curves"]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.2), constrained_layout=True)
    for axis, (name, curve) in zip(np.atleast_1d(axes), shown.items(), strict=True):
        sizes, seconds = np.array(curve["sizes"]), 1e3 * np.array(curve["seconds"])
        axis.loglog(sizes, seconds, "o-", color="#1f5fa8", markersize=4)
        line = seconds[-1] * (sizes / sizes[-1]) ** curve["exponent"]
        axis.loglog(sizes, line, ":", color="#c0504d", label=f"exponent {curve['exponent']:.2f}")
        axis.set_title(curve["what"], fontsize=9)
        axis.set_xlabel(name)
        axis.grid(True, which="major", alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    np.atleast_1d(axes)[0].set_ylabel("milliseconds")
    figure.savefig(docs / "pictures" / "scaling.png", dpi=110, metadata={"Software": None})
    plt.close(figure)
