"""The stages of one experiment in order, each taken up where it was left."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ignota.data.pasting import cut_things
from ignota.engine.closed_set_run import train_closed_set
from ignota.engine.configuration import EmbedderConfig, ExperimentConfig
from ignota.engine.embedder_run import train_embedder
from ignota.engine.fitting import (
    HeldOutRows,
    calibrate,
    class_means,
    metric_space,
    no_regions,
    split_images,
    starting_recipe,
)
from ignota.engine.harvest import RegionRows, chosen_images, collect_grids, harvest_regions, joined_rows, training_label
from ignota.engine.held_out import HeldOutReader
from ignota.engine.levels import with_levels
from ignota.engine.meta_channel_run import train_meta_channels
from ignota.engine.ranks import each, leads
from ignota.engine.records import StageFolder, fingerprint
from ignota.engine.score_states import fit_states
from ignota.engine.stream import Samples
from ignota.engine.weighing import TRUSTED, Trial, WeightTable, least_trust, merit
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.meta_channels import MetaChannelHead
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.regions.proposals import UncertaintyRegions, fit_edge_thresholds
from ignota.taxonomy import ClassSplit
from ignota.world.exemplars import ExemplarStore
from ignota.world.known import KnownEvidence
from ignota.world.model import OpenWorldModel, calibrated
from ignota.world.networks import Networks
from ignota.world.spaces import MetricSpace

_FOR_EDGES = 40
"""How many training images set α and β."""


def embedder_variants(config: EmbedderConfig) -> dict[str, EmbedderConfig]:
    """D as printed, by the circle loss alone, and as released, by cross entropy with a little of a self-paced one."""
    paper = dataclasses.replace(config, self_paced=False, classification=0.0, circle=1.0)
    return {"paper": paper, "released": config}


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
        return ClassSplit.parse(self.config.data.split)

    @cached_property
    def segmenter(self) -> ClosedSetSegmenter:
        """Stage 1, unless somebody's own segmenter was given."""
        if self.given is not None:
            return self.given.to(self.device).eval().requires_grad_(False)
        config = self.config
        folder = self._stage("closed_set", config.seed, config.data, config.segmenter, config.closed_set)
        network = train_closed_set(config, self.samples, folder, self.device, self.quiet, self.allow_download)
        return network.requires_grad_(False)

    @cached_property
    def taps(self) -> tuple[str, ...]:
        wanted = (*self.config.fit.taps, *self.config.embedder.taps, "decoder")
        return tuple(dict.fromkeys(wanted))

    @cached_property
    def frozen(self) -> FrozenEncoder | None:
        strides = [int(tap.split("/")[1]) for tap in self.taps if tap.startswith("frozen/")]
        if not strides:
            return None
        fit = self.config.fit
        size = round(self.config.size * fit.magnify)
        network = FrozenEncoder(
            fit.frozen_encoder, sorted(strides), fit.frozen_weights, size, allow_download=self.allow_download
        )
        return network.to(self.device)

    @cached_property
    def images(self) -> list[int]:
        return chosen_images(self.samples, self.config.fit.images)

    def networks(self, heads: dict[str, MetaChannelHead]) -> Networks:
        return Networks(self.segmenter, self.frozen, heads, self.config.size, self.taps, self.device)

    @cached_property
    def heads(self) -> dict[str, MetaChannelHead]:
        """Stage 2, by both presets' losses."""
        config = self.config.meta_channels
        names = ("paper", "released")
        folders = {
            name: self._stage(f"meta_channels_{name}", self._closed_hash, self.config.size, config) for name in names
        }
        networks = dataclasses.replace(self.networks({}), frozen=None, taps=())
        grids = None
        if any(folder.finished() is None for folder in folders.values()):
            with self._bar("reading logits", len(self.images)) as bar:
                grids = collect_grids(networks, self.samples, self.images, self.split.training_lut(), bar.update)
        return {
            name: train_meta_channels(
                config, name, len(self.split.known), grids, folder, self.device, self.config.seed, self.quiet
            )
            for name, folder in folders.items()
        }

    @cached_property
    def edges(self) -> tuple[float, float]:
        """α and β of Equation 2, from the configuration or from training images."""
        regions = self.config.regions
        if regions.alpha is not None and regions.beta is not None:
            return regions.alpha, regions.beta
        networks = dataclasses.replace(self.networks({}), frozen=None, taps=())
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
        heads = self.heads if "meta_channels" in sources else {}
        networks, lut = dataclasses.replace(self.networks(heads), taps=taps), self.split.training_lut()
        urs = UncertaintyRegions(*self.edges, self.config.regions.min_area, whole=True)

        def read(image: int) -> RegionRows:
            sample = self.samples[image]
            encoding = networks.encode(sample.image)
            label = training_label(sample, lut, (encoding.image.shape[0], encoding.image.shape[1]))
            return harvest_regions(networks, encoding, label, urs, sources, image, len(self.split.known))

        rows = []
        with self._bar("reading regions", len(self.images)) as bar:
            for found in each(self.images, read, (RegionRows,)):
                rows.append(found)
                bar.update()
        return joined_rows(rows)

    @cached_property
    def spaces(self) -> dict[str, MetricSpace]:
        """Stage 3 for every variant of D."""
        _, held_out = split_images(self.images, self.config.fit.held_out)
        classes = len(self.split.known)
        spaces = {}
        for name, config in embedder_variants(self.config.embedder).items():
            folder = self._stage(f"embedder_{name}", self._closed_hash, self.config, config)
            embedder = train_embedder(
                config, self.rows, classes, folder, self.device, self.config.seed, self.quiet, f"embedder ({name})"
            )
            spaces[name] = metric_space(config, embedder, self.rows, set(held_out), classes)
        return spaces

    @cached_property
    def known(self) -> KnownEvidence:
        """Stage 4."""
        kept, held_out = split_images(self.images, self.config.fit.held_out)
        networks, seed, lut = self.networks({}), self.config.seed, self.split.training_lut()
        recipe, spaces, classes = starting_recipe(self.config, *self.edges), self.spaces, len(self.split.known)
        means = class_means(self.rows, set(held_out), classes).to(self.device)
        with self._bar("fit", len(kept) + 2 * len(held_out)) as bar:
            scores = recipe.scores()
            states = fit_states(networks, self.samples, kept, scores, lut, seed, bar.update, self._training_bar)
            known = KnownEvidence(
                spaces, states, no_regions(states["knn"]["mean"].shape[0], self.device), recipe, means
            )
            known, self.weights, self.trusted = self._calibrated(known, held_out, bar)
            return with_levels(networks, known, self.samples, held_out, lut, seed, bar.update)

    @cached_property
    def reader(self) -> HeldOutReader:
        fit, seed, names = self.config.fit, self.config.seed, self.split.known_taxonomy.names
        things, lut = cut_things(fit.things, seed), self.split.training_lut()
        return HeldOutReader(self.networks({}), self.samples, lut, names, things, fit.distort, seed)

    def _calibrated(
        self, known: KnownEvidence, held_out: Sequence[int], bar: tqdm
    ) -> tuple[KnownEvidence, WeightTable, dict[float, float]]:
        """The evidence with every number that held-out images set, how all weights did, and all shares that vouch."""
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
            "weights": {" ".join(map(str, weights)): found for weights, found in self.weights.items()},
            "trusted": {str(share): found for share, found in self.trusted.items()},
        }
        networks = self.networks(self.heads)
        return OpenWorldModel(self.split.known_taxonomy, networks, known, ExemplarStore(None), provenance)

    @cached_property
    def _closed_hash(self) -> str:
        config = self.config
        if self.given is not None:
            weights = hashlib.sha256()
            for value in self.given.state_dict().values():
                weights.update(value.detach().cpu().contiguous().numpy().tobytes())
            return fingerprint(config.seed, config.data, weights.hexdigest())
        return fingerprint(config.seed, config.data, config.segmenter, config.closed_set)

    def _stage(self, name: str, *parts: object) -> StageFolder:
        return StageFolder(self.folder / "stages" / name, fingerprint(name, *parts))

    def _bar(self, title: str, total: int, unit: str = "image") -> tqdm:
        return tqdm(total=total, desc=title, unit=unit, disable=self.quiet or not leads(), mininterval=1.0)

    @contextmanager
    def _training_bar(self, title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
        with self._bar(title, total, unit) as bar:
            yield bar.update


def finished_stages(folder: Path) -> Sequence[str]:
    """Names of the stages that have ended in `folder`."""
    return sorted(path.parent.name for path in (folder / "stages").glob("*/stage.json"))
