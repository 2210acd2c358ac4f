"""Makes a network learn from a part of each batch what it would learn from the whole.

A batch that several processes share meets two kinds of layers that know of more than one sample: dropout, whose random
numbers run through the batch, and batch norm, whose statistics are the batch's.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TypeVar

import torch
from timm.layers import DropPath, convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ignota.structures import InputError
from ignota.training.configuration import ExperimentConfig
from ignota.training.distributed import group, part

Network = TypeVar("Network", bound=nn.Module)
_BLOCK = 500_000
"""So many weights make a module one that FSDP gathers by itself, unless it holds such modules."""


class SharedDropout(nn.Module):
    """Draws for a batch of `batch` samples and applies what falls to this process's part, "b …" -> "b …".

    It draws in the order of channels last, as one process does, whose network lies so. Raises InputError for a tensor
    whose rows are no samples, as the windows of windowed attention are.
    """

    def __init__(self, dropout: nn.Module, batch: int) -> None:
        super().__init__()
        self.dropout, self.batch = dropout, batch

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        own = len(range(self.batch)[part(self.batch)])
        if len(x) != own:
            raise InputError(
                f"a dropout of this network meets {len(x)} rows for {own} samples, so it cannot be shared among "
                "processes: train it with --devices 1, or without that dropout"
            )
        layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
        ones = torch.ones((self.batch, *x.shape[1:]), dtype=x.dtype, device=x.device).to(memory_format=layout)
        mask: Tensor = self.dropout(ones)
        return x * mask[part(self.batch)]


def fit_for_group(config: ExperimentConfig, device: torch.device) -> ExperimentConfig:
    """The configuration as a group of processes can train it: gloo, by which CPUs talk, cannot share the statistics of
    batch norm, so they are frozen there."""
    if group().size == 1 or device.type == "cuda":
        return config
    return dataclasses.replace(config, closed_set=dataclasses.replace(config.closed_set, frozen_norm=True))


def replica(network: Network, batch: int, device: torch.device) -> Network:
    """The network that this process trains on its part of each batch: itself where it trains alone, else a copy.

    On GPUs batch norm takes its statistics over all processes. Names of weights stay.
    """
    if group().size == 1:
        return network
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if _drops(child):
                setattr(parent, name, SharedDropout(child, batch))
    if device.type == "cuda":
        network = convert_sync_batchnorm(network)  # torch's own would lose the activation of timm's layers
    return network


def _drops(module: nn.Module) -> bool:
    """Whether it is a dropout that does anything; others stay, as attention may read their probability."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    return isinstance(module, DropPath) and bool(module.drop_prob)


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Spreads weights, gradients and momenta over the processes (FSDP), in place; one block is gathered at a time."""
    network.to(memory_format=torch.contiguous_format)  # FSDP knows no other
    for module in reversed(list(network.modules())):  # the innermost first
        weights = sum(weight.numel() for weight in module.parameters())
        parted = any(isinstance(inner, FSDPModule) for inner in module.modules())
        if weights >= _BLOCK and not parted and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            fully_shard(module, mesh=mesh)
    if not isinstance(network, FSDPModule):
        fully_shard(network, mesh=mesh)


def freeze_statistics(network: nn.Module) -> None:
    """Batch norm keeps the statistics that it has; its weights go on learning."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
