"""A restricted Boltzmann machine with real visible and binary hidden units, as pure functions of its parameters.

E(v, h) = ½ ‖v - a‖² - bᵀh - vᵀWh. Visible units are of unit spread. Hinton, "Training Products of Experts by Minimizing
Contrastive Divergence", Neural Computation 2002; Hinton and Salakhutdinov, Science 2006, for real visible units.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def hidden(v: Float[Tensor, "N V"], weight: Float[Tensor, "V H"], b: Float[Tensor, " H"]) -> Float[Tensor, "N H"]:
    """p(h = 1 | v) = σ(b + Wᵀ v)."""
    return torch.sigmoid(v @ weight + b)


def visible(h: Float[Tensor, "N H"], weight: Float[Tensor, "V H"], a: Float[Tensor, " V"]) -> Float[Tensor, "N V"]:
    """The mean of p(v | h): a + W h."""
    return h @ weight.T + a


def free_energy(
    v: Float[Tensor, "N V"], weight: Float[Tensor, "V H"], a: Float[Tensor, " V"], b: Float[Tensor, " H"]
) -> Float[Tensor, " N"]:
    """-log Σ_h exp(-E(v, h)) = ½ ‖v - a‖² - Σ_j log(1 + exp(b_j + W_jᵀ v))."""
    return (v - a).square().sum(1) / 2 - F.softplus(v @ weight + b).sum(1)


def contrastive_divergence(
    v: Float[Tensor, "N V"],
    weight: Float[Tensor, "V H"],
    a: Float[Tensor, " V"],
    b: Float[Tensor, " H"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """A loss whose gradient is that of CD-1: the free energy of the data minus that of one step of Gibbs sampling.

    Hidden units are drawn, visible ones take their mean, as is usual for real visible units.
    """
    with torch.no_grad():
        drawn = torch.bernoulli(hidden(v, weight, b), generator=generator)
        dreamt = visible(drawn, weight, a)
    return free_energy(v, weight, a, b).mean() - free_energy(dreamt, weight, a, b).mean()


def reconstruction_error(
    v: Float[Tensor, "N V"], weight: Float[Tensor, "V H"], a: Float[Tensor, " V"], b: Float[Tensor, " H"]
) -> Float[Tensor, " N"]:
    """The mean square of v - (a + W σ(b + Wᵀ v)) over visible units."""
    return (v - visible(hidden(v, weight, b), weight, a)).square().mean(1)
