"""One image as every step of the paper sees it: the pictures that figures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from ignota.engine.exhibition import stretched
from ignota.functional.edges import edge_map
from ignota.functional.meta_channels import aggregate
from ignota.functional.regions import paint
from ignota.incremental.metric_methods import MetricEncoding
from ignota.regions.proposals import edge_evidence
from ignota.reports.pictures import channels_picture, colour_labels, heat_map, region_picture
from ignota.reproduce.pupils import Pupil
from ignota.structures import Encoding, RegionSet, Sample
from ignota.taxonomy import ClassSplit
from ignota.world.labelling import meta_regions
from ignota.world.model import closed_labels
from ignota.world.reading import uncertainty
from ignota.world.scene import Tables
from ignota.world.spaces import pool_taps

Picture = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class View:
    """An image with its labels before a pupil that was taught the novel classes of `split`."""

    sample: Sample
    split: ClassSplit
    pupil: Pupil

    @cached_property
    def encoding(self) -> Encoding:
        return self.pupil.world.encode(self.sample.image)

    @cached_property
    def tables(self) -> Tables:
        return self.pupil.world.tables(self.encoding)

    @cached_property
    def metric_encoding(self) -> MetricEncoding | None:
        """What DMLNet's network gives, if the pupil has one."""
        return None if self.pupil.network is None else self.pupil.network.encode(self.sample.image)

    @property
    def image(self) -> Picture:
        return self.encoding.image

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        return self.split.world_taxonomy.palette()

    def truth(self) -> Picture:
        """Known and novel classes in their colours, void black."""
        assert self.sample.label is not None
        return colour_labels(self.split.world_lut()[self.sample.label], self.palette)

    def labels(self, method: str) -> NDArray[np.uint8]:
        """World ids by a method, `closed` among them."""
        closed = closed_labels(self.encoding)
        return self.pupil.labels(self.encoding, self.tables, closed, method, False, self.metric_encoding)

    def coloured(self, method: str) -> Picture:
        return colour_labels(self.labels(method), self.palette)

    def edges(self) -> Picture:
        """Equation 2, black lines on white."""
        recipe, (sobel, unsure) = self.pupil.world.known.recipe, edge_evidence(self.image, self.encoding.logits)
        found = edge_map(sobel, unsure, recipe.alpha, recipe.beta)[0].cpu().numpy()
        return np.repeat(np.where(found, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)

    def regions(self) -> RegionSet:
        return self.pupil.world.known.recipe.urs(self.image, self.encoding.logits)

    def region_picture(self) -> Picture:
        return region_picture(self.regions().ids)

    def unsure(self) -> Picture:
        """1 - the largest softmax, stretched to what the image holds."""
        _, found = edge_evidence(self.image, self.encoding.logits)
        return heat_map(stretched(found[0].cpu().numpy()))

    def likeness(self, space: str) -> Picture:
        """P of Equation 4, region by region."""
        metric, regions = self.pupil.world.known.spaces[space], self.regions()
        values = metric.known_similarity(metric.embed(pool_taps(self.encoding, regions, metric.taps)))
        return heat_map(stretched(paint(values, regions, float(values.min()) if len(values) else 0.0).cpu().numpy()))

    def anomaly(self, score: str) -> Picture:
        """A score of the unlearnt world, stretched for the eye alone, over the grey image."""
        found = self.pupil.world.scores(self.encoding, [score])[score]
        return heat_map(stretched(found.cpu().numpy()), self.image)

    def intensity(self, space: str) -> Picture:
        """Q of Equation 5."""
        return heat_map(stretched(uncertainty(self.encoding, self.pupil.world.known, space).cpu().numpy()), self.image)

    def channels(self, preset: str) -> NDArray[np.float32]:
        """Meta channels "M h w" in 0..1."""
        return np.asarray(self.pupil.world.networks.channels(self.encoding, preset).cpu().numpy())

    def channel_tiles(self, preset: str) -> Picture:
        return channels_picture(np.stack([self.enlarged(channel) for channel in self.channels(preset)]))

    def aggregated(self, preset: str) -> Picture:
        """The union of the channels that the taught classes use, white."""
        world = self.pupil.world
        union = aggregate(world.networks.channels(self.encoding, preset), world.novel.selected[preset]).cpu().numpy()
        white = np.where(self.enlarged(union.astype(np.float32)) > 0.5, 255, 0).astype(np.uint8)
        return np.repeat(white[:, :, None], 3, axis=2)

    def enlarged(self, grid: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "H W"]:
        """A map on the logits' grid on the image's."""
        height, width = self.image.shape[:2]
        return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR))

    def candidates(self, preset: str) -> RegionSet:
        return meta_regions(self.pupil.world, self.encoding, preset)

    def candidate_picture(self, preset: str) -> Picture:
        return region_picture(self.candidates(preset).ids)


def worthiest(labels: Sequence[NDArray[np.uint8]], novel: Sequence[int], count: int) -> list[int]:
    """Images in which the novel classes are largest; not those that come out best."""
    shares = [float(np.isin(label, list(novel)).mean()) for label in labels]
    return sorted(range(len(shares)), key=lambda i: -shares[i])[:count]
