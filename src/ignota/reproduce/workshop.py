"""Trains what tables share, each thing once: closed sets by their classes, worlds around them, meta channels, D."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Int
from tqdm import tqdm

from ignota.anomaly.score import State
from ignota.data.datasets import file_mark
from ignota.data.files import write_atomically
from ignota.data.shots import class_areas
from ignota.engine.configuration import EmbedderConfig, ExperimentConfig, MetaChannelConfig
from ignota.engine.embedder_run import train_embedder
from ignota.engine.fitting import metric_space, split_images
from ignota.engine.harvest import collect_grids
from ignota.engine.meta_channel_run import Grids, train_meta_channels
from ignota.engine.records import RECORD, StageFolder, fingerprint, write_json
from ignota.engine.refitting import with_scores
from ignota.engine.score_states import KeptStates
from ignota.engine.stages import Stages, embedder_variants
from ignota.models.meta_channels import MetaChannelHead
from ignota.reproduce.cells import LOSSES, Variant
from ignota.reproduce.given import closed_hash, take, trained_hash
from ignota.reproduce.grounds import Setting
from ignota.structures import InputError
from ignota.world import bundle
from ignota.world.exemplars import ExemplarStore
from ignota.world.metric_network import MetricNetwork
from ignota.world.model import OpenWorldModel
from ignota.world.networks import Networks
from ignota.world.spaces import MetricSpace

_PRESETS = ("paper", "released")
_SECONDS = "seconds.json"
CPU = torch.device("cpu")


def _on(state: State, device: torch.device) -> State:
    return {name: value.to(device).contiguous() for name, value in state.items()}


@dataclass
class Workshop:
    """The trained things of one setting in `folder`; what is finished is read back. given: folders of `ignota run`
    and worlds whose closed sets are taken where they were trained with the same configuration. allow_download: whether
    a hub may be asked for weights."""

    setting: Setting
    folder: Path
    device: torch.device
    quiet: bool = False
    given: tuple[Path, ...] = ()
    allow_download: bool = False
    _stages: dict[str, Stages] = field(init=False, default_factory=dict)
    _bases: dict[str, OpenWorldModel] = field(init=False, default_factory=dict)
    _grids: dict[str, Grids] = field(init=False, default_factory=dict)
    _areas: dict[str, Int[np.ndarray, "256 N"]] = field(init=False, default_factory=dict)
    _files: dict[tuple[str, str], str] = field(init=False, default_factory=dict)

    def config(self, split: str) -> ExperimentConfig:
        """Of the world that serves a split, without scores that need a state of their own."""
        config = self.setting.config(split)
        return dataclasses.replace(config, fit=dataclasses.replace(config.fit, scores=()))

    def place(self, split: str) -> Path:
        """Where everything around the network of a split lies."""
        config = self.config(split)
        name = config.data.split.replace(":", "-").replace(",", "-")
        return self.folder / f"{name}-{fingerprint(config, self.files('train', split))[:8]}"

    def files(self, kind: Literal["train", "evaluate"], split: str) -> str:
        """The mark of the files of one of the setting's image sets; each set is listed once."""
        if (kind, split) not in self._files:
            images = self.setting.train(split) if kind == "train" else self.setting.evaluate(split)
            self._files[kind, split] = file_mark(images)
        return self._files[kind, split]

    def anomaly_files(self, place: int) -> str:
        """The same of an anomaly set."""
        key = ("anomaly", str(place))
        if key not in self._files:
            self._files[key] = file_mark(self.setting.anomalies(place))
        return self._files[key]

    def stages(self, split: str) -> Stages:
        """Stages 1 to 4 of the network that serves a split."""
        name = self.setting.ground.trained_as(split)
        if name not in self._stages:
            place = self.place(name)
            self._take(self.config(name), place)
            self._stages[name] = Stages(
                self.config(name), self.setting.train(name), place, self.device, self.quiet,
                allow_download=self.allow_download,
            )  # fmt: skip
        return self._stages[name]

    def base(self, split: str) -> OpenWorldModel:
        """The world around the network of a split, with nothing taught, as it is read back from disk."""
        name = self.setting.ground.trained_as(split)
        if name not in self._bases:
            place = self.place(name)
            if not (place / "world").exists():
                started, before = time.monotonic(), self.seconds(name)
                bundle.save(self.stages(name).world(), place / "world")
                fitting = time.monotonic() - started - (self.seconds(name) - before)  # stages keep their own
                write_json(place / _SECONDS, {"seconds": max(0.0, fitting)})
            loaded = bundle.load(place / "world", self.device)
            loaded.store.close()
            self._bases[name] = dataclasses.replace(loaded, store=ExemplarStore(None))
        return self._bases[name]

    def metric_network(self, split: str) -> MetricNetwork:
        """DMLNet's network with the known classes of a split, trained once."""
        stages = self.stages(split)
        networks = Networks(stages.metric_network, None, {}, stages.config.size, ("decoder",), self.device)
        return MetricNetwork(networks)

    def world(self, split: str, variant: Variant) -> OpenWorldModel:
        """The base world with its paper's part made as `variant` says, and an empty store of its own."""
        base = self.base(split)
        known = base.known
        if variant.one_hot or variant.seed:
            known = dataclasses.replace(known, spaces=self._spaces(split, variant))
        recipe = known.recipe
        if variant.theta is not None:
            recipe = dataclasses.replace(recipe, theta=variant.theta)
        if variant.edges is not None:
            recipe = dataclasses.replace(recipe, alpha=variant.edges[0], beta=variant.edges[1])
        if not variant.sobel:
            recipe = dataclasses.replace(recipe, alpha=float("inf"))
        networks = base.networks
        if variant.seed or variant.losses != LOSSES or variant.channels is not None:
            networks = dataclasses.replace(networks, heads=self._heads(split, variant))
        known = dataclasses.replace(known, recipe=recipe)
        return dataclasses.replace(base, known=known, networks=networks, store=ExemplarStore(None))

    def scored(self, world: OpenWorldModel, split: str, names: Sequence[str]) -> OpenWorldModel:
        """`world` with the states of further scores, as `refused` has fitted them."""
        files = {name: self._state_file(split, name) for name in names}
        states = {name: _on(safetensors.torch.load_file(file), self.device) for name, file in files.items()}
        recipe = dataclasses.replace(world.known.recipe, extra=(*world.known.recipe.extra, *names))
        known = dataclasses.replace(world.known, recipe=recipe, states=world.known.states | states)
        return dataclasses.replace(world, known=known)

    def refused(self, split: str, names: Sequence[str]) -> dict[str, str]:
        """Fits scores on the training images of a split, each once; returns those that cannot be, with the reason."""
        missing = [name for name in names if not self._state_file(split, name).exists()]
        try:
            self._fit(split, missing)
            return {}
        except InputError as error:
            if len(missing) == 1:
                return {missing[0]: str(error)}
        found: dict[str, str] = {}
        for name in missing:
            found |= self.refused(split, [name])
        return found

    def _fit(self, split: str, names: Sequence[str]) -> None:
        if not names:
            return
        kept = KeptStates(self.place(split) / "fitting", fingerprint(self.place(split).name))
        with self.bar(f"fit {', '.join(names)}", len(self.stages(split).images)) as bar:
            train = self.setting.train(split)
            states = with_scores(self.base(split), names, train, bar.update, kept=kept).known.states
        for name in names:
            file = self._state_file(split, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, safetensors.torch.save(_on(states[name], CPU)))
        kept.drop()

    def _state_file(self, split: str, name: str) -> Path:
        return self.place(split) / "scores" / f"{name}.safetensors"

    def areas(self, split: str) -> Int[np.ndarray, "256 N"]:
        """Pixels of every label value in every training image, void too; splits of one data set share them."""
        data = fingerprint(dataclasses.replace(self.config(split).data, split=""))
        if data not in self._areas:
            images = self.setting.train(split)
            self._areas[data] = class_areas(images, range(256))
        return self._areas[data]

    def seconds(self, split: str) -> float:
        """What all trainings around the network of a split took, and fitting its world; 0 where there is none yet."""
        place = self.place(split)
        records = [*place.glob(f"stages/*/{RECORD}"), *place.glob(_SECONDS)]
        return sum(float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) for path in records)

    def _heads(self, split: str, variant: Variant) -> dict[str, MetaChannelHead]:
        stages = self.stages(split)
        base = stages.config.meta_channels
        weights = {name: getattr(base, name) if name in variant.losses else 0.0 for name in LOSSES}
        config = dataclasses.replace(base, channels=variant.channels or base.channels)
        config = dataclasses.replace(config, **weights)  # type: ignore[arg-type]
        folders = {preset: self._folder(split, f"meta_channels_{preset}", config, variant.seed) for preset in _PRESETS}
        grids = None
        if any(folder.finished() is None for folder in folders.values()):
            grids = self._grids_of(split)
        known, seed = len(stages.split.known), stages.config.seed + variant.seed
        return {
            preset: train_meta_channels(config, preset, known, grids, folder, self.device, seed, self.quiet)
            for preset, folder in folders.items()
        }

    def _spaces(self, split: str, variant: Variant) -> dict[str, MetricSpace]:
        stages, spaces = self.stages(split), {}
        _, held_out = split_images(stages.images, stages.config.fit.held_out)
        classes, seed = len(stages.split.known), stages.config.seed + variant.seed
        for name, config in embedder_variants(stages.config.embedder).items():
            config = dataclasses.replace(config, one_hot=variant.one_hot)
            folder = self._folder(split, f"embedder_{name}", config, variant.seed)
            title = f"embedder ({name}, seed {seed})"
            found = train_embedder(config, stages.rows, classes, folder, self.device, seed, self.quiet, title)
            spaces[name] = metric_space(config, found, stages.rows, set(held_out), classes)
        return spaces

    def _folder(self, split: str, name: str, config: MetaChannelConfig | EmbedderConfig, seed: int) -> StageFolder:
        mark = fingerprint(config, seed)
        return StageFolder(self.place(split) / "stages" / f"{name}-{mark[:8]}", mark)

    def _grids_of(self, split: str) -> Grids:
        name = self.setting.ground.trained_as(split)
        if name not in self._grids:
            stages = self.stages(name)
            networks = dataclasses.replace(stages.networks({}), frozen=None, taps=())
            lut = stages.split.training_lut()
            with self.bar("reading logits", len(stages.images)) as bar:
                self._grids = {name: collect_grids(networks, stages.samples, stages.images, lut, bar.update)}
        return self._grids[name]

    def bar(self, title: str, total: int, unit: str = "image") -> tqdm:
        """A progress bar, unless the workshop is quiet."""
        return tqdm(total=total, desc=title, unit=unit, disable=self.quiet, mininterval=1.0)

    def check_given(self) -> None:
        """Raises InputError for a given folder that serves none of the networks here."""
        splits = self.setting.ground.splits
        wanted = {closed_hash(self.config(split)) for split in splits}
        for run in self.given:
            if trained_hash(run) not in wanted:
                raise InputError(f"{run} was trained with another configuration than any network here: leave it out")

    def _take(self, config: ExperimentConfig, place: Path) -> None:
        """The given closed set of the same configuration, if there is one, whole or not at all."""
        target = place / "stages" / "closed_set"
        for source in self.given:
            if not target.exists() and trained_hash(source) == closed_hash(config):
                take(source, target)
