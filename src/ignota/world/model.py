"""OpenWorldModel: segment an image, learn a class from examples, forget it again."""

from __future__ import annotations

import dataclasses
import getpass
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from torch import Tensor

from ignota.colours import distinct_colour
from ignota.functional.regions import region_mean
from ignota.incremental.methods import by_margin
from ignota.structures import Encoding, InputError
from ignota.taxonomy import MAX_CLASSES, Taxonomy, nearest
from ignota.world.branch import BRANCH_SCORES, Branch, Branches
from ignota.world.calibrating import calibration_of
from ignota.world.calibration import Calibration
from ignota.world.exemplars import ExemplarStore
from ignota.world.journal import Event
from ignota.world.known import KnownEvidence
from ignota.world.marks import Mark, mark_mask
from ignota.world.names import LONGEST_NAME, checked_name
from ignota.world.networks import ImageLike, Networks, largest_class
from ignota.world.novel import Exemplar, NovelEvidence
from ignota.world.previewing import Preview, TeachingRefused, preview
from ignota.world.reading import anomaly_maps, own_score, read_regions, score_names
from ignota.world.scene import Scene, Tables, Taught, UnknownRegion, no_taught
from ignota.world.snapshot import Snapshot, take_snapshot
from ignota.world.teaching import Example, Prepared, prepare

_MOST_CHANNELS = 16


@dataclass
class OpenWorldModel:
    """`ignota.World`: a closed-set segmenter with an open world round it.

    fitted: known evidence from training images, frozen. provenance: where the world comes from, as in world.json. branches: of
    the paper's systems, built when they are first asked for. exemplar_branches: those that read every example that is
    taught, so that their methods know the class.
    """

    taxonomy: Taxonomy
    networks: Networks
    fitted: KnownEvidence
    store: ExemplarStore
    provenance: dict[str, Any]
    branches: Branches = field(default_factory=Branches)
    exemplar_branches: tuple[str, ...] = ()

    _read: dict[int, tuple[weakref.ref[Encoding], KnownEvidence, Tables]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.store.most = MAX_CLASSES - len(self.taxonomy)
        self._snapshot = take_snapshot(self.store, self.fitted, self.taxonomy)

    def __repr__(self) -> str:
        name = self.provenance.get("configuration", {}).get("name", self.taxonomy.name)
        return f"World({name}, {len(self.taxonomy)} known, {len(self.classes) - len(self.taxonomy)} taught)"

    @classmethod
    def load(
        cls, name: str | Path, device: torch.device | str = "cpu", writable: bool = False, size: int | None = None
    ) -> OpenWorldModel:
        """Opens a bundle by path or shipped name, as `ignota.world.bundle.load`; raises InputError."""
        from ignota.world import bundle  # it builds what this class is made of

        return bundle.load(name, device, writable, size)

    @property
    def device(self) -> torch.device:
        return self.networks.device

    @property
    def known(self) -> KnownEvidence:
        """The fitted evidence with what the store's calibration adds; the fitted evidence itself where there is none."""
        return self._snapshot.known

    @property
    def snapshot(self) -> Snapshot:
        """What was taught when the store was last read. Take it once where several of its parts must agree."""
        return self._snapshot

    @property
    def classes(self) -> Taxonomy:
        """Known classes, then taught ones, numbered by world id, as of the last reading of the store."""
        return self._snapshot.classes

    @property
    def novel(self) -> NovelEvidence:
        return self._snapshot.novel

    @property
    def exemplars(self) -> tuple[Exemplar, ...]:
        """What was taught, by class and age, as of the snapshot."""
        return self._snapshot.exemplars

    def branch(self, system: str) -> Branch:
        """The branch of `paper` or `released`, built when it is first asked for; raises InputError for none."""
        found: Branch = self.branches.get(system, self.networks)
        return found

    def refresh(self) -> None:
        """Reads the exemplar rows again."""
        self._snapshot = self._read_store()

    def newest(self) -> Snapshot:
        """What the store holds now, whatever process wrote it; this world keeps the snapshot that it has."""
        if self.store.state() == self._snapshot.state:
            return self._snapshot
        return self._read_store()

    def _read_store(self) -> Snapshot:
        return take_snapshot(self.store, self.fitted, self.taxonomy, self._snapshot)

    def follow(self) -> bool:
        """Takes the newest snapshot; tells whether another process has changed the store since the last look."""
        before, self._snapshot = self._snapshot, self.newest()
        return self._snapshot is not before

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

        A region's excess of likeness to each class is averaged over the regions of all scales that it lies in. Where it
        belongs to a class, its anomaly falls to what the exemplars leave unexplained.
        """
        novel = self.novel if novel is None else novel
        if novel.taught is None:
            return no_taught(tables.regions, self.device)
        rows, recipe, reading = novel.taught, self.known.recipe, tables.reading
        with torch.inference_mode():
            space, embeddings = self.known.space, reading.embeddings
            anomaly = (region_mean(tables.score, reading.hierarchy.finest) - recipe.threshold) / recipe.scale
            excess = space.excess(embeddings, reading.nearest, recipe.surprised(anomaly), rows)
            closest = space.taught_similarity(embeddings, rows).amax(1)
            left = recipe.weights[2] * (1 - closest - recipe.centre[2]) / recipe.spread[2]
            return Taught(by_margin(reading.hierarchy.blend(excess), rows.margin), left)

    def segment(self, image: ImageLike | Encoding | UnknownRegion) -> Scene:
        """Labels, anomaly and unknown regions of a path, PIL image, array, tensor or encoding."""
        encoding = self.encoding_of(image)
        return self.scene(encoding, self.tables(encoding))

    def scene(self, encoding: Encoding, tables: Tables) -> Scene:
        """The scene of an image whose tables are at hand: no network runs, and what is taught later changes nothing."""
        snapshot = self.snapshot
        recipe = snapshot.known.recipe
        return Scene(
            encoding, snapshot.classes, len(self.taxonomy), tables, self.taught(tables, snapshot.novel),
            recipe.threshold, recipe.scale, snapshot.known.space,
        )  # fmt: skip

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
        return scene.region(mark_mask(mark, scene, self.channel_bits(scene.encoding)), given)

    def preview(
        self,
        name: str,
        examples: Example | Sequence[Example] = (),
        against: Example | Sequence[Example] = (),
        others: Sequence[ImageLike | Encoding] = (),
    ) -> Preview:
        """What `learn` would do, before it is done: what the class covers on the examples' images and on others.

        Nothing is stored. Arguments as of `learn`; raises InputError.
        """
        self.follow()
        name = self.usable_name(name)
        prepared = prepare(self, name, examples, against=against)
        return preview(self, name, prepared, [self.encoding_of(image) for image in others])

    def learn(
        self,
        name: str,
        examples: Example | Sequence[Example] = (),
        force: bool = False,
        source: str = "",
        author: str | None = None,
        against: Example | Sequence[Example] = (),
    ) -> Preview:
        """Teaches `name` in one transaction from regions of scenes, or from pairs of an image and a mask or mark.

        Examples of a class that was taught before are added to it. against: the same of what is not the class, though
        it was taken for it; a class that was taught before can be corrected by these alone. source: what the images are
        called, where they have no name of their own. Raises InputError for a name of a known class, an empty list, a
        mask of another size than its image or one that is too small to see, and TeachingRefused where the class would
        flood the images of its examples unless `force` is set.
        """
        name = self.usable_name(name)
        return self.teach(name, prepare(self, name, examples, source, against=against), force, author)

    def teach(self, name: str, examples: Sequence[Prepared], force: bool = False, author: str | None = None) -> Preview:
        """`learn` from examples that are prepared."""
        self.follow()
        name = self.usable_name(name)
        found = preview(self, name, examples)
        if found.doubts and not force:
            raise TeachingRefused(found)
        self.store.add(name, self._colour(name), [example.row for example in examples], _author(author))
        self.refresh()
        return found

    def forget(self, name: str, author: str | None = None) -> None:
        """Drops a taught class; what `segment` gives is bit for bit what it gave before the class was taught."""
        self._check_taught(name, "forget")
        self.store.remove(name, _author(author))
        self.refresh()

    def rename(self, name: str, new: str, author: str | None = None) -> None:
        """Gives a taught class another name; raises InputError for one that is taken."""
        self._check_taught(name, "rename")
        new = self.usable_name(new)
        if new in self.classes.names:
            raise InputError(f"there is a class {new!r} already: `ignota merge` joins two")
        self.store.rename(name, new, _author(author))
        self.refresh()

    def merge(self, name: str, into: str, author: str | None = None) -> None:
        """Gives the examples of one taught class to another."""
        self._check_taught(name, "merge")
        self._check_taught(into, "merge into")
        if name == into:
            raise InputError(f"{name!r} cannot be merged with itself")
        self.store.merge(name, into, _author(author))
        self.refresh()

    def recolour(self, name: str, colour: tuple[int, int, int], author: str | None = None) -> None:
        """Gives a taught class another colour."""
        self._check_taught(name, "recolour")
        if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
            raise InputError(f"a colour is red, green and blue in 0..255, not {colour}")
        self.store.recolour(name, colour, _author(author))
        self.refresh()

    def calibrate(
        self,
        images: Iterable[ImageLike | Encoding],
        target_fpr: float | None = None,
        author: str | None = None,
    ) -> Calibration:
        """Adopts the camera of unlabelled images: confident known regions become reference, the threshold is set anew.

        target_fpr: the share of known pixels that may be called unknown, by default the recipe's. It is stored as one
        row, in place of an earlier calibration, and `undo` takes it back. Raises InputError for fewer than two images,
        a share outside 0..0.5, and a world that is read-only.
        """
        self.store.check_writable()
        target = self.fitted.recipe.target_fpr if target_fpr is None else target_fpr
        found = calibration_of(self.fitted, (self.encoding_of(image) for image in images), target)
        self.store.calibrate(found, _author(author))
        self.refresh()
        return found

    def undo(self, event: int | None = None, author: str | None = None) -> Event:
        """Takes back the last learn, forget, rename, merge, recolour or calibrate, or the given one; raises
        InputError."""
        taken = self.store.undo(event, _author(author))
        self.refresh()
        return taken

    def encoding_of(self, image: ImageLike | Encoding | UnknownRegion) -> Encoding:
        """The encoding of whatever stands for an image; the networks run only where there is none yet."""
        if isinstance(image, UnknownRegion):
            return image.encoding
        return image if isinstance(image, Encoding) else self.encode(image)

    def _colour(self, name: str) -> tuple[int, int, int]:
        classes = self.classes.classes
        own = next((label.colour for label in classes if label.name == name), None)
        return own or distinct_colour(label.colour for label in classes)

    def _check_taught(self, name: str, what: str) -> None:
        self.follow()
        taught = [label.name for label in self.snapshot.taught]
        if name not in taught:
            known = f"; {name!r} is a known class" if name in self.taxonomy.names else ""
            hint = known or (nearest(name, taught) if taught else "")
            raise InputError(f"no taught class {name!r} to {what}{hint}")

    def usable_name(self, name: str) -> str:
        """A name that a class may be taught under, cleaned; raises InputError."""
        name = checked_name(name)
        if name in self.taxonomy.names:
            raise InputError(f"{name!r} is a known class of this world: choose another name")
        if len(self.classes) >= MAX_CLASSES and name not in self.classes.names:
            raise InputError(f"this world is full with {MAX_CLASSES} classes: forget one first")
        return name


def closed_labels(encoding: Encoding) -> UInt8[np.ndarray, "H W"]:
    """The closed set's labels on the working grid."""
    return largest_class(encoding.logits, (encoding.image.shape[0], encoding.image.shape[1]))


def calibrated(known: KnownEvidence, **changes: Any) -> KnownEvidence:
    """The same evidence with other numbers in its recipe."""
    return dataclasses.replace(known, recipe=dataclasses.replace(known.recipe, **changes))


def _author(author: str | None) -> str:
    if author is None:
        try:
            author = "".join(letter for letter in getpass.getuser() if letter.isprintable())[:LONGEST_NAME]
        except (KeyError, OSError, ImportError):  # an account without a name, as in many containers
            author = ""
    if len(author) > LONGEST_NAME or not author.isprintable():
        raise InputError(f"an author has at most {LONGEST_NAME} printable characters, not {author[:80]!r}")
    return author
