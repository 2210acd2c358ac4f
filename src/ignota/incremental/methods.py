"""Assigns regions or pixels to taught classes; pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ignota.functional.prototypes import cosine_similarity
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX

_LR, _MOMENTUM, _DECAY, _POWER = 0.1, 0.9, 1e-4, 0.9
"""RAML, Appendix C.1: SGD of the label predictor."""

_STEPS = 200
"""Neither paper nor released code says how long; one shot a step, the loss of a linear layer has long settled."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of outputs "P classes" and labels "P"."""


def by_margin(excess: Float[Tensor, "R K"], margin: Float[Tensor, " K"]) -> Int[Tensor, " R"]:
    """The taught class whose excess of likeness over the known ones passes its margin by the most; -1 for none.

    Keeps old classes: margins are set on regions of known classes, of which no more than a set share may be taken. One
    below 0 lets a class have what is a little nearer to known ones, but gives it no lead over other taught classes.
    """
    if excess.shape[1] == 0:
        return torch.full(excess.shape[:1], -1, device=excess.device)
    lead = torch.where(excess > margin, excess - margin.clamp(min=0), -torch.inf)
    best, winner = lead.max(1)
    return torch.where(best > -torch.inf, winner, -1)


def novel_prototype_method(
    features: Float[Tensor, "F h w"], known: Float[Tensor, "C F"], novel: Float[Tensor, "K F"]
) -> Int[Tensor, "h w"]:
    """NPM (Cen et al., ICCV 2021), pixel by pixel: the novel prototype, where it is nearer than every known one.

    Their metric head's distances are cosines here, so that it works on the features of any segmenter; -1 for none.
    """
    height, width = features.shape[1:]
    if len(novel) == 0:
        return torch.full((height, width), -1, device=features.device)
    vectors = features.flatten(1).T
    best, winner = cosine_similarity(vectors, novel).max(1)
    known_best = cosine_similarity(vectors, known).amax(1)
    return torch.where(best > known_best, winner, -1).view(height, width)


@dataclass(frozen=True)
class Shot:
    """An exemplar pixel by pixel: features "F h w", what the closed set says "h w" (0..C-1), and the mask "h w" of its
    class `owner`, 0..K-1."""

    features: Float[Tensor, "F h w"]
    closed: Int[Tensor, "h w"]
    mask: Bool[Tensor, "h w"]
    owner: int


@dataclass(frozen=True)
class Head:
    """A label predictor of known and some novel classes: 1×1 convolution, weight "classes F", bias "classes"."""

    weight: Float[Tensor, "classes F"]
    bias: Float[Tensor, " classes"]

    def labels(self, features: Float[Tensor, "F h w"]) -> Int[Tensor, "h w"]:
        """The class with the largest logit."""
        return self.outputs(features).argmax(0)

    def outputs(self, features: Float[Tensor, "F h w"]) -> Float[Tensor, "classes h w"]:
        """The logit of every class."""
        return torch.einsum("cf,fhw->chw", self.weight, features) + self.bias[:, None, None]


def fine_tuned(shots: Sequence[Shot], known: int, novel: int, seed: int = 0) -> Head:
    """FT: one head of known + novel classes, trained on the novel pixels alone; whatever it knew is forgotten."""
    targets = [torch.where(shot.mask, known + shot.owner, IGNORE_INDEX) for shot in shots]
    return trained_head([shot.features for shot in shots], targets, known + novel, seed)


def pseudo_label_heads(
    shots: Sequence[Shot], known: int, novel: int, seed: int = 0, loss: Loss = F.cross_entropy
) -> list[Head]:
    """PLM: for the t-th novel class a head of known + t classes. Its labels: the class on its own pixels, on all others
    what closed set and earlier heads say together. Raises InputError for a class without a shot."""
    heads: list[Head] = []
    for t in range(novel):
        own = [shot for shot in shots if shot.owner == t]
        if not own:
            raise InputError(f"no shot of novel class {t}: every class needs one")
        targets = [
            torch.where(shot.mask, known + t, every_head(heads, shot.features, shot.closed, known)) for shot in own
        ]
        heads.append(trained_head([shot.features for shot in own], targets, known + t + 1, seed + t, loss))
    return heads


def every_head(
    heads: Sequence[Head], features: Float[Tensor, "F h w"], closed: Int[Tensor, "h w"], known: int
) -> Int[Tensor, "h w"]:
    """PLM all: the closed set's labels, overwritten where head t says its own class, later heads over earlier ones."""
    found = closed
    for t, head in enumerate(heads):
        found = torch.where(head.labels(features) == known + t, known + t, found)
    return found


def trained_head(
    features: Sequence[Float[Tensor, "F h w"]],
    targets: Sequence[Int[Tensor, "h w"]],
    classes: int,
    seed: int,
    loss: Loss = F.cross_entropy,
) -> Head:
    """A 1×1 convolution trained by `loss` over labelled pixels, SGD with poly decay; 255 is void."""
    generator = torch.Generator().manual_seed(seed)
    device, channels = features[0].device, len(features[0])
    weight = (torch.randn(classes, channels, generator=generator) / channels**0.5).to(device).requires_grad_()
    bias = torch.zeros(classes, device=device, requires_grad=True)
    rows = [
        (grid.detach().clone().flatten(1).T, target.flatten()) for grid, target in zip(features, targets, strict=True)
    ]
    rows = [(grid[target != IGNORE_INDEX], target[target != IGNORE_INDEX]) for grid, target in rows]
    rows = [pair for pair in rows if len(pair[1])]
    optimiser = torch.optim.SGD([weight, bias], _LR, _MOMENTUM, weight_decay=_DECAY)
    decay = torch.optim.lr_scheduler.PolynomialLR(optimiser, _STEPS, _POWER)
    with torch.enable_grad():
        for step in range(_STEPS if rows else 0):
            vectors, label = rows[step % len(rows)]
            optimiser.zero_grad()
            loss(vectors @ weight.T + bias, label).backward()
            optimiser.step()
            decay.step()
    return Head(weight.detach(), bias.detach())
