"""Assigns regions or pixels to taught classes; pure functions."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ignota.functional.prototypes import cosine_similarity


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
