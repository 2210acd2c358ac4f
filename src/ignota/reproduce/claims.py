"""What the paper claims about its methods, held against what was measured: who is better, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from ignota.reproduce.cells import LOSSES, AnomalyCell, Cell, IncrementalCell, Variant
from ignota.reproduce.description import Lookup, values_of
from ignota.reproduce.grounds import Setting
from ignota.reproduce.measuring import obtainable
from ignota.reproduce.tables import seeds

_SURE = 2.0
"""Standard errors by which a mean difference must pass zero."""
HARM, AUPR = ("miou", "harmonic"), ("dmlnet", "aupr")


@dataclass(frozen=True)
class Claim:
    """`better` beats `worse`: cells seed by seed, a single one standing for all. claim: of the paper, in short."""

    claim: str
    comparison: str
    better: tuple[Cell, ...]
    worse: tuple[Cell, ...]
    path: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """difference: mean of better - worse in points. error: its standard error, None for a single pair.

    word: holds, does not hold, undecided, or not measured.
    """

    claim: Claim
    first: float | None
    second: float | None
    difference: float | None
    error: float | None
    word: str


def verdict(claim: Claim, lookup: Lookup) -> Verdict:
    """Undecided: less than two standard errors from zero, or no difference; a single pair shows its sign alone."""
    first, second = (values_of(cells, claim.path, lookup) for cells in (claim.better, claim.worse))
    if not first or not second or None in first or None in second:
        return Verdict(claim, None, None, None, None, "not measured")
    one, two = _points(first), _points(second)
    count = max(len(one), len(two))
    pairs = [a - b for a, b in zip(_spread(one, count), _spread(two, count), strict=True)]
    mean = fmean(pairs)
    error = stdev(pairs) / len(pairs) ** 0.5 if len(pairs) > 1 else None
    unsure = mean == 0 or (error is not None and abs(mean) <= _SURE * error)
    word = "undecided" if unsure else "holds" if mean > 0 else "does not hold"
    return Verdict(claim, fmean(one), fmean(two), mean, error, word)


def _points(values: Sequence[float | None]) -> list[float]:
    return [100 * value for value in values if value is not None]


def _spread(values: list[float], count: int) -> list[float]:
    return values * count if len(values) == 1 else values


def claims(setting: Setting) -> tuple[Claim, ...]:
    """Every order that the paper states, under each preset, and the same for this project's own recipe."""
    return (*_region_over_pixel(setting), *_mca_over_urs(setting), *_each_loss(setting), *_anomalies(setting))


def _raml(setting: Setting, method: str, shots: int, **changes: object) -> tuple[Cell, ...]:
    variants = (Variant(seed, **changes) for seed in seeds(setting))  # type: ignore[arg-type]
    return tuple(IncrementalCell("16+3", method, shots, None, variant) for variant in variants)


_PRESETS = (("as printed", "raml_paper"), ("as released", "raml_released"))


def _region_over_pixel(setting: Setting) -> list[Claim]:
    text = "regions beat pixels"
    found = []
    for shots in (5, 1):
        npm = (IncrementalCell("16+3", "npm", shots),)
        for name, method in _PRESETS:
            label = f"RAML {name} over NPM, {shots} shot, mIoU harm"
            found.append(Claim(text, label, _raml(setting, method, shots), npm, HARM))
        own = (IncrementalCell("16+3", "raml", shots),)
        found.append(Claim(text, f"Ignota's own over NPM, {shots} shot, mIoU harm", own, npm, HARM))
    for place, where in enumerate(setting.ground.anomaly_sets):
        region, pixel = ((AnomalyCell(place, name),) for name in ("region:max_logit", "max_logit"))
        found.append(
            Claim(text, f"MaxLogit's mean over regions over MaxLogit, {where.title}, AUPR", region, pixel, AUPR)
        )
    return found


def _mca_over_urs(setting: Setting) -> list[Claim]:
    found = []
    for (name, mca), urs in zip(_PRESETS, ("raml_urs", "raml_urs_released"), strict=True):
        label = f"MCA over URS, {name}, 1 shot, mIoU harm"
        better, worse = (_raml(setting, method, 1) for method in (mca, urs))
        found.append(Claim("meta channels beat edges for learning", label, better, worse, HARM))
    return found


def _each_loss(setting: Setting) -> list[Claim]:
    found = []
    for count, loss in enumerate(LOSSES):
        for name, method in _PRESETS:
            more, fewer = (_raml(setting, method, 5, losses=LOSSES[:n]) for n in (count + 1, count))
            label = f"with L_{loss} over without, {name}, 5 shot, mIoU harm"
            found.append(Claim("each loss of meta channels helps", label, more, fewer, HARM))
    return found


def _anomalies(setting: Setting) -> list[Claim]:
    found = []
    for place, where in enumerate(setting.ground.anomaly_sets):
        for rival, score in (("MaxLogit", "max_logit"), ("DML", "dml")):
            worse = (AnomalyCell(place, score),) if obtainable(score) else ()
            for name, mine in _PRESETS:
                better = tuple(AnomalyCell(place, mine, Variant(seed)) for seed in seeds(setting))
                found.append(Claim("RAML beats MaxLogit and DML", f"RAML {name} over {rival}, {where.title}, AUPR",
                                   better, worse, AUPR))  # fmt: skip
            own = (AnomalyCell(place, "raml"),)
            found.append(Claim("RAML beats MaxLogit and DML", f"Ignota's own over {rival}, {where.title}, AUPR",
                               own, worse, AUPR))  # fmt: skip
    return found
