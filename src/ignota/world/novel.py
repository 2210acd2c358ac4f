"""What a world knows of taught classes: a pure function of the exemplar rows, so that forgetting comes for free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ignota.functional.prototypes import class_prototypes
from ignota.world.known import KnownEvidence, Recipe
from ignota.world.spaces import MetricSpace, Pooled, owner_similarity

NEIGHBOURS = 3


@dataclass(frozen=True)
class Exemplar:
    """One labelled example of a class, as numbers alone.

    whole: the mask's pooled taps, {tap: "1 F"}. parts: those of the regions inside it, {tap: "P F"}.
    shares: Equation 13's ratio of each meta channel, by preset, {preset: "M"}.
    """

    name: str
    whole: Pooled
    parts: Pooled
    shares: dict[str, Float[Tensor, " M"]]


@dataclass(frozen=True)
class NovelSpace:
    """Taught classes in one metric space.

    prototypes: "K D", Equation 10. parts: "P D" with their owner "P". margin: "K", by how much a region must be nearer
    to the class than to any known region.
    """

    prototypes: Float[Tensor, "K D"]
    parts: Float[Tensor, "P D"]
    owner: Int[Tensor, " P"]
    margin: Float[Tensor, " K"]


@dataclass(frozen=True)
class NovelEvidence:
    """Taught classes in order of teaching.

    selected: the meta channels they use, by preset (Equation 14). means: "K F" mean decoder features, for NPM.
    """

    names: tuple[str, ...]
    spaces: dict[str, NovelSpace]
    selected: dict[str, Bool[Tensor, " M"]]
    means: Float[Tensor, "K F"]


def novel_evidence(known: KnownEvidence, exemplars: Sequence[Exemplar]) -> NovelEvidence:
    """Prototypes, margins and meta channels of all taught classes; the order of exemplars within a class is irrelevant
    up to rounding."""
    names = tuple(dict.fromkeys(exemplar.name for exemplar in exemplars))
    if not names:
        return NovelEvidence((), {}, {}, known.means[:0])
    index = {name: i for i, name in enumerate(names)}
    spaces = {key: _novel_space(space, exemplars, index, known.recipe) for key, space in known.spaces.items()}
    kappa = {"paper": known.recipe.kappa, "released": 0.15}  # Appendix C.2 and the released code
    selected = {
        preset: (torch.stack([exemplar.shares[preset] for exemplar in exemplars]) > kappa[preset]).any(0)
        for preset in exemplars[0].shares
    }
    decoder = torch.cat([exemplar.whole["decoder"] for exemplar in exemplars])
    means = class_prototypes(decoder, torch.tensor([index[exemplar.name] for exemplar in exemplars]), len(names))
    return NovelEvidence(names, spaces, selected, means.to(known.means.device))


def _novel_space(
    space: MetricSpace, exemplars: Sequence[Exemplar], index: dict[str, int], recipe: Recipe
) -> NovelSpace:
    device = space.prototypes.device
    whole = torch.cat([space.embed(_on(exemplar.whole, device)) for exemplar in exemplars])
    owner = torch.tensor([index[exemplar.name] for exemplar in exemplars], device=device)
    parts = [space.embed(_on(exemplar.parts, device)) for exemplar in exemplars]
    part_owner = torch.cat([owner, owner.repeat_interleave(torch.tensor([len(p) for p in parts], device=device))])
    rows = torch.cat([whole, *parts])
    similarity = owner_similarity(space.calibration, rows, part_owner, len(index), NEIGHBOURS)
    excess = similarity - space.reference_similarity(space.calibration, NEIGHBOURS)[:, None]
    margin = torch.stack([_area_quantile(e, space.calibration_area, 1 - recipe.steal) for e in excess.T])
    return NovelSpace(class_prototypes(whole, owner, len(index)), rows, part_owner, margin.clamp(min=0))


def _on(pooled: Pooled, device: torch.device) -> Pooled:
    return {tap: value.to(device) for tap, value in pooled.items()}


def _area_quantile(values: Tensor, areas: Tensor, share: float) -> Tensor:
    """The smallest value that is not exceeded on `share` of the area."""
    order = values.argsort()
    covered = areas[order].double().cumsum(0)
    if len(values) == 0:
        return torch.zeros((), device=values.device)
    at = int(np.searchsorted((covered / covered[-1]).cpu().numpy(), share))
    return values[order[min(at, len(values) - 1)]]
