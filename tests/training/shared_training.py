"""A small experiment in float32, for test_shared.py.

`FOLDER` trains it all in this process; `FOLDER ALONE` trains each stage in all processes that torchrun started, on what
the run in ALONE found before, and the closed set once more by FSDP, stopped half way and taken up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ignota.data.drawn import DrawnImages
from ignota.training import distributed, stage_run, training
from ignota.training.configuration import (
    ClosedSetConfig,
    DataConfig,
    EmbedderConfig,
    ExperimentConfig,
    FitConfig,
    MetaChannelConfig,
    RegionEmbedderConfig,
    SegmenterConfig,
)
from ignota.training.stages import Stages

CPU = torch.device("cpu")
STEPS = 4
EXPERIMENT = ExperimentConfig(
    name="shared",
    size=48,
    data=DataConfig("synthetic", "cityscapes:16+3", train_length=8, evaluate_length=2, height=48, width=96),
    segmenter=SegmenterConfig(encoder="test_efficientnet", weights="none", decoder_channels=16, detail=8),
    closed_set=ClosedSetConfig(
        steps=STEPS, batch=3, crop=(48, 64), warmup=2, checkpoint_every=2, dice=0.5, frozen_norm=True,
        encoder_lr=0.002, head_lr=0.02,
    ),
    meta_channels=MetaChannelConfig(
        steps=STEPS, batch=3, warmup=2, checkpoint_every=2, encoder_lr=0.002, head_lr=0.02
    ),
    region_embedder=RegionEmbedderConfig(steps=STEPS, batch=3, hidden=16, released_hidden=8, embedding=8, views=2),
    embedder=EmbedderConfig(steps=STEPS, batch=32, hidden=16, embedding=8),
    fit=FitConfig(objectness_size=56, things=4, coreset=50, reference=50, images=7, held_out=0.34, target_fpr=0.5),
)  # fmt: skip


def stages_in(folder: Path) -> Stages:
    data = EXPERIMENT.data
    samples = DrawnImages("train", data.train_length, (data.height, data.width), EXPERIMENT.seed)
    return Stages(EXPERIMENT, samples, folder, CPU, quiet=True)


def train_each_stage(folder: Path, alone: Path) -> None:
    """Each stage on what the stages before it gave the process alone, so that it answers for its own steps only."""
    assert stages_in(folder / "closed_set").segmenter is not None
    copied(alone, folder / "heads", "closed_set")
    stages = stages_in(folder / "heads")
    assert stages.branches and stages.spaces
    copied(alone, folder / "fit", "*")
    keep(stages_in(folder / "fit").world(), folder / "fit")


def stop_and_go_on(folder: Path) -> None:
    """The closed set, which is stopped after one of its two checkpoints."""
    run = stage_run.run_stage

    def stopped(module: Any, loader: Any, place: Path, epochs: int, *rest: Any) -> None:
        run(module, loader, place, epochs // 2, *rest)
        raise KeyboardInterrupt

    stage_run.run_stage = stopped
    with contextlib.suppress(KeyboardInterrupt):
        assert stages_in(folder).segmenter is None
    stage_run.run_stage = run
    assert distributed.broadcast((folder / "stages" / "closed_set" / training.CHECKPOINT).exists())
    assert stages_in(folder).segmenter is not None


def copied(source: Path, target: Path, pattern: str) -> None:
    if distributed.is_rank_zero():
        for stage in (source / "stages").glob(pattern):
            shutil.copytree(stage, target / "stages" / stage.name)
    distributed.broadcast(None)


def keep(world: Any, folder: Path) -> None:
    if distributed.is_rank_zero():
        tensors = {name: value.contiguous().clone() for name, value in world.known.tensors()}
        recipe = torch.frombuffer(bytearray(repr(world.known.recipe).encode()), dtype=torch.uint8)
        save_file(tensors | {"recipe": recipe}, folder / "fit.safetensors")


def refuse_to_write_below(folder: Path) -> None:
    """Any file that this process opens for writing there is an error from now on."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(str(folder)) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(f"rank {distributed.group().rank} writes {arguments[0]}")

    sys.addaudithook(watch)


def refuse_to_fork() -> None:
    """A process that is forked while a thread of gloo or OpenCV holds a lock would wait for it for ever."""

    def watch(event: str, _: tuple[Any, ...]) -> None:
        if event in ("os.fork", "os.forkpty"):
            raise RuntimeError(f"rank {distributed.group().rank} forks while it talks to the others")

    sys.addaudithook(watch)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if "STANDS_AFTER" in os.environ:
        faulthandler.dump_traceback_later(float(os.environ["STANDS_AFTER"]))
    torch.set_num_threads(1)
    training.precision_of = lambda device: "32-true"  # some CPUs have bfloat16, whose rounding would hide what differs
    places = [Path(word) for word in sys.argv[1:]]
    if len(places) == 1:
        keep(stages_in(places[0]).world(), places[0])
    else:
        with distributed.process_group(CPU) as found:
            refuse_to_fork()
            if found.rank:
                refuse_to_write_below(places[0])
            train_each_stage(*places)
            distributed._group = dataclasses.replace(found, strategy="fsdp")
            stop_and_go_on(places[0] / "fsdp")
