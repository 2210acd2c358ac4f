"""Builds and trains the closed-set segmenter of an experiment, or resumes it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ignota.data.transforms import Augmentation
from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec, to_channels_last
from ignota.models.weights import imagenet_preprocessing
from ignota.taxonomy import ClassSplit
from ignota.training.closed_set import ClosedSetStage
from ignota.training.configuration import ClosedSetConfig, ExperimentConfig, SegmenterConfig
from ignota.training.distributed import group, loader_processes, part
from ignota.training.replicas import replica
from ignota.training.stage_run import Pace, StageRun
from ignota.training.stream import LIMIT, AugmentedStream, Kept, Samples, StepSampler, stream_loader


def build_segmenter(config: SegmenterConfig, num_classes: int, seed: int, allow_download: bool = False) -> SmpSegmenter:
    """The untrained network: ImageNet weights in the encoder, the rest drawn from `seed`."""
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        segmenter = SmpSegmenter(
            SmpSpec(
                num_classes,
                config.architecture,
                config.encoder,
                config.output_stride,
                config.decoder_channels,
                config.detail,
                preprocessing=imagenet_preprocessing(config.encoder.removeprefix("tu-")),
            )
        )
    if config.weights != "none":
        segmenter.load_imagenet(config.weights, allow_download)
    return segmenter


def crop_loader(
    stage: ClosedSetConfig, samples: Samples, split: ClassSplit, seed: int, name: str, device: torch.device
) -> DataLoader[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Random crops of training images for the stage called `name` (in `STAGES`), as stage 1 is shown them."""
    augmentation = Augmentation(stage.crop, stage.scale, jitter=stage.jitter, rare_class_probability=stage.rare)
    workers = loader_processes(device)
    kept = Kept(samples, LIMIT // (max(1, workers) * group().local_size))
    stream = AugmentedStream(kept, split.training_lut(), augmentation, seed, name)
    sampler = StepSampler(stage.batch, stage.checkpoint_every, stage.steps, part(stage.batch))
    return stream_loader(stream, sampler, workers, device.type == "cuda")


def train_closed_set(
    config: ExperimentConfig, samples: Samples, run: StageRun, allow_download: bool = False
) -> SmpSegmenter:
    """Stage 1 of `config` on `samples`; returns the segmenter in evaluation mode."""
    split, stage = config.data.class_split, config.closed_set
    finished = run.folder.finished() is not None
    start = dataclasses.replace(config.segmenter, weights="none") if finished else config.segmenter
    # in one memory layout whether it was trained just now or long ago: another one rounds differently
    segmenter = to_channels_last(build_segmenter(start, len(split.known), run.seed, allow_download))

    def begin() -> tuple[ClosedSetStage, DataLoader]:
        loader = crop_loader(stage, samples, split, run.seed, "closed_set", run.device)
        return ClosedSetStage(replica(segmenter, stage.batch, run.device), stage, run.seed), loader

    pace = Pace("closed set", "closed_set", stage.steps, stage.batch, stage.checkpoint_every)
    return run.trained(segmenter, pace, begin, {"configuration": dataclasses.asdict(stage)})
