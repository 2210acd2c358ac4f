"""Perception: the networks and known evidence of a world; everything from an image to a scene."""

from __future__ import annotations

import dataclasses
import logging
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8, UInt16
from torch import Tensor

from ignota.functional.regions import region_areas, region_mean
from ignota.perception.branch import BRANCH_SCORES, Branch, Branches
from ignota.perception.known import KnownEvidence
from ignota.perception.marks import CHANNEL_EXTENTS, Click, Mark, mark_mask
from ignota.perception.networks import ImageLike, Networks, largest_class
from ignota.perception.novel import Exemplar, NovelEvidence, Snapshot, assigned_class, nothing_taught
from ignota.perception.reading import anomaly_maps, own_score, read_regions, score_names
from ignota.perception.scene import Scene, Tables, Taught, UnknownRegion, enlarged, no_taught, working_objects
from ignota.structures import Encoding, InputError
from ignota.taxonomy import Taxonomy

_LOG = logging.getLogger(__name__)

_MOST_CHANNELS = 16


@dataclass
class Perception:
    """A closed-set segmenter that sees what is unknown. It knows no taught class; `OpenWorldModel` adds these.

    fitted: known evidence from training images, frozen. branches: of the paper's systems, built when they are first
    asked for. exemplar_branches: those that read every example that is taught, so that their methods know the class.
    """

    taxonomy: Taxonomy
    networks: Networks
    fitted: KnownEvidence
    branches: Branches = field(default_factory=Branches, kw_only=True)
    exemplar_branches: tuple[str, ...] = field(default=(), kw_only=True)

    _read: dict[int, tuple[weakref.ref[Encoding], KnownEvidence, Tables]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def device(self) -> torch.device:
        return self.networks.device

    @property
    def known(self) -> KnownEvidence:
        """What images are read by: the fitted evidence, with what a calibration adds."""
        return self.fitted

    @property
    def snapshot(self) -> Snapshot:
        """What was taught. Take it once where several of its parts must agree."""
        return nothing_taught(self.taxonomy, self.fitted)

    @property
    def classes(self) -> Taxonomy:
        """Known classes, then taught ones, numbered by world id."""
        return self.snapshot.classes

    @property
    def novel(self) -> NovelEvidence:
        return self.snapshot.novel

    @property
    def exemplars(self) -> tuple[Exemplar, ...]:
        """What was taught, by class and age."""
        return self.snapshot.exemplars

    def branch(self, system: str) -> Branch:
        """The branch of `paper` or `released`, built when it is first asked for; raises InputError for none."""
        found: Branch = self.branches.get(system, self.networks)
        return found

    def encode(self, image: ImageLike, size: int | None = None) -> Encoding:
        """Runs the networks once; everything else is cheap queries on the result."""
        return self.networks.encode(image, size)

    def tables(self, encoding: Encoding) -> Tables:
        """What is known of an image before anything is taught: regions, their embeddings, the anomaly score.

        Read once for as long as the encoding is kept, so that what was segmented is learnt from at once.
        """
        key, known = id(encoding), self.known
        of, by, tables = self._read.get(key, (None, None, None))
        if tables is not None and of is not None and of() is encoding and by is known:
            return tables
        with torch.inference_mode():
            reading = read_regions(encoding, known)
            score = own_score(encoding, known, reading)
        tables = Tables(encoding.size, closed_labels(encoding), score, reading)
        self._read[key] = weakref.ref(encoding, lambda _: self._read.pop(key, None)), known, tables
        return tables

    def taught(self, tables: Tables, novel: NovelEvidence | None = None) -> Taught:
        """Which regions belong to a taught class; novel: other evidence than the world's own.

        A region's excess of likeness to each class is averaged over the regions of all scales that it lies in. A region
        below the lowest similarity to a class does not belong to it. Where it belongs to a class, its anomaly falls to
        what the exemplars leave unexplained.
        """
        novel = self.novel if novel is None else novel
        if novel.taught is None:
            return no_taught(tables.regions, self.device)
        rows, recipe, reading = novel.taught, self.known.recipe, tables.reading
        with torch.inference_mode():
            space, embeddings = self.known.space, reading.embeddings
            anomaly = (region_mean(tables.score, reading.hierarchy.finest) - recipe.threshold) / recipe.scale
            surprise = self.known.surprise(anomaly, region_areas(reading.hierarchy.finest).to(anomaly.device))
            excess = reading.hierarchy.blend(space.excess(embeddings, reading.nearest, surprise, rows))
            similarity = space.taught_similarity(embeddings, rows)
            left = recipe.weights[2] * (1 - similarity.amax(1) - recipe.centre[2]) / recipe.spread[2]
            return Taught(assigned_class(excess, similarity, rows.margin, recipe.lowest_similarity), left)

    def segment(self, image: ImageLike | Encoding | UnknownRegion) -> Scene:
        """Labels, anomaly and unknown regions of a path, PIL image, array, tensor or encoding."""
        began, encoding = time.perf_counter(), self.encoding_of(image)
        scene = self.scene(encoding, self.tables(encoding))
        _LOG.debug("segmented %d×%d pixels in %.2f s", encoding.size[1], encoding.size[0], time.perf_counter() - began)
        return scene

    def scene(self, encoding: Encoding, tables: Tables) -> Scene:
        """The scene of an image from its tables: no network runs, and later teaching does not change it."""
        snapshot = self.snapshot
        recipe = snapshot.known.recipe
        return Scene(
            encoding, snapshot.classes, len(self.taxonomy), tables, self.taught(tables, snapshot.novel),
            recipe.threshold, recipe.scale, snapshot.known.space, recipe.cutoff,
        )  # fmt: skip

    def components(
        self, encoding: Encoding, score: Float[Tensor, "h w"], size: tuple[int, int]
    ) -> Bool[np.ndarray, "H W"] | None:
        """Where the surest unknown objects lie, at `size`; None where the recipe has no cutoff for them.

        score: the world's own, on the working grid.
        """
        recipe = self.known.recipe
        if recipe.component_cutoff is None:
            return None
        found = working_objects(score, encoding.image, recipe.threshold, recipe.scale, recipe.component_cutoff)
        return np.asarray(enlarged(found, size) > 0)

    def scores(self, encoding: Encoding, names: Sequence[str]) -> dict[str, Float[Tensor, "H W"]]:
        """Anomaly maps of the unlearnt world by the named scores, on the working grid."""

        @cache
        def read(system: str) -> Any:
            return self.branches.get(system, self.networks).read(encoding)

        def score(name: str) -> Float[Tensor, "H W"]:
            system = BRANCH_SCORES[name]
            found: Tensor = self.branches.get(system, self.networks).score(read(system), name)
            return found

        further = {name: partial(score, name) for name in self._branch_scores()}
        return anomaly_maps(encoding, self.known, names, further)

    def score_names(self) -> tuple[str, ...]:
        """Every score that the world can compute, its own recipe first."""
        return (*score_names(self.known), *self._branch_scores())

    def _branch_scores(self) -> tuple[str, ...]:
        return tuple(name for name, system in BRANCH_SCORES.items() if system in self.branches.systems)

    def channel_bits(self, encoding: Encoding) -> UInt16[np.ndarray, "h w"]:
        """Which meta channels of the branch `paper` are on, one bit each; none where the world has no such branch."""
        if "paper" not in self.branches.systems:
            return np.zeros(tuple(encoding.logits.shape[-2:]), np.uint16)
        on = (self.branch("paper").read(encoding).channels[:_MOST_CHANNELS] > 0.5).cpu().numpy()
        return np.asarray(
            (on.astype(np.uint16) << np.arange(len(on), dtype=np.uint16)[:, None, None]).sum(0), np.uint16
        )

    def select(self, scene: Scene, mark: Mark) -> UnknownRegion:
        """What a polygon, a box or a click picks of a scene; raises InputError for a mark outside the image."""
        given = type(mark).__name__.lower()
        wanted = isinstance(mark, Click) and mark.extent in CHANNEL_EXTENTS
        channels = self.channel_bits(scene.encoding) if wanted else np.zeros((1, 1), np.uint16)
        return scene.region(mark_mask(mark, scene, channels), given)

    def encoding_of(self, image: ImageLike | Encoding | UnknownRegion) -> Encoding:
        """The encoding of whatever stands for an image; the networks run only where there is none yet."""
        if isinstance(image, UnknownRegion):
            return image.encoding
        return image if isinstance(image, Encoding) else self.encode(image)


def closed_labels(encoding: Encoding) -> UInt8[np.ndarray, "H W"]:
    """The closed set's labels on the working grid."""
    return largest_class(encoding.logits, (encoding.image.shape[0], encoding.image.shape[1]))


def calibrated(known: KnownEvidence, **changes: Any) -> KnownEvidence:
    """The same evidence with other numbers in its recipe."""
    return dataclasses.replace(known, recipe=dataclasses.replace(known.recipe, **changes))


def check_shapes(networks: Networks, known: KnownEvidence, classes: int) -> None:
    """Raises InputError where taps, tensors and classes disagree."""
    offered = networks.offered
    for tap in networks.taps:
        _check(tap in offered, f"the networks have no tap {tap!r}; there are {', '.join(offered)}")
    _check("decoder" in networks.taps, "the tap 'decoder' is not kept")
    width = {tap: offered[tap].channels for tap in networks.taps}
    _check_own_space(known, sum(width[tap] for tap in known.recipe.taps), classes)
    _check_shape("means", known.means, (classes, width["decoder"]))
    for name in ("mean", "std"):
        _check_shape(f"score.sml.{name}", known.states["sml"][name], (classes,))
    for name, space in known.spaces.items():
        features = sum(width[tap] for tap in space.taps)
        _check_shape(f"space.{name}.embedder.mean", space.embedder.mean, (features,))
        _check_shape(f"space.{name}.prototypes", space.prototypes, (classes, space.embedder.second.out_features))


def _check_own_space(known: KnownEvidence, features: int, classes: int) -> None:
    """Nearest neighbours and held-out regions, in the taps of the recipe."""
    state, held_out = known.states["knn"], known.held_out
    rows, regions = len(state["owner"]), len(held_out.label)
    for name, shape in {"mean": (features,), "std": (features,), "coreset": (rows, features), "owner": (rows,)}.items():
        _check_shape(f"score.knn.{name}", state[name], shape)
    _check(bool((state["std"] > 0).all()), "score.knn.std holds values that are not above 0")
    _check_shape("held_out.vectors", held_out.vectors, (regions, features))
    for name in ("area", "strange"):
        _check_shape(f"held_out.{name}", getattr(held_out, name), (regions,))
    for name, ids in (("score.knn.owner", state["owner"]), ("held_out.label", held_out.label)):
        inside = not len(ids) or 0 <= int(ids.min()) <= int(ids.max()) < classes
        _check(inside, f"{name} names classes that are not there")


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    _check(tuple(tensor.shape) == shape, f"{name} has shape {tuple(tensor.shape)}, not {shape}")


def _check(holds: bool, fault: str) -> None:
    if not holds:
        raise InputError(f"this world's parts do not fit together ({fault}): copy or train it again")
