"""Trains what tables share, each once: closed sets by their classes, worlds around them, branches, D."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Int
from tqdm import tqdm

from ignota.data.datasets import file_mark
from ignota.data.files import write_atomically, write_json
from ignota.data.shots import class_areas
from ignota.exemplars.store import ExemplarStore
from ignota.models.heads import MetaChannelNetwork
from ignota.perception.branch import DMLNET, Branch, Branches, MetricNetwork
from ignota.perception.features import MetricSpace
from ignota.perception.networks import Networks
from ignota.progress import progress
from ignota.reproduce.cells import LOSSES, Variant
from ignota.reproduce.given import closed_hash, take, trained_hash
from ignota.reproduce.grounds import Setting
from ignota.scores.score import State
from ignota.storage import bundle
from ignota.storage.branch_files import make_branch
from ignota.structures import InputError
from ignota.training.branch_run import train_branch
from ignota.training.configuration import ExperimentConfig
from ignota.training.embedder_run import train_embedder
from ignota.training.fitting import metric_space, split_images
from ignota.training.refitting import with_scores
from ignota.training.region_embedder_run import train_region_embedder
from ignota.training.score_states import KeptStates
from ignota.training.stage_run import RECORD, StageFolder, StageRun, fingerprint
from ignota.training.stages import Stages, branch_card, embedder_variants
from ignota.world.model import OpenWorldModel

RAML = ("paper", "released")
"""RAML's own branches."""
_SECONDS = "seconds.json"
CPU = torch.device("cpu")


def _on(state: State, device: torch.device) -> State:
    return {name: value.to(device).contiguous() for name, value in state.items()}


@dataclass
class Workshop:
    """The trained things of one setting in `folder`; what is finished is read back.

    given: folders of `ignota run` and worlds whose closed sets are taken where they were trained with the same
    configuration. allow_download: whether a hub may be asked for weights.
    """

    setting: Setting
    folder: Path
    device: torch.device
    quiet: bool = False
    given: tuple[Path, ...] = ()
    allow_download: bool = False
    _stages: dict[str, Stages] = field(init=False, default_factory=dict)
    _bases: dict[str, OpenWorldModel] = field(init=False, default_factory=dict)
    _trained: dict[str, MetaChannelNetwork] = field(init=False, default_factory=dict)
    _branches: dict[str, Branch] = field(init=False, default_factory=dict)
    _metric: dict[str, MetricNetwork] = field(init=False, default_factory=dict)
    _areas: dict[str, Int[np.ndarray, "256 N"]] = field(init=False, default_factory=dict)
    _files: dict[tuple[str, str], str] = field(init=False, default_factory=dict)

    def config(self, split: str) -> ExperimentConfig:
        """Of the world that serves a split, without branches, scores that need a state of their own, and objectness."""
        config = self.setting.config(split)
        second = dataclasses.replace(config.meta_channels, branches=())
        fit = dataclasses.replace(config.fit, scores=(), objectness="none")
        return dataclasses.replace(config, fit=fit, meta_channels=second)

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
        name = self.setting.ground.trained_as(split)
        if name not in self._metric:
            self._metric[name] = self.stages(name).metric_network()
        return self._metric[name]

    def world(self, split: str, variant: Variant) -> OpenWorldModel:
        """The base world with its paper's part made as `variant` says, and an empty store of its own.

        Its branches are trained or read when they are first asked for.
        """
        base = self.base(split)
        known = base.known
        if variant.one_hot or variant.seed:
            known = dataclasses.replace(known, spaces=self._spaces(split, variant))
        recipe = known.recipe
        if variant.edges is not None:
            recipe = dataclasses.replace(recipe, alpha=variant.edges[0], beta=variant.edges[1])
        if not variant.sobel:
            recipe = dataclasses.replace(recipe, alpha=float("inf"))
        known = dataclasses.replace(known, recipe=recipe)
        return dataclasses.replace(
            base, fitted=known, store=ExemplarStore(None), branches=self.branches(split, variant)
        )

    def branches(self, split: str, variant: Variant) -> Branches:
        """The branches of a variant, each made when it is first asked for."""

        def make(system: str, _: Networks) -> Branch:
            return self.branch(split, variant, system)

        makers = {system: partial(make, system) for system in RAML}
        return Branches(makers | {DMLNET: lambda _: self.metric_network(split)})

    def branch(self, split: str, variant: Variant, system: str) -> Branch:
        """The branch `paper` or `released` of a variant: each stage 2 and each D is trained once, whoever asks."""
        second, third = self.branch_folders(split, variant, system)
        stages, config = self.stages(split), self.branch_config(split, variant, system)
        seed = config.seed
        if second.hash not in self._trained:
            shown = dataclasses.replace(stages, config=config).shown
            run = StageRun(second, self.device, seed + variant.branch_seed, self.quiet)
            self._trained[second.hash] = train_branch(config, system, stages.segmenter, shown, run)
        if third.hash not in self._branches:
            network = self._trained[second.hash]
            run = StageRun(third, self.device, seed + variant.seed, self.quiet)
            embedder = train_region_embedder(config, system, network.segmenter, stages.samples, run)
            card = branch_card(system, config)
            networks = self.base(split).networks
            self._branches[third.hash] = make_branch(system, network.segmenter, network.head, embedder, networks, card)
        return self._branches[third.hash]

    def branch_config(self, split: str, variant: Variant, system: str) -> ExperimentConfig:
        """What a branch is trained by. L_rec as printed is null under softmax (ΣC = 1), so `paper` never has it."""
        config = self.config(split)
        own = config.meta_channels
        off = {name for name in LOSSES if name not in variant.losses or (name == "rec" and system == "paper")}
        changes: dict[str, Any] = dict.fromkeys(off, 0.0) | {"branches": (system,), "shots": variant.shown}
        if system == "paper" and variant.channels is not None:
            changes["channels"] = variant.channels
        return dataclasses.replace(config, meta_channels=dataclasses.replace(own, **changes))

    def branch_folders(self, split: str, variant: Variant, system: str) -> tuple[StageFolder, StageFolder]:
        """Of stage 2 and of D; those of branches that are the same are the same."""
        config = self.branch_config(split, variant, system)
        mark = fingerprint(self.place(split).name, config.meta_channels, config.seed + variant.branch_seed)
        second = self._folder(split, f"meta_channels_{system}", mark)
        mark = fingerprint(mark, config.region_embedder, config.regions.min_area, config.seed + variant.seed)
        return second, self._folder(split, f"region_embedder_{system}", mark)

    def card(self, split: str, system: str) -> dict[str, Any]:
        """How the main run's branch is trained: its schedule beside the paper's, and its seconds if it is there."""
        second, third = self.branch_folders(split, Variant(), system)
        config = self.branch_config(split, Variant(), system)
        seconds = sum(float((folder.finished() or {}).get("seconds", 0.0)) for folder in (second, third))
        return branch_card(system, config) | {"seconds": round(seconds, 1)}

    def scored(self, world: OpenWorldModel, split: str, names: Sequence[str]) -> OpenWorldModel:
        """`world` with the states of further scores, as `refused` has fitted them."""
        files = {name: self._state_file(split, name) for name in names}
        states = {name: _on(safetensors.torch.load_file(file), self.device) for name, file in files.items()}
        recipe = dataclasses.replace(world.fitted.recipe, extra=(*world.fitted.recipe.extra, *names))
        known = dataclasses.replace(world.fitted, recipe=recipe, states=world.fitted.states | states)
        return dataclasses.replace(world, fitted=known)

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

    def _spaces(self, split: str, variant: Variant) -> dict[str, MetricSpace]:
        stages, spaces = self.stages(split), {}
        _, held_out = split_images(stages.images, stages.config.fit.held_out)
        classes, seed = len(stages.split.known), stages.config.seed + variant.seed
        for name, config in embedder_variants(stages.config.embedder).items():
            config = dataclasses.replace(config, one_hot=variant.one_hot)
            folder = self._folder(split, f"embedder_{name}", fingerprint(config, seed))
            title = f"embedder ({name}, seed {seed})"
            run = StageRun(folder, self.device, seed, self.quiet)
            found = train_embedder(config, stages.rows, classes, run, title)
            spaces[name] = metric_space(config, found, stages.rows, set(held_out), classes)
        return spaces

    def _folder(self, split: str, name: str, mark: str) -> StageFolder:
        return StageFolder(self.place(split) / "stages" / f"{name}-{mark[:8]}", mark)

    def bar(self, title: str, total: int, unit: str = "image") -> tqdm:
        """A progress bar, unless the workshop is quiet."""
        return progress(total, title, unit, self.quiet)

    def check_given(self) -> None:
        """Raises InputError for a given folder that serves none of the networks here."""
        splits = self.setting.ground.splits
        wanted = {closed_hash(self.config(split)) for split in splits}
        for run in self.given:
            if trained_hash(run) not in wanted:
                raise InputError(f"{run} was trained with another configuration than any network here: leave it out")

    def is_given(self, split: str) -> bool:
        """Whether the closed set of a split is taken from a given folder."""
        wanted = closed_hash(self.config(split))
        return any(trained_hash(source) == wanted for source in self.given)

    def _take(self, config: ExperimentConfig, place: Path) -> None:
        """The given closed set of the same configuration, if there is one, atomically."""
        target = place / "stages" / "closed_set"
        for source in self.given:
            if not target.exists() and trained_hash(source) == closed_hash(config):
                take(source, target)
