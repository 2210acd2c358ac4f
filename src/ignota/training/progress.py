"""Progress of a training stage: time left, loss, images per second; Lightning's own messages are hidden."""

from __future__ import annotations

import logging
import time
from typing import Any

import lightning as L
import torch

from ignota.progress import progress
from ignota.training.distributed import is_rank_zero


def hush_training() -> None:
    """Lightning tells its hardware on standard error, where only our own lines belong."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


class StageProgress(L.Callback):
    """One bar a stage; the loss is read from the device every `every` steps alone, to let a GPU run ahead."""

    def __init__(self, title: str, steps: int, batch: int, quiet: bool = False, every: int = 10) -> None:
        self.title, self.steps, self.batch, self.quiet, self.every = title, steps, batch, quiet, every
        self.losses: list[tuple[int, float]] = []
        self.started = time.monotonic()
        self.seconds_before = 0.0  # spent by earlier runs of the same stage, up to their last checkpoint

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        quiet = self.quiet or not is_rank_zero()
        self.bar = progress(self.steps, self.title, "step", quiet, initial=trainer.global_step, smoothing=0.05)
        self.first = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.bar.update(1)
        step = trainer.global_step
        if step % self.every == 0 or step == self.steps:
            loss = float(torch.as_tensor(outputs["loss"]).detach())
            self.losses.append((step, loss))
            speed = (step - self.first) * self.batch / max(1e-9, time.monotonic() - self.started)
            self.bar.set_postfix_str(f"loss {loss:.3f}, {speed:.1f} images/s", refresh=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar.close()

    def seconds(self) -> float:
        """Time spent on the stage, earlier runs up to their last checkpoint included."""
        return self.seconds_before + time.monotonic() - self.started

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses, "seconds": self.seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds_before = float(state_dict["seconds"])
        self.losses = [(int(step), float(loss)) for step, loss in state_dict["losses"]]
