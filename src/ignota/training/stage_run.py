"""One training stage from its first step to its weights; all stages start, resume and end alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from ignota.training.distributed import check_batch
from ignota.training.records import StageFolder
from ignota.training.training import Stage, StageProgress, run_stage, trained_weights

_LOG = logging.getLogger(__name__)

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Pace:
    """How long a stage trains.

    setting: of the configuration, whose `batch` it is. every: steps between two readings of the loss.
    """

    title: str
    setting: str
    steps: int
    batch: int
    checkpoint_every: int
    every: int = 10


@dataclass(frozen=True)
class StageRun:
    """Where a stage trains, and the seed of all that is drawn. folder: of its checkpoint, weights and record."""

    folder: StageFolder
    device: torch.device
    seed: int
    quiet: bool

    def trained(
        self,
        network: N,
        pace: Pace,
        begin: Callable[[], tuple[Stage, Any]],
        record: Mapping[str, Any] | None = None,
    ) -> N:
        """`network` with the weights of the stage, frozen, in evaluation mode; it trains where they are not there yet.

        begin: what learns, and its batches; made only to train. record: what is noted beside seconds and losses.
        Raises InputError as `check_batch`.
        """
        finished = self.folder.finished() is not None
        _LOG.info("%s: %s in %s", pace.title, "finished" if finished else "to be trained", self.folder.path)
        if not finished:
            check_batch(f"{pace.setting}.batch", pace.batch)
            self.folder.begin()
            module, loader = begin()
            progress = StageProgress(pace.title, pace.steps, pace.batch, self.quiet, pace.every)
            epochs = -(-pace.steps // pace.checkpoint_every)
            run_stage(module, loader, self.folder.path, epochs, self.device, [progress])
            noted = {"seconds": progress.seconds(), "losses": progress.losses, **(record or {})}
            self.folder.finish(trained_weights(module, self.folder.path), noted)
        network.load_state_dict(self.folder.tensors())
        return network.to(self.device).eval().requires_grad_(False)
