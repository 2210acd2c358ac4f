"""The weights of the pixel scores, chosen on held-out training images with simulated unknowns.

Two kinds of unknowns, as no one kind resembles all that a street may hold: known classes, each left out in turn as if
it had never been learnt, and things of the synthetic world pasted into the picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ignota.functional.curves import binary_curve, curve_metrics
from ignota.perception.known import KnownEvidence
from ignota.perception.reading import RegionReading, joined_parts, own_parts
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX

Weights = tuple[float, float, float]
WeightTable = dict[Weights, dict[str, float]]
"""The AUPR of each kind of trial under each choice of weights."""
LOGITS = ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))
FEATURES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
WEIGHTS: tuple[Weights, ...] = tuple((a, b, c) for a, b in LOGITS for c in FEATURES)
BALANCED: Weights = (0.5, 0.5, 1.0)
TRUSTED = (0.0, 0.3, 0.5)
"""Pseudo-known shares of an image to choose from."""
PASTED = "pasted"
_POINT = 0.01
_PIXELS = 4000
"""How many pixels of each image count."""


@dataclass(frozen=True)
class Trial:
    """Some pixels of an image in which something counts as unknown.

    kind: the name of the class that is left out, or PASTED. parts: "3 N" the evidence, averaged over regions.
    """

    kind: str
    parts: Float[Tensor, "3 N"]
    unknown: Bool[np.ndarray, " N"]


def left_out_trials(
    encoding: Encoding,
    known: KnownEvidence,
    reading: RegionReading,
    label: UInt8[np.ndarray, "H W"],
    names: Sequence[str],
    rng: np.random.Generator,
) -> list[Trial]:
    """What each class in the image would look like if it had never been known."""
    trials = []
    for c in np.unique(label[label != IGNORE_INDEX]) if len(names) > 1 else ():
        target = np.where(label == IGNORE_INDEX, IGNORE_INDEX, label == c).astype(np.uint8)
        parts = own_parts(encoding, known, reading, int(c))
        trials.append(_trial(names[c], parts, reading, target, rng))
    return trials


def pasted_trial(
    encoding: Encoding,
    known: KnownEvidence,
    reading: RegionReading,
    target: UInt8[np.ndarray, "H W"],
    rng: np.random.Generator,
) -> Trial:
    """What pasted things look like. target: 0 known, 1 pasted, 255 void, on the working grid."""
    return _trial(PASTED, own_parts(encoding, known, reading), reading, target, rng)


def _trial(
    kind: str,
    parts: Float[Tensor, "3 H W"],
    reading: RegionReading,
    target: UInt8[np.ndarray, "H W"],
    rng: np.random.Generator,
) -> Trial:
    picked = counted_pixels(target, rng)
    places = torch.from_numpy(picked).to(parts.device)
    smooth = torch.stack([reading.hierarchy.smooth(part).flatten()[places] for part in parts])
    return Trial(kind, smooth.cpu(), target.ravel()[picked] == 1)


def counted_pixels(target: UInt8[np.ndarray, "H W"], rng: np.random.Generator) -> Int[np.ndarray, " N"]:
    """Flat indices of pixels that are not void, drawn at random, as many as count of an image."""
    counted = np.flatnonzero(target.ravel() != IGNORE_INDEX)
    return rng.choice(counted, min(_PIXELS, len(counted)), replace=False)


def written(table: Mapping[Any, dict[str, float]]) -> dict[str, dict[str, float]]:
    """A table of choices as provenance keeps it: numbers joined by blanks as keys."""
    return {" ".join(map(str, choice)): found for choice, found in table.items()}


def weigh(
    known: KnownEvidence, trials: Sequence[Trial], choices: Sequence[Weights] = WEIGHTS
) -> tuple[Weights, WeightTable]:
    """The one of `choices` with the best mean AUPR, and the AUPR of each kind of trial under each choice.

    Left-out classes, averaged, count as much as pasted things. Without any trial it is BALANCED.
    """
    kinds = {trial.kind: [t for t in trials if t.kind == trial.kind] for trial in trials}
    kinds = {kind: found for kind, found in kinds.items() if any(t.unknown.any() for t in found)}
    table: WeightTable = {}
    for weights in choices:
        weighed = dataclasses.replace(known, recipe=dataclasses.replace(known.recipe, weights=weights))
        table[weights] = {kind: _aupr(weighed, found) for kind, found in kinds.items()}
    return (max(table, key=lambda weights: merit(table[weights])) if kinds else BALANCED), table


def merit(found: Mapping[str, float]) -> float:
    """Mean AUPR: half of it the mean over left-out classes, half of it that of pasted things, or the one there is."""
    left_out = [value for kind, value in found.items() if kind != PASTED]
    halves = [float(np.mean(left_out))] if left_out else []
    halves += [found[PASTED]] if PASTED in found else []
    return float(np.mean(halves)) if halves else 0.0


def least_trust(merits: Mapping[float, float]) -> float:
    """Prefer the smallest pseudo-known share within one point of the best: merits of so few images vary by more than
    that (the rule of one standard error, Breiman et al. 1984)."""
    return min(share for share, found in merits.items() if found >= max(merits.values()) - _POINT)


def _aupr(known: KnownEvidence, trials: Sequence[Trial]) -> float:
    scores = np.concatenate([joined_parts(trial.parts, known).numpy() for trial in trials])
    return float(curve_metrics(binary_curve(scores, np.concatenate([trial.unknown for trial in trials])))["aupr"])
