"""The stages of one experiment in order, each taken up where it was left."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from tqdm import tqdm

from ignota.engine.closed_set_run import train_closed_set
from ignota.engine.configuration import EmbedderConfig, ExperimentConfig
from ignota.engine.embedder_run import train_embedder
from ignota.engine.fitting import calibrate, class_means, fit_states, metric_space, split_images, starting_recipe
from ignota.engine.harvest import RegionRows, chosen_images, collect_grids, harvest_regions, joined_rows, training_label
from ignota.engine.levels import with_levels
from ignota.engine.meta_channel_run import train_meta_channels
from ignota.engine.records import StageFolder, fingerprint
from ignota.engine.stream import Samples
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.meta_channels import MetaChannelHead
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.regions.proposals import UncertaintyRegions, fit_edge_thresholds
from ignota.taxonomy import ClassSplit
from ignota.world.exemplars import ExemplarStore
from ignota.world.known import KnownEvidence
from ignota.world.model import OpenWorldModel
from ignota.world.networks import Networks
from ignota.world.spaces import MetricSpace

_FOR_EDGES = 40
"""How many training images set α and β."""


def embedder_variants(config: EmbedderConfig) -> dict[str, EmbedderConfig]:
    """D as the world's own recipe, as printed and as released: the latter two see the decoder's features alone."""
    released = dataclasses.replace(
        config, taps=("decoder",), regions=("labels",), self_paced=True, classification=1.0, circle=0.1
    )
    paper = dataclasses.replace(released, self_paced=False, classification=0.0, circle=1.0)
    return {"ignota": config, "paper": paper, "released": released}


@dataclass
class Stages:
    """Trains a world for `config` in `folder`; everything finished before is read back."""

    config: ExperimentConfig
    samples: Samples
    folder: Path
    device: torch.device
    quiet: bool = False
    given: ClosedSetSegmenter | None = None

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
        return train_closed_set(config, self.samples, folder, self.device, self.quiet).requires_grad_(False)

    @cached_property
    def taps(self) -> tuple[str, ...]:
        wanted = (*self.config.embedder.taps, *self.config.fit.frozen_taps, "decoder")
        return tuple(dict.fromkeys(wanted))

    @cached_property
    def frozen(self) -> FrozenEncoder | None:
        strides = [int(tap.split("/")[1]) for tap in self.taps if tap.startswith("frozen/")]
        if not strides:
            return None
        network = FrozenEncoder(self.config.fit.frozen_encoder, sorted(strides), self.config.fit.frozen_weights)
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
        encodings = (networks.encode(self.samples[i].image) for i in few)
        pairs = ((encoding.image, encoding.logits) for encoding in encodings)
        alpha, beta = fit_edge_thresholds(pairs, regions.edge_share)
        return regions.alpha or alpha, regions.beta or beta

    @cached_property
    def rows(self) -> RegionRows:
        """Harvested regions of the training images."""
        networks, lut = self.networks(self.heads), self.split.training_lut()
        urs = UncertaintyRegions(*self.edges, self.config.regions.min_area, whole=True)
        rows = []
        with self._bar("reading regions", len(self.images)) as bar:
            for i in self.images:
                sample = self.samples[i]
                encoding = networks.encode(sample.image)
                label = training_label(sample, lut, (encoding.image.shape[0], encoding.image.shape[1]))
                rows.append(harvest_regions(networks, encoding, label, urs, i, len(self.split.known)))
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
            reference = self.config.fit.reference if name == "ignota" else 0
            spaces[name] = metric_space(config.taps, embedder, self.rows, set(held_out), reference, classes)
        return spaces

    @cached_property
    def known(self) -> KnownEvidence:
        """Stage 4."""
        kept, held_out = split_images(self.images, self.config.fit.held_out)
        networks, seed = self.networks(self.heads), self.config.seed
        recipe = starting_recipe(self.config, *self.edges, self.frozen is not None)
        spaces = self.spaces
        with self._bar("fit", len(kept) + 2 * len(held_out)) as bar:
            lut = self.split.training_lut()
            states = fit_states(networks, self.samples, kept, recipe, lut, seed, bar.update)
            means = class_means(self.rows, set(held_out), len(self.split.known)).to(self.device)
            known = KnownEvidence(spaces, states, recipe, means)
            known = calibrate(networks, known, self.samples, held_out, lut, seed, bar.update)
            return with_levels(networks, known, self.samples, held_out, lut, seed, bar.update)

    def world(self) -> OpenWorldModel:
        """All stages, joined; in memory, with no class taught."""
        provenance = {"configuration": dataclasses.asdict(self.config), "configuration_hash": fingerprint(self.config)}
        return OpenWorldModel(
            self.split.known_taxonomy, self.networks(self.heads), self.known, ExemplarStore(None), provenance
        )

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

    def _bar(self, title: str, total: int) -> tqdm:
        return tqdm(total=total, desc=title, unit="image", disable=self.quiet, mininterval=1.0)


def finished_stages(folder: Path) -> Sequence[str]:
    """Names of the stages that have ended in `folder`."""
    return sorted(path.parent.name for path in (folder / "stages").glob("*/stage.json"))
