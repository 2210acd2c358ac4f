"""The stages of one experiment in order, each resumed where it stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ignota.data.datasets import LabelledImages
from ignota.data.shots import Shots, class_areas
from ignota.exemplars.store import ExemplarStore
from ignota.functional.numbers import evenly_spaced
from ignota.models.focus_network import PACKAGE, is_installed
from ignota.models.frozen_encoder import FrozenEncoder, frozen_taps
from ignota.models.objectness import Objectness, open_objectness
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.perception.branch import Branch, Branches, MetricNetwork, built
from ignota.perception.features import MetricSpace
from ignota.perception.known import KnownEvidence
from ignota.perception.networks import Networks
from ignota.perception.perception import calibrated
from ignota.perception.proposals import UncertaintyRegions, fit_edge_thresholds
from ignota.progress import progress
from ignota.storage.branch_files import beside, make_branch
from ignota.structures import InputError
from ignota.synthetic.pasting import cut_outs
from ignota.taxonomy import ClassSplit
from ignota.training.branch_run import steps_of, train_branch
from ignota.training.configuration import EmbedderConfig, ExperimentConfig, MetaChannelConfig
from ignota.training.distributed import each, is_rank_zero
from ignota.training.embedder_run import RegionRows, concatenate_rows, train_embedder, training_label, training_regions
from ignota.training.fitting import (
    HeldOutRows,
    calibrate,
    class_means,
    metric_space,
    no_regions,
    split_images,
    starting_recipe,
)
from ignota.training.full_recipe import Table, TrialReader, with_full
from ignota.training.held_out import HeldOutReader, calibrate_scores
from ignota.training.object_cutoff import with_cutoffs
from ignota.training.region_embedder_run import train_region_embedder
from ignota.training.score_states import fit_states
from ignota.training.segmenters import train_closed_set, train_metric_network
from ignota.training.stage_run import StageFolder, StageRun, fingerprint
from ignota.training.stream import Chosen, Samples, TrainingImages
from ignota.training.weighing import TRUSTED, Trial, WeightTable, least_trust, merit, written
from ignota.world.model import OpenWorldModel

_FOR_EDGES = 40
"""How many training images set α and β."""


def embedder_variants(config: EmbedderConfig) -> dict[str, EmbedderConfig]:
    """D as printed, by the circle loss alone, and as released, by cross entropy with a little of a self-paced one."""
    paper = dataclasses.replace(config, self_paced=False, classification=0.0, circle=1.0)
    return {"paper": paper, "released": config}


def check_trainable(config: ExperimentConfig, segmenter: ClosedSetSegmenter) -> None:
    """Raises InputError where branches are asked for around a segmenter without weights in torch."""
    if config.meta_channels.branches and next(segmenter.parameters(), None) is None:
        raise InputError("branches are trained on copies of the segmenter, and an ONNX file has no weights to train")


@dataclass
class Stages:
    """Trains a world for `config` in `folder`; everything finished before is read back.

    allow_download: whether a hub may be asked for weights that the configuration says to take from one.
    """

    config: ExperimentConfig
    samples: Samples
    folder: Path
    device: torch.device
    quiet: bool = False
    given: ClosedSetSegmenter | None = None
    allow_download: bool = False
    weights: WeightTable = field(init=False, default_factory=dict)
    trusted: dict[float, float] = field(init=False, default_factory=dict)

    @cached_property
    def split(self) -> ClassSplit:
        return self.config.data.class_split

    @cached_property
    def segmenter(self) -> ClosedSetSegmenter:
        """Stage 1, unless somebody's own segmenter was given."""
        if self.given is not None:
            return self.given.to(self.device).eval().requires_grad_(False)
        config = self.config
        run = self._stage("closed_set", config.seed, config.data, config.segmenter, config.closed_set)
        return train_closed_set(config, self.samples, run, self.allow_download)

    @cached_property
    def taps(self) -> tuple[str, ...]:
        wanted = (*self.config.fit.taps, *self.config.embedder.taps, "decoder")
        return tuple(dict.fromkeys(wanted))

    @cached_property
    def frozen(self) -> FrozenEncoder | None:
        taps = frozen_taps(self.taps)
        if not taps:
            return None
        fit = self.config.fit
        size = round(self.config.size * fit.magnify)
        network = FrozenEncoder(fit.frozen_encoder, taps, fit.frozen_weights, size, allow_download=self.allow_download)
        return network.to(self.device)

    @cached_property
    def images(self) -> list[int]:
        return evenly_spaced(len(self.samples), self.config.fit.images).tolist()

    @cached_property
    def objectness(self) -> Objectness | None:
        """The network of the recipe `full`; None where the configuration or the environment has none."""
        fit = self.config.fit
        if fit.objectness == "none" or (fit.objectness == "auto" and not is_installed()):
            return None
        source = PACKAGE if fit.objectness == "auto" else fit.objectness
        return open_objectness(source, fit.objectness_size).to(self.device)

    def networks(self) -> Networks:
        return Networks(self.segmenter, self.frozen, self.config.size, self.taps, self.device)

    @cached_property
    def branches(self) -> dict[str, Branch | MetricNetwork]:
        """The branch of every system that the configuration names."""
        check_trainable(self.config, self.segmenter)
        return {
            system: self.metric_network() if system == "dmlnet" else self.branch(system)
            for system in self.config.meta_channels.branches
        }

    def metric_network(self) -> MetricNetwork:
        """DMLNet's network: fine-tuned from the closed set or trained from ImageNet weights."""
        config, own = self.config, self.config.metric_network
        run = self._stage("metric_network", self._closed_hash, config.closed_set, own)
        start = self.segmenter if own.fine_tune else None
        network = train_metric_network(config, self.samples, run, start)
        card = {"system": "dmlnet", "fine_tuned": own.fine_tune, "steps": own.steps}
        return MetricNetwork(beside(self.networks(), network), card)

    def branch(self, system: str) -> Branch:
        """A copy of the closed set, fine-tuned with its meta channels, then D on its features."""
        config = self.config
        run = self._stage(f"meta_channels_{system}", self._closed_hash, config.size, self._crops, self._second(system))
        network = train_branch(config, system, self.segmenter, self.shown, run)
        place = self._stage(
            f"region_embedder_{system}", run.folder.hash, config.region_embedder, config.regions.min_area
        )
        embedder = train_region_embedder(config, system, network.segmenter, self.samples, place)
        card = branch_card(system, config)
        return make_branch(system, network.segmenter, network.head, embedder, self.networks(), card)

    @property
    def shown(self) -> Samples:
        """What stage 2 is shown: the training images, and with `meta_channels.shots` Appendix C.1's shots once more."""
        count = self.config.meta_channels.shots
        if not count:
            return self.samples
        images = cast(LabelledImages, self.samples)  # every source of training images of an experiment
        shots, areas = Shots(count), class_areas(images, self.split.novel)
        again = [i for c, row in zip(self.split.novel, areas, strict=True) for i in shots.choose(images, c, row)]
        return Chosen(images, [*range(len(images)), *again])

    @property
    def _crops(self) -> list[object]:
        """What stages 2 and 3 share with stage 1."""
        stage = self.config.closed_set
        return [stage.crop, stage.scale, stage.jitter, stage.rare, stage.frozen_norm]

    def _second(self, system: str) -> MetaChannelConfig:
        """What a system's stage 2 depends on: not which other branches there are, nor how those are trained."""
        own = dataclasses.replace(self.config.meta_channels, branches=(system,))  # type: ignore[arg-type]
        return own if system == "released" else dataclasses.replace(own, released_steps=0, released_crop=None)

    @cached_property
    def edges(self) -> tuple[float, float]:
        """α and β of Equation 2, from the configuration or from training images."""
        regions = self.config.regions
        if regions.alpha is not None and regions.beta is not None:
            return regions.alpha, regions.beta
        networks = dataclasses.replace(self.networks(), frozen=None, taps=())
        few = self.images[:: max(1, len(self.images) // _FOR_EDGES)]

        def read(image: int) -> tuple[NDArray[np.uint8], Tensor]:
            encoding = networks.encode(self.samples[image].image)
            return encoding.image, encoding.logits

        alpha, beta = fit_edge_thresholds(each(few, read), regions.edge_share)
        return regions.alpha or alpha, regions.beta or beta

    @cached_property
    def rows(self) -> RegionRows:
        """Harvested regions of the training images."""
        taps = tuple(dict.fromkeys((*self.config.embedder.taps, "decoder")))
        sources = self.config.embedder.regions
        networks, lut = dataclasses.replace(self.networks(), taps=taps), self.split.training_lut()
        urs = UncertaintyRegions(*self.edges, self.config.regions.min_area, whole=True)

        def read(image: int) -> RegionRows:
            sample = self.samples[image]
            encoding = networks.encode(sample.image)
            label = training_label(sample, lut, (encoding.image.shape[0], encoding.image.shape[1]))
            return training_regions(encoding, label, urs, sources, image, len(self.split.known))

        rows = []
        with self._bar("reading regions", len(self.images)) as bar:
            for found in each(self.images, read, (RegionRows,)):
                rows.append(found)
                bar.update()
        return concatenate_rows(rows)

    @cached_property
    def spaces(self) -> dict[str, MetricSpace]:
        """Stage 3 for every variant of D."""
        _, held_out = split_images(self.images, self.config.fit.held_out)
        classes = len(self.split.known)
        spaces = {}
        for name, config in embedder_variants(self.config.embedder).items():
            run = self._stage(f"embedder_{name}", self._closed_hash, self.config, config)
            embedder = train_embedder(config, self.rows, classes, run, f"embedder ({name})")
            spaces[name] = metric_space(config, embedder, self.rows, set(held_out), classes)
        return spaces

    @cached_property
    def known(self) -> KnownEvidence:
        """Stage 4."""
        kept, held_out = split_images(self.images, self.config.fit.held_out)
        networks = self.networks()
        data = TrainingImages(self.samples, kept, self.split.training_lut(), self.config.seed)
        recipe, spaces, classes = starting_recipe(self.config, *self.edges), self.spaces, len(self.split.known)
        means = class_means(self.rows, set(held_out), classes).to(self.device)
        with self._bar("fit", len(kept) + 2 * len(held_out)) as bar:
            scores = recipe.scores()
            states = fit_states(networks, data, scores, bar.update, self._training_bar)
            known = KnownEvidence(
                spaces, states, no_regions(states["knn"]["mean"].shape[0], self.device), recipe, means
            )
            known, self.weights, self.trusted = self._calibrated(known, held_out, bar)
            known = calibrate_scores(networks, known, dataclasses.replace(data, images=held_out), bar.update)
        self.objectness_weights: Table = {}
        known = known if self.objectness is None else self._full(known, held_out)
        with self._bar("objects", len(held_out)) as bar:
            return with_cutoffs(self._whole_reader, known, held_out, bar.update)

    def _full(self, known: KnownEvidence, held_out: Sequence[int]) -> KnownEvidence:
        """The evidence with the recipe `full` beside `light`."""
        trials = TrialReader(self._whole_reader, known)
        with self._bar("objectness", len(held_out)) as bar:
            known, self.objectness_weights = with_full(trials, held_out, bar.update)
        return known.under("full")

    @property
    def _whole_reader(self) -> HeldOutReader:
        """The reader whose networks see objectness, where there is such a network."""
        return dataclasses.replace(
            self.reader, networks=dataclasses.replace(self.networks(), objectness=self.objectness)
        )

    @cached_property
    def reader(self) -> HeldOutReader:
        fit, seed, names = self.config.fit, self.config.seed, self.split.known_taxonomy.names
        things, lut = cut_outs(fit.things, seed), self.split.training_lut()
        return HeldOutReader(self.networks(), self.samples, lut, names, things, fit.distort, seed)

    def _calibrated(
        self, known: KnownEvidence, held_out: Sequence[int], bar: tqdm
    ) -> tuple[KnownEvidence, WeightTable, dict[float, float]]:
        """The evidence with all numbers set on held-out images; the merits of all weights and pseudo-known shares."""
        fit, seed = self.config.fit, self.config.seed
        shares = TRUSTED if fit.trusted is None else (fit.trusted,)
        candidates = {share: calibrated(known, trusted=share) for share in shares}
        seen: dict[float, list[tuple[HeldOutRows, Trial]]] = {share: [] for share in shares}
        reader = self.reader
        for by_share in each(held_out, lambda image: reader.read(candidates, image), (HeldOutRows, Trial)):
            for share, found in by_share.items():
                seen[share].append(found)
            bar.update()
        read = {
            share: calibrate(candidates[share], [row for row, _ in found], [trial for _, trial in found], fit, seed)
            for share, found in seen.items()
        }
        merits = {share: max(map(merit, table.values()), default=0.0) for share, (_, table) in read.items()}
        return *read[least_trust(merits)], merits

    def world(self) -> OpenWorldModel:
        """All stages, joined; in memory, with no class taught."""
        known = self.known
        provenance = {
            "configuration": dataclasses.asdict(self.config),
            "configuration_hash": fingerprint(self.config),
            "weights": written(self.weights),
            "trusted": {str(share): found for share, found in self.trusted.items()},
            "objectness": written(self.objectness_weights),
        }
        branches = Branches({system: partial(built, branch) for system, branch in self.branches.items()})
        return OpenWorldModel(
            self.split.known_taxonomy,
            dataclasses.replace(self.networks(), objectness=self.objectness),
            known,
            ExemplarStore(None),
            provenance,
            branches=branches,
        )

    @cached_property
    def _closed_hash(self) -> str:
        config = self.config
        if self.given is not None:
            own = Networks(self.given, None, config.size, (), self.device)
            return fingerprint(config.seed, config.data, own.digest)
        return fingerprint(config.seed, config.data, config.segmenter, config.closed_set)

    def _stage(self, name: str, *parts: object) -> StageRun:
        folder = StageFolder(self.folder / "stages" / name, fingerprint(name, *parts))
        return StageRun(folder, self.device, self.config.seed, self.quiet)

    def _bar(self, title: str, total: int, unit: str = "image") -> tqdm:
        return progress(total, title, unit, self.quiet or not is_rank_zero())

    @contextmanager
    def _training_bar(self, title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
        with self._bar(title, total, unit) as bar:
            yield bar.update


def branch_card(system: str, config: ExperimentConfig) -> dict[str, Any]:
    """How a branch was trained: steps of both stages beside the paper's 10,000, and whether shots were shown."""
    return {
        "system": system,
        "steps": steps_of(system, config.meta_channels),
        "embedder_steps": config.region_embedder.steps,
        "published_steps": 10000,
        "shots_in_training": config.meta_channels.shots,
    }
