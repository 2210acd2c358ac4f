"""OpenWorldModel: segment an image, learn a class from examples, forget it again."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ignota.colours import distinct_colour
from ignota.exemplars.journal import Event
from ignota.exemplars.rows import LONGEST_NAME, checked_name
from ignota.exemplars.store import ExemplarStore
from ignota.perception.calibrating import calibration_of
from ignota.perception.calibration import Calibration
from ignota.perception.known import KnownEvidence
from ignota.perception.networks import ImageLike
from ignota.perception.novel import Snapshot, novel_evidence
from ignota.perception.perception import Perception
from ignota.structures import Encoding, InputError
from ignota.taxonomy import MAX_CLASSES, ClassLabel, Taxonomy, nearest
from ignota.world.previewing import Preview, TeachingRefused, preview
from ignota.world.teaching import Example, Prepared, prepare


@dataclass
class OpenWorldModel(Perception):
    """`ignota.World`: perception, and the classes that it was taught.

    store: the exemplars. provenance: where the world comes from, as in world.json.
    """

    store: ExemplarStore
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        self.store.most = MAX_CLASSES - len(self.taxonomy)
        self._snapshot = take_snapshot(self.store, self.fitted, self.taxonomy)

    def __repr__(self) -> str:
        name = self.provenance.get("configuration", {}).get("name", self.taxonomy.name)
        return f"World({name}, {len(self.taxonomy)} known, {len(self.classes) - len(self.taxonomy)} taught)"

    @property
    def known(self) -> KnownEvidence:
        """The fitted evidence with what the store's calibration adds, or itself where there is none."""
        return self._snapshot.known

    @property
    def snapshot(self) -> Snapshot:
        """What was taught when the store was last read. Take it once where several of its parts must agree."""
        return self._snapshot

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
        """Adopts the camera of unlabelled images: confident known regions become reference, the threshold is set again.

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


def _author(author: str | None) -> str:
    if author is None:
        try:
            author = "".join(letter for letter in getpass.getuser() if letter.isprintable())[:LONGEST_NAME]
        except (KeyError, OSError, ImportError):  # an account without a name, as in many containers
            author = ""
    if len(author) > LONGEST_NAME or not author.isprintable():
        raise InputError(f"an author has at most {LONGEST_NAME} printable characters, not {author[:80]!r}")
    return author


def take_snapshot(
    store: ExemplarStore, fitted: KnownEvidence, taxonomy: Taxonomy, before: Snapshot | None = None
) -> Snapshot:
    """Reads a store in one transaction. taxonomy: of the known classes.

    before: an earlier snapshot of the same world, whose evidence stays where the calibration does. Raises InputError
    where the taught classes contradict each other or the known ones.
    """
    state, taught, exemplars, calibration = store.read_taught(fitted.name)
    kept = None if before is None else before.known
    if kept is None or calibration is None or kept.calibration is None or kept.calibration.key != calibration.key:
        kept = fitted.on_camera(calibration)
    first = len(taxonomy)
    labels = tuple(ClassLabel(first + i, each.name, each.colour) for i, each in enumerate(taught))
    novel = novel_evidence(kept, exemplars)
    if novel.names != tuple(each.name for each in taught):
        raise InputError(f"{store.path}: a taught class has no exemplar: the store is damaged, copy the world again")
    try:
        classes = Taxonomy(taxonomy.name, taxonomy.classes + labels)
    except ValueError as error:
        raise InputError(f"{store.path}: the taught classes do not fit this world ({error}): copy it again") from None
    return Snapshot(state, taught, exemplars, classes, novel, kept)
