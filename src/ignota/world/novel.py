"""What a world knows of taught classes: a pure function of the exemplar rows, so that forgetting comes for free."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ignota.functional.prototypes import class_prototypes
from ignota.world.features import HeldOut, TaughtRows
from ignota.world.known import KnownEvidence, Recipe
from ignota.world.spaces import Pooled


@dataclass(frozen=True)
class Exemplar:
    """One labelled example of a class, as numbers alone.

    whole: the mask's pooled taps, {tap: "1 F"}. parts: those of the regions inside it, {tap: "P F"}.
    shares: Equation 13's ratio of each meta channel, by preset, {preset: "M"}. Each may hold what a branch reads under
    names of its own, such as `paper/decoder`.
    """

    name: str
    whole: Pooled
    parts: Pooled
    shares: dict[str, Float[Tensor, " M"]]


@dataclass(frozen=True)
class NovelEvidence:
    """Taught classes in order of teaching.

    taught: None where there are none. prototypes: "K D" of each space of D, Equation 10. selected: the meta channels
    that the classes use, by preset (Equation 14). means: "K F" mean decoder features, for NPM.
    """

    names: tuple[str, ...]
    taught: TaughtRows | None
    prototypes: dict[str, Float[Tensor, "K D"]]
    selected: dict[str, Bool[Tensor, " M"]]
    means: Float[Tensor, "K F"]


def novel_evidence(known: KnownEvidence, exemplars: Sequence[Exemplar]) -> NovelEvidence:
    """Prototypes, margins and meta channels of all taught classes; the order of exemplars within a class is irrelevant
    up to rounding."""
    names = tuple(dict.fromkeys(exemplar.name for exemplar in exemplars))
    if not names:
        return NovelEvidence((), None, {}, {}, known.means[:0])
    index = {name: i for i, name in enumerate(names)}
    device = known.means.device
    owner = torch.tensor([index[exemplar.name] for exemplar in exemplars], device=device)
    prototypes = {}
    for key, space in known.spaces.items():
        whole = torch.cat([space.embed(_on(exemplar.whole, device)) for exemplar in exemplars])
        prototypes[key] = class_prototypes(whole, owner, len(names))
    kappa = {"paper": known.recipe.kappa, "released": known.recipe.kappa_released}  # Appendix C.2 and the released code
    selected = {
        preset: (torch.stack([exemplar.shares[preset] for exemplar in exemplars]) > kappa[preset]).any(0)
        for preset in kappa
        if all(preset in exemplar.shares for exemplar in exemplars)
    }
    decoder = torch.cat([exemplar.whole["decoder"] for exemplar in exemplars]).float().to(device)
    means = class_prototypes(decoder, owner, len(names))
    return NovelEvidence(names, _taught_rows(known, exemplars, owner, len(names)), prototypes, selected, means)


def _taught_rows(known: KnownEvidence, exemplars: Sequence[Exemplar], owner: Tensor, classes: int) -> TaughtRows:
    """The regions of each exemplar and itself as a whole, and the margins that held-out regions ask for."""
    space, held_out, device = known.space, known.held_out, owner.device
    pieces = [
        torch.cat([space.embed(_on(exemplar.parts, device)), space.embed(_on(exemplar.whole, device))])
        for exemplar in exemplars
    ]
    number = torch.tensor([len(piece) for piece in pieces], device=device)
    whole = torch.zeros(int(number.sum()), dtype=torch.bool, device=device)
    whole[number.cumsum(0) - 1] = True
    shots, none = torch.bincount(owner, minlength=classes), torch.zeros(classes, device=device)
    taught = TaughtRows(torch.cat(pieces), owner.repeat_interleave(number), whole, none, shots)
    margin = [_margin(column, held_out, known.recipe) for column in held_out_excess(known, taught).T]
    return dataclasses.replace(taught, margin=torch.stack(margin))


def _margin(excess: Float[Tensor, " V"], held_out: HeldOut, recipe: Recipe) -> Float[Tensor, ""]:
    """The smallest that lets no more than `recipe.steal` of the known area be taken; below 0 only as far as no known
    class loses more than `recipe.steal_class`."""
    margin = area_quantile(excess, held_out.area, 1 - recipe.steal)
    for c in held_out.label.unique() if margin < 0 else ():
        own = held_out.label == c
        margin = torch.maximum(
            margin, area_quantile(excess[own], held_out.area[own], 1 - recipe.steal_class).clamp(max=0)
        )
    return margin


def held_out_excess(known: KnownEvidence, taught: TaughtRows) -> Float[Tensor, "V K"]:
    """How much held-out regions of known classes resemble each taught class beyond what they should."""
    (held, nearest), space = known.held, known.space
    surprise = known.recipe.surprised(known.held_out.strange.float())
    return space.excess(held, nearest, surprise, space.taught_likeness(held, taught), taught.shots)


def _on(pooled: Pooled, device: torch.device) -> Pooled:
    return {tap: value.to(device) for tap, value in pooled.items()}


def area_quantile(values: Tensor, areas: Tensor, share: float) -> Tensor:
    """The smallest value that is not exceeded on `share` of the area."""
    order = values.argsort()
    covered = areas[order].double().cumsum(0)
    if len(values) == 0:
        return torch.zeros((), device=values.device)
    at = int(np.searchsorted((covered / covered[-1]).cpu().numpy(), share))
    return values[order[min(at, len(values) - 1)]]
