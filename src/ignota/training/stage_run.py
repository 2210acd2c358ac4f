"""One training stage from its first step to its result: all start, resume, end and record their configuration alike."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from ignota.data.files import write_atomically, write_json
from ignota.training.distributed import broadcast, check_batch, is_rank_zero
from ignota.training.training import Stage, StageProgress, run_stage, trained_weights

RECORD, TENSORS = "stage.json", "weights.safetensors"
_LOG = logging.getLogger(__name__)

N = TypeVar("N", bound=nn.Module)


def fingerprint(*parts: Any) -> str:
    """SHA-256 of configuration values: the same for equal values, whatever their order in a file.

    A setting that came up later counts only where it is not at its default, so that what was trained before keeps its
    name.
    """
    plain = [_plain(part) for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    plain = dataclasses.asdict(value)  # type: ignore[arg-type]
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        read = tuple(inner) if isinstance(inner, list) else inner  # as JSON has tuples
        if "later" in field.metadata and read == field.default:
            del plain[field.name]
        elif dataclasses.is_dataclass(inner):
            plain[field.name] = _plain(inner)
    return plain


@dataclass(frozen=True)
class StageFolder:
    """The folder of one stage: a checkpoint while it runs, weights and a record when it has ended.

    Of processes that train together the first one reads and writes, for all.
    """

    path: Path
    hash: str

    def finished(self) -> dict[str, Any] | None:
        """The record, if the stage ended with this configuration."""
        return broadcast(self._record() if is_rank_zero() else None)

    def _record(self) -> dict[str, Any] | None:
        try:
            record = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if record.get("hash") == self.hash and (self.path / TENSORS).exists() else None

    def begin(self) -> None:
        """Drops what another configuration left, so that it is never mixed with this one."""
        if not is_rank_zero():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        mark = self.path / "hash"
        if not mark.exists() or mark.read_text() != self.hash:
            for old in self.path.iterdir():
                if old.is_file():
                    old.unlink()
            mark.write_text(self.hash)
        for part in self.path.glob(".*.part"):  # of a write that was killed
            part.unlink()

    def tensors(self) -> dict[str, Tensor]:
        """What the stage has learnt, on the CPU."""
        return broadcast(safetensors.torch.load_file(self.path / TENSORS) if is_rank_zero() else {})

    def finish(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Writes tensors first and the record last: the record's presence means that all is there."""
        if not is_rank_zero():
            return
        write_atomically(self.path / TENSORS, safetensors.torch.save(tensors))
        write_json(self.path / RECORD, {"hash": self.hash, **record})
        for checkpoint in self.path.glob("*.ckpt"):
            checkpoint.unlink()


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
