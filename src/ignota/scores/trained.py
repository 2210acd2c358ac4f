"""Scores whose state is learnt by gradient descent: their shared part."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ignota.scores.score import AnomalyScore, State

Tick = Callable[[], object]


class TrainedScore(AnomalyScore):
    """A score that trains a small network on what `observe` has kept: a bounded sample of each training image.

    steps: how many gradient steps the training takes in all.
    """

    steps: int

    @abstractmethod
    def train(self, observations: Sequence[State], seed: int, tick: Tick) -> State:
        """The state, a function of the observations, whatever their order, and the seed. tick: called once a step.

        Raises InputError where the training images hold nothing to learn from.
        """

    def state(self, observations: Sequence[State]) -> State:
        return self.train(observations, 0, lambda: None)


def ordered(observations: Sequence[State]) -> list[State]:
    """By a digest of what they hold, so that nothing depends on the order in which the images came."""

    def digest(observation: State) -> bytes:
        found = hashlib.sha256()
        for name in sorted(observation):
            found.update(observation[name].contiguous().numpy().tobytes())
        return found.digest()

    return sorted(observations, key=digest)


def descend(
    parameters: Sequence[Tensor], loss: Callable[[], Float[Tensor, ""]], steps: int, lr: float, tick: Tick
) -> None:
    """`steps` steps of Adam down `loss`, which draws a batch of its own, with a rate that falls to zero (power 0.9)."""
    optimiser = torch.optim.Adam(parameters, lr)
    decay = torch.optim.lr_scheduler.PolynomialLR(optimiser, max(1, steps), 0.9)
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            loss().backward()
            optimiser.step()
            decay.step()
            tick()


def initialised(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """The network with weights drawn from the generator (He et al. 2015) and no bias, ready to be trained."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network.train()


def packed(network: nn.Module, name: str) -> State:
    """The weights of a network as part of a state."""
    return {f"{name}.{key}": value.detach().clone() for key, value in network.state_dict().items()}


def unpacked(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The inverse of `packed`, for `torch.func.functional_call`."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
