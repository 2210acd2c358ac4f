"""Runs one gradient stage with Lightning: checkpoints, exact resume, progress."""

from __future__ import annotations

import io
import logging
import signal
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ignota.data.files import write_atomically
from ignota.models.inference import has_bfloat16
from ignota.progress import progress
from ignota.structures import InputError
from ignota.training.distributed import broadcast, group, is_rank_zero
from ignota.training.stream import STAGES, StepSampler

CHECKPOINT = "last.ckpt"


class Stage(L.LightningModule):
    """What all gradient stages share: seeding of every step, SGD with warm-up and poly decay.

    Random numbers of a step (dropout, sampling) follow from (seed, stage, step), not from what ran before.
    idle_weights: whether some weights have no part in the loss. shardable: whether FSDP may spread the network.
    learner: the attribute that holds what is trained.
    """

    idle_weights = False
    shardable = False
    learner = "segmenter"

    def __init__(self, seed: int, stage: int, steps: int, warmup: int, power: float) -> None:
        super().__init__()
        self.seed, self.stage_id, self.steps, self.warmup, self.power = seed, stage, steps, warmup, power

    def parameter_groups(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def on_train_start(self) -> None:
        if group().size > 1:
            # Lightning's own answer to SIGTERM waits for the other processes, of which one may be no more
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed((self.seed * 8 + self.stage_id) * 10_000_019 + self.global_step)

    def configure_optimizers(self) -> Any:
        groups = self.parameter_groups()
        optimiser = torch.optim.SGD(groups, momentum=groups[0]["momentum"], foreach=True)
        schedule = LambdaLR(optimiser, poly_schedule(self.steps, self.warmup, self.power))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def poly_schedule(steps: int, warmup: int, power: float) -> Callable[[int], float]:
    """Linear warm-up, then (1 - t/T)^power, never below 1e-4 of the start."""

    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / max(1, warmup))
        return rise * max(1e-4, (1.0 - min(step, steps) / max(1, steps)) ** power)

    return factor


def precision_of(device: torch.device) -> str:
    """Mixed precision in bfloat16 where the hardware has it, float32 elsewhere."""
    if has_bfloat16(device):
        return "bf16-mixed"
    return "16-mixed" if device.type == "cuda" else "32-true"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, syncs, then renames: a kill at any moment leaves the last whole one.

    Lightning's own way goes through the system's folder for temporary files, which may be another disk: then the file
    is copied to its place, and a kill leaves half of it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        stream = io.BytesIO()
        torch.save(checkpoint, stream)
        write_atomically(Path(path), stream.getbuffer())


def parallel_options(module: Stage) -> dict[str, Any]:
    """How Lightning trains `module` on every process of the group; the samples are dealt out by our own samplers."""
    found = group()
    if found.size == 1:
        return {"devices": 1, "plugins": [WholeCheckpoints()]}
    if found.strategy == "fsdp" and module.shardable:
        strategy: Any = ModelParallelStrategy(found.size, 1, save_distributed_checkpoint=False)
    else:
        strategy = DDPStrategy(broadcast_buffers=False, find_unused_parameters=module.idle_weights)
    return {
        "devices": found.local_size,
        "num_nodes": found.nodes,
        "strategy": strategy,
        "use_distributed_sampler": False,
        "plugins": [WholeCheckpoints(), TorchElasticEnvironment()],
    }


def run_stage(
    module: Stage,
    loader: Any,
    folder: Path,
    epochs: int,
    device: torch.device,
    callbacks: list[L.Callback],
) -> None:
    """Trains `module` for `epochs` epochs, goes on from the checkpoint in `folder` where there is one.

    A checkpoint is written after every epoch, see `WholeCheckpoints`.
    """
    if is_rank_zero():
        folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT
    goes_on = broadcast(is_rank_zero() and checkpoint.exists())
    if goes_on and isinstance(loader.sampler, StepSampler):
        # Lightning draws the first samples before it tells the sampler which epoch it resumes
        done = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"]
        loader.sampler.set_epoch(done // loader.sampler.steps)
    saver = ModelCheckpoint(
        folder, filename="last", save_top_k=1, monitor=None, every_n_epochs=1, enable_version_counter=False
    )
    with warnings.catch_warnings():
        # Lightning advises on worker counts, logging intervals and checkpoint folders; all are chosen on purpose
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch.optim.lr_scheduler")
        trainer = L.Trainer(
            accelerator="cuda" if device.type == "cuda" else "cpu",
            precision=precision_of(device),  # type: ignore[arg-type]
            max_epochs=epochs,
            logger=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            callbacks=[saver, *callbacks],
            **parallel_options(module),
        )
        try:
            trainer.fit(module, loader, ckpt_path=checkpoint if goes_on else None, weights_only=True)
        except InputError as error:  # a loader's process puts its traceback before the line that people need
            raise InputError(str(error).rpartition("InputError: ")[2].strip()) from None
        except SystemExit:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from None
        except RuntimeError:
            check_finite(module)
            raise
    check_finite(module)


def check_finite(module: Stage) -> None:
    """Raises InputError where training has diverged: some weights are infinite or not a number."""
    if not all(bool(value.isfinite().all()) for value in module.state_dict().values()):
        name = next(key for key, number in STAGES.items() if number == module.stage_id)
        raise InputError(
            f"the training of {name} diverged, so its weights are of no use: lower its learning rates, "
            f"lengthen its warm-up, or start from weights that are trained"
        ) from None


def normalise_images(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images "B H W 3" uint8 -> "B 3 H W" float, channels last in memory."""
    shift, scale = _on_device(mean, images.device), _on_device(std, images.device)
    return ((images.float() - shift) / scale).permute(0, 3, 1, 2)


def save_module(module: nn.Module) -> dict[str, Tensor]:
    """State dict on the CPU in contiguous memory, ready for safetensors."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def trained_weights(module: Stage, folder: Path) -> dict[str, Tensor]:
    """State dict of what `module` trained, after `run_stage`; under FSDP the checkpoint alone holds it all."""
    name = module.learner
    if not (group().strategy == "fsdp" and module.shardable and group().size > 1):
        return save_module(getattr(module, name))
    if not is_rank_zero():  # whose checkpoint it is, and who removes it when all is written
        return {}
    state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)["state_dict"]
    found = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
    return {key: value.contiguous() for key, value in found.items()}


@cache
def _on_device(values: tuple[float, ...], device: torch.device) -> Tensor:
    """In units of bytes. Copied once: a copy at every step would make the processor wait for the GPU each time."""
    return torch.tensor(values, device=device) * 255


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
