"""OpenWorldModel: segment an image, learn a class from examples, forget it again."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ignota.functional.meta_channels import channel_shares
from ignota.functional.regions import region_majority
from ignota.incremental.methods import by_margin
from ignota.regions.proposals import mask_region
from ignota.structures import Encoding, InputError, RegionSet
from ignota.taxonomy import MAX_CLASSES, ClassLabel, Taxonomy, nearest
from ignota.world.exemplars import ExemplarRow, ExemplarStore
from ignota.world.known import KnownEvidence
from ignota.world.networks import ImageLike, Networks
from ignota.world.novel import NEIGHBOURS, Exemplar, NovelEvidence, novel_evidence
from ignota.world.reading import anomaly_maps, own_score
from ignota.world.scene import Scene, UnknownRegion, empty_novel
from ignota.world.spaces import owner_similarity, pool_taps

_SMALLEST_MASK = 16
_PARTS = 64
_NEW_COLOURS = (
    (255, 200, 0),
    (0, 255, 180),
    (255, 90, 0),
    (160, 90, 255),
    (0, 220, 255),
    (190, 255, 0),
    (255, 120, 200),
)


@dataclass
class OpenWorldModel:
    """A closed-set segmenter with an open world round it.

    known: fitted on training images, frozen. provenance: where the world comes from, as in world.json.
    """

    taxonomy: Taxonomy
    networks: Networks
    known: KnownEvidence
    store: ExemplarStore
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        self.refresh()

    @property
    def device(self) -> torch.device:
        return self.networks.device

    @property
    def classes(self) -> Taxonomy:
        """Known classes, then taught ones, numbered by world id."""
        taught = tuple(
            ClassLabel(len(self.taxonomy) + i, label.name, label.colour) for i, label in enumerate(self.store.classes())
        )
        return Taxonomy(self.taxonomy.name, self.taxonomy.classes + taught)

    @property
    def novel(self) -> NovelEvidence:
        return self._novel

    def refresh(self) -> None:
        """Reads the exemplar rows again, as another process may have changed them."""
        self._novel = novel_evidence(self.known, self.store.exemplars())

    def encode(self, image: ImageLike, size: int | None = None) -> Encoding:
        """Runs the networks once; everything else is cheap queries on the result."""
        return self.networks.encode(image, size)

    def segment(self, image: ImageLike | Encoding) -> Scene:
        """Labels, anomaly and unknown regions of a path, PIL image, array, tensor or encoding."""
        encoding = image if isinstance(image, Encoding) else self.encode(image)
        with torch.inference_mode():
            regions = self.known.recipe.whole(encoding.image, encoding.logits)
            score = own_score(encoding, self.known, regions)
            novel, score = self._read_novel(encoding, regions, score)
        closed = closed_labels(encoding)
        recipe = self.known.recipe
        return Scene(
            encoding, self.classes, len(self.taxonomy), closed, score, regions, novel, recipe.threshold, recipe.scale
        )

    def scores(self, encoding: Encoding, names: Sequence[str]) -> dict[str, Float[Tensor, "H W"]]:
        """Anomaly maps of the unlearnt world by the named scores, on the working grid."""
        return anomaly_maps(encoding, self.known, names)

    def learn(
        self, name: str, exemplars: Sequence[tuple[ImageLike | Encoding, Bool[np.ndarray, "H W"] | UnknownRegion]]
    ) -> None:
        """Teaches `name` from pairs of an image and a mask (or an unknown region of it) in one transaction.

        Examples of a class that was taught before are added to it. Raises InputError for a name of a known class, an
        empty list, a mask of another size than its image, or one that is too small to see.
        """
        name = self._checked_name(name)
        if not exemplars:
            raise InputError(f"no example of {name!r} was given")
        rows = []
        for image, region in exemplars:
            encoding = image if isinstance(image, Encoding) else self.encode(image)
            mask = region.mask if isinstance(region, UnknownRegion) else np.asarray(region) != 0
            digest = hashlib.sha256(np.ascontiguousarray(encoding.image).tobytes()).hexdigest()
            rows.append(ExemplarRow(self.exemplar(name, encoding, mask), digest, "mask"))
        taken = {label.colour for label in self.classes.classes}
        colour = next((c for c in _NEW_COLOURS if c not in taken), _hashed_colour(name))
        self.store.add(name, colour, rows)
        self.refresh()

    def forget(self, name: str) -> None:
        """Drops a taught class; what `segment` gives is bit for bit what it gave before the class was taught."""
        taught = [label.name for label in self.store.classes()]
        if name not in taught:
            hint = (
                f"; {name!r} is a known class"
                if name in self.taxonomy.names
                else nearest(name, taught)
                if taught
                else ""
            )
            raise InputError(f"no taught class {name!r} to forget{hint}")
        self.store.remove(name)
        self.refresh()

    def exemplar(self, name: str, encoding: Encoding, mask: Bool[np.ndarray, "H W"]) -> Exemplar:
        """The numbers that a labelled example leaves behind: features of the mask, of its parts, and channel shares."""
        if mask.shape != encoding.size:
            sizes = f"{mask.shape[1]}×{mask.shape[0]}, its image {encoding.size[1]}×{encoding.size[0]}"
            raise InputError(f"the mask of {name!r} is {sizes}: draw it on the same image")
        working = resize_mask(mask, (encoding.image.shape[0], encoding.image.shape[1]))
        if working.sum() < _SMALLEST_MASK:
            raise InputError(f"the mask of {name!r} covers {int(mask.sum())} pixels: too few to learn from")
        height, width = encoding.logits.shape[-2:]
        with torch.inference_mode():
            whole = pool_taps(encoding, mask_region(working), self.networks.taps)
            parts = pool_taps(encoding, self._parts(encoding, working), self.networks.taps)
            grid = torch.from_numpy(resize_mask(working, (height, width))).to(self.device)[None]
            shares = {
                preset: channel_shares(self.networks.channels(encoding, preset)[None], grid, preset == "released")[0]
                for preset in self.networks.heads
            }
        return Exemplar(
            name, {k: v.cpu() for k, v in whole.items()}, {k: v.cpu() for k, v in parts.items()},
            {k: v.cpu() for k, v in shares.items()},
        )  # fmt: skip

    def _parts(self, encoding: Encoding, mask: Bool[np.ndarray, "H W"]) -> RegionSet:
        """The regions that lie mostly inside the mask, cut to it, the largest ones first in number order."""
        regions = self.known.recipe.whole(encoding.image, encoding.logits)
        inside, share = region_majority(mask.astype(np.uint8), regions, 2)
        kept = ((inside == 1) & (share > 0.7)).nonzero()[:_PARTS, 0]
        table = np.zeros(regions.count + 1, np.int32)
        table[kept.numpy() + 1] = np.arange(1, len(kept) + 1)
        return RegionSet(table[regions.ids], len(kept))

    def _read_novel(
        self, encoding: Encoding, regions: RegionSet, score: Float[Tensor, "H W"]
    ) -> tuple[Tensor, Float[Tensor, "H W"]]:
        """Which regions bear a taught class, and the score with those no longer unknown."""
        if not self.novel.names:
            return empty_novel(regions, self.device), score
        metric, taught = self.known.spaces["ignota"], self.novel.spaces["ignota"]
        embeddings = metric.embed(pool_taps(encoding, regions, metric.taps))
        similarity = owner_similarity(embeddings, taught.parts, taught.owner, len(self.novel.names), NEIGHBOURS)
        novel = by_margin(similarity, metric.reference_similarity(embeddings, NEIGHBOURS), taught.margin)
        return novel, self._familiar(score, regions, novel, similarity)

    def _familiar(
        self, score: Float[Tensor, "H W"], regions: RegionSet, novel: Tensor, similarity: Float[Tensor, "R K"]
    ) -> Float[Tensor, "H W"]:
        """In regions of a taught class only what D finds strange about them is left, and never more than before."""
        recipe = self.known.recipe
        strange = recipe.weights[2] * (1 - similarity.amax(1) - recipe.centre[2]) / recipe.spread[2]
        ids = torch.from_numpy(regions.ids).to(score.device).long()
        learnt = torch.cat([novel.new_zeros(1), (novel >= 0).to(novel.dtype)])[ids].bool()
        level = torch.cat([strange.new_zeros(1), strange])[ids]
        return torch.where(learnt, torch.minimum(score, level), score)

    def _checked_name(self, name: str) -> str:
        name = name.strip()
        if not name or len(name) > 64 or not name.isprintable():
            raise InputError(f"a class name has 1 to 64 printable characters, not {name!r}")
        if name in self.taxonomy.names:
            raise InputError(f"{name!r} is a known class of this world: choose another name")
        if len(self.classes) >= MAX_CLASSES:
            raise InputError(f"this world is full with {MAX_CLASSES} classes: forget one first")
        return name


def closed_labels(encoding: Encoding) -> np.ndarray:
    """The closed set's labels on the working grid, "H W" uint8: arg-max of the resized logits."""
    size = encoding.image.shape[:2]
    resized = torch.nn.functional.interpolate(encoding.logits[None], size=size, mode="bilinear")[0]
    return np.asarray(resized.argmax(0).to(torch.uint8).cpu().numpy())


def resize_mask(mask: Bool[np.ndarray, "H W"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """By area, so that a thin object does not vanish where the grid is coarser."""
    if mask.shape == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) >= 0.5)


def calibrated(known: KnownEvidence, **changes: Any) -> KnownEvidence:
    """The same evidence with other numbers in its recipe."""
    return dataclasses.replace(known, recipe=dataclasses.replace(known.recipe, **changes))


def _hashed_colour(name: str) -> tuple[int, int, int]:
    digest = hashlib.sha256(name.encode()).digest()
    return digest[0] // 2 + 96, digest[1] // 2 + 96, digest[2] // 2 + 96
