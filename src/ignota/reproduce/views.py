"""One image at every step of the paper: the pictures of its figures, and how compact classes are (Figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from ignota.data.images import resize_label
from ignota.functional.edges import edge_map
from ignota.functional.meta_channels import aggregate
from ignota.functional.regions import paint, region_majority
from ignota.perception.features import pool_taps
from ignota.perception.proposals import edge_evidence, label_regions
from ignota.perception.raml import RULES
from ignota.perception.reading import uncertainty
from ignota.reports.pictures import channels_picture, colour_labels, heat_map, region_picture
from ignota.reproduce.example import SPLIT
from ignota.reproduce.taught_worlds import SeenImage, TaughtWorld
from ignota.reproduce.workshop import Workshop
from ignota.structures import Encoding, InputError, RegionSet, Sample
from ignota.taxonomy import IGNORE_INDEX, ClassSplit
from ignota.training.exhibition import stretched

Picture = UInt8[np.ndarray, "H W 3"]
ON = 0.5
"""A meta channel is on from here, as in Equation 15."""
_EACH = 40
"""Pixels or regions of each class."""


@dataclass(frozen=True)
class View:
    """An image with its labels before a world that was taught the novel classes of `split`."""

    sample: Sample
    split: ClassSplit
    taught: TaughtWorld

    @cached_property
    def seen(self) -> SeenImage:
        return SeenImage(self.taught.world, self.sample.image, self.taught.network)

    @property
    def encoding(self) -> Encoding:
        return self.seen.encoding

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
        return self.taught.labels(self.seen, method)

    def coloured(self, method: str) -> Picture:
        return colour_labels(self.labels(method), self.palette)

    def edges(self) -> Picture:
        """Equation 2, black lines on white."""
        recipe, (sobel, unsure) = self.taught.world.known.recipe, edge_evidence(self.image, self.encoding.logits)
        found = edge_map(sobel, unsure, recipe.alpha, recipe.beta)[0].cpu().numpy()
        return np.repeat(np.where(found, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)

    def regions(self) -> RegionSet:
        return self.taught.world.known.recipe.urs(self.image, self.encoding.logits)

    def region_picture(self) -> Picture:
        return region_picture(self.regions().ids)

    def unsure(self) -> Picture:
        """1 - the largest softmax, stretched to what the image holds."""
        _, found = edge_evidence(self.image, self.encoding.logits)
        return heat_map(stretched(found[0].cpu().numpy()))

    def likeness(self, space: str) -> Picture:
        """P of Equation 4, region by region."""
        metric, regions = self.taught.world.known.spaces[space], self.regions()
        values = metric.known_similarity(metric.embed(pool_taps(self.encoding, regions, metric.taps)))
        return heat_map(stretched(paint(values, regions, float(values.min()) if len(values) else 0.0).cpu().numpy()))

    def anomaly(self, score: str) -> Picture:
        """A score of the unlearnt world, stretched for the eye alone, over the grey image."""
        found = self.taught.world.scores(self.encoding, [score])[score]
        return heat_map(stretched(found.cpu().numpy()), self.image)

    def intensity(self, space: str) -> Picture:
        """Q of Equation 5."""
        return heat_map(stretched(uncertainty(self.encoding, self.taught.world.known, space).cpu().numpy()), self.image)

    def channels(self, system: str) -> NDArray[np.float32]:
        """Meta channels "M h w" of a branch in 0..1."""
        return np.asarray(self.seen.read(self.taught.world.branch(system)).channels.cpu().numpy())

    def channel_tiles(self, system: str) -> tuple[str, Picture]:
        """All meta channels on one picture, captioned with the share of pixels on which any is on."""
        found = self.channels(system)
        text = share_on("meta channels C (Eq. 6-9)", found.max(0) >= ON)
        return text, channels_picture(np.stack([self.enlarged(channel) for channel in found]))

    def channel_pictures(self, system: str) -> list[tuple[str, Picture]]:
        """Each meta channel, captioned with the share of pixels on which it is on."""
        return [
            (share_on(f"channel {i + 1}", channel >= ON), heat_map(self.enlarged(channel)))
            for i, channel in enumerate(self.channels(system))
        ]

    def aggregated(self, method: str, title: str = "aggregated") -> tuple[str, Picture]:
        """The union of the channels that the taught classes use, white, with its caption."""
        rule = RULES[method]
        _, reading, evidence = self.taught.on_branch(self.seen, rule.system)
        union = aggregate(reading.channels, evidence.selected(rule.kappa)).cpu().numpy()
        white = np.where(self.enlarged(union.astype(np.float32)) > 0.5, 255, 0).astype(np.uint8)
        return share_on(title, union), np.repeat(white[:, :, None], 3, axis=2)

    def enlarged(self, grid: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "H W"]:
        """A map on the logits' grid on the image's."""
        height, width = self.image.shape[:2]
        return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR))

    def candidates(self, method: str) -> RegionSet:
        return self.taught.candidates(self.seen, method)

    def candidate_picture(self, method: str) -> tuple[str, Picture]:
        """The candidate regions, captioned with their number."""
        regions = self.candidates(method)
        return f"candidate regions: {regions.count or 'none'}", region_picture(regions.ids)


def share_on(title: str, on: Bool[np.ndarray, "h w"]) -> str:
    """A caption that says on how many pixels something is on, and so whether a picture is empty."""
    return f"{title}: {on.mean():.1%} on" if on.any() else f"{title}: empty, 0 % on"


def worthiest(labels: Sequence[NDArray[np.uint8]], novel: Sequence[int], count: int) -> list[int]:
    """Images in which the novel classes are largest; not those that come out best."""
    shares = [float(np.isin(label, list(novel)).mean()) for label in labels]
    return sorted(range(len(shares)), key=lambda i: -shares[i])[:count]


@dataclass(frozen=True)
class Cloud:
    """Points "N 2" of a t-SNE with their class "N", and the mean silhouette of the vectors they stand for, in -1..1."""

    title: str
    points: NDArray[np.float32]
    owner: NDArray[np.int64]
    silhouette: float


def clouds(workshop: Workshop, taught: TaughtWorld, system: str = "paper") -> tuple[Cloud, Cloud]:
    """Decoder features of the closed set's pixels, and embeddings by the D of a branch of the connected parts of the
    labels, of the same images."""
    images, split = workshop.setting.evaluate(SPLIT), workshop.setting.ground.parsed(SPLIT)
    branch, rng = taught.world.branch(system), np.random.default_rng(0)
    pixels, regions = [], []
    classes = len(split.world_taxonomy)
    for i in range(len(images)):
        sample = images[i]
        seen = SeenImage(taught.world, sample.image)
        features = seen.encoding.features["decoder"]
        assert sample.label is not None
        label = split.world_lut()[sample.label]
        grid = resize_label(label, (features.shape[1], features.shape[2])).ravel()
        for owner in np.unique(grid[grid != IGNORE_INDEX]):
            chosen = rng.permutation(np.flatnonzero(grid == owner))[: max(1, 2 * _EACH // len(images))]
            pixels += [(features.flatten(1)[:, j].cpu(), int(owner)) for j in chosen.tolist()]
        reading = seen.read(branch)
        working = resize_label(label, reading.size)
        found = label_regions(working, taught.world.known.recipe.min_area)
        majority, _ = region_majority(working, found, classes)
        with torch.inference_mode():
            embedded = branch.embedder(reading.pool(found)).cpu()
        regions += list(zip(embedded, majority.tolist(), strict=True))
    return (
        _cloud("pixel by pixel, the closed set's features", pixels, rng),
        _cloud("region by region, D of RAML as printed", regions, rng),
    )


def _cloud(title: str, found: list[tuple[torch.Tensor, int]], rng: np.random.Generator) -> Cloud:
    try:
        from sklearn.manifold import TSNE
        from sklearn.metrics import silhouette_score
    except ImportError:
        raise InputError("figure-6 needs scikit-learn: pip install 'ignota[reproduce]'") from None
    owner = np.array([label for _, label in found])
    kept = np.concatenate([rng.permutation(np.flatnonzero(owner == label))[:_EACH] for label in np.unique(owner)])
    vectors, owner = torch.stack([vector for vector, _ in found]).numpy()[kept], owner[kept]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    near = min(30.0, max(1.0, (len(vectors) - 1) / 3))
    points = TSNE(perplexity=near, init="pca", random_state=0).fit_transform(vectors)
    apart = silhouette_score(vectors, owner, metric="cosine") if 1 < len(np.unique(owner)) < len(owner) else 0.0
    return Cloud(title, points, owner, float(apart))
