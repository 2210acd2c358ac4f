"""Classes, their ids, names and colours: the only place that maps between them."""

from __future__ import annotations

import colorsys
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE_INDEX = 255
"""Label of pixels that no loss and no metric looks at."""

MAX_CLASSES = 254
"""Labels are stored as bytes: 255 is void and one value stays free for "unknown"."""

UNKNOWN_INDEX = 254
"""Label of pixels that belong to no class, in outputs only."""

RESERVED_NAMES = frozenset({
    "unknown", "void", "ignore", "__ignore__", "background", "_background_", "unlabeled", "unlabelled", "normal",
    "anomaly",
})  # fmt: skip
"""Names in lower case that label files of some format need for pixels of no class: no class is taught under them."""

UNKNOWN_COLOUR = (255, 64, 160)
VOID_COLOUR = (0, 0, 0)


_GOLDEN = 0.618034
"""Hues a golden section apart stay distinct however many there are."""
CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Train id (the position) → label id, in the order of `taxonomy.CITYSCAPES`."""


@dataclass(frozen=True)
class ClassLabel:
    """One class: its id (the label value), its name and its colour (R, G, B in 0..255)."""

    id: int
    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Taxonomy:
    """An ordered list of classes whose ids are their positions."""

    name: str
    classes: tuple[ClassLabel, ...]

    def __post_init__(self) -> None:
        ids = [label.id for label in self.classes]
        if ids != list(range(len(ids))):
            raise ValueError(f"{self.name}: class ids must be 0..{len(ids) - 1} in order, not {ids}")
        if len(set(self.names)) != len(ids):
            raise ValueError(f"{self.name}: class names repeat: {sorted(self.names)}")
        if len(ids) > MAX_CLASSES:
            raise ValueError(f"{self.name}: {len(ids)} classes do not fit in a byte; the most is {MAX_CLASSES}")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.classes)

    def id_of(self, name: str) -> int:
        """The id of the class called `name`; raises KeyError with the nearest names."""
        for label in self.classes:
            if label.name == name:
                return label.id
        raise KeyError(f"no class {name!r} in {self.name}{nearest(name, self.names)}")

    def palette(self) -> NDArray[np.uint8]:
        """Colours by label value, "256 3" uint8; unknown and void have their own."""
        colours = np.zeros((256, 3), np.uint8)
        for label in self.classes:
            colours[label.id] = label.colour
        colours[UNKNOWN_INDEX] = UNKNOWN_COLOUR
        colours[IGNORE_INDEX] = VOID_COLOUR
        return colours

    def subset(self, ids: Sequence[int], name: str | None = None) -> Taxonomy:
        """The classes with these ids, renumbered in the given order."""
        chosen = tuple(ClassLabel(i, self.classes[old].name, self.classes[old].colour) for i, old in enumerate(ids))
        return Taxonomy(name or self.name, chosen)


def made_up_colour(index: int) -> tuple[int, int, int]:
    """A colour for the class at this place where nobody chose one; neighbours differ."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1.0, 0.65, 0.55 + 0.4 * (index % 2))
    return round(red * 255), round(green * 255), round(blue * 255)


def plain_name(name: str) -> str:
    """The name under which classes are matched: lower case, with "_" and "-" as blanks."""
    return " ".join(re.sub(r"[_\-]", " ", name).lower().split())


def nearest(word: str, candidates: Sequence[str]) -> str:
    """A hint for error messages: "; did you mean 'car'?" or the list of what there is."""
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(candidates)}"


def _taxonomy(name: str, table: str) -> Taxonomy:
    rows = [line.split() for line in table.strip().splitlines()]
    return Taxonomy(
        name,
        tuple(ClassLabel(int(i), label.replace("_", " "), (int(r), int(g), int(b))) for i, label, r, g, b in rows),
    )


CITYSCAPES = _taxonomy(
    "cityscapes",
    """
     0 road           128  64 128
     1 sidewalk       244  35 232
     2 building        70  70  70
     3 wall           102 102 156
     4 fence          190 153 153
     5 pole           153 153 153
     6 traffic_light  250 170  30
     7 traffic_sign   220 220   0
     8 vegetation     107 142  35
     9 terrain        152 251 152
    10 sky             70 130 180
    11 person         220  20  60
    12 rider          255   0   0
    13 car              0   0 142
    14 truck            0   0  70
    15 bus              0  60 100
    16 train            0  80 100
    17 motorcycle       0   0 230
    18 bicycle        119  11  32
    """,
)

CAMVID = _taxonomy(
    "camvid",
    """
     0 sky            128 128 128
     1 building       128   0   0
     2 pole           192 192 128
     3 road           128  64 128
     4 pavement        60  40 222
     5 tree           128 128   0
     6 sign           192 128 128
     7 fence           64  64 128
     8 car             64   0 128
     9 pedestrian      64  64   0
    10 bicyclist        0 128 192
    """,
)

STREETHAZARDS = _taxonomy(
    "streethazards",
    """
     0 unlabeled        0   0   0
     1 building        70  70  70
     2 fence          190 153 153
     3 other          250 170 160
     4 pedestrian     220  20  60
     5 pole           153 153 153
     6 road_line      157 234  50
     7 road           128  64 128
     8 sidewalk       244  35 232
     9 vegetation     107 142  35
    10 car              0   0 142
    11 wall           102 102 156
    12 traffic_sign   220 220   0
    """,
)

TAXONOMIES = {taxonomy.name: taxonomy for taxonomy in (CITYSCAPES, CAMVID, STREETHAZARDS)}

# Which classes a named split hides (train ids), after the paper's Section 4.2 and the released class lists;
# for 16+1, 8+1 and 9+0 the classes named in the second tuple are hidden and never taught: they are ignored.
_HIDDEN: dict[str, dict[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "cityscapes": {
        "19+0": ((), ()),
        "16+3": ((13, 14, 15), ()),
        "16+1": ((13,), (14, 15)),
        "12+7": ((10, 13, 14, 15, 16, 17, 18), ()),
        "14+5": ((10, 13, 14, 15, 16), ()),
        "18+1": ((13,), ()),
    },
    "camvid": {"11+0": ((), ()), "9+0": ((), (9, 10)), "8+3": ((8, 9, 10), ()), "8+1": ((8,), (9, 10))},
}


@dataclass(frozen=True)
class ClassSplit:
    """Which classes of a taxonomy are known, which are novel (taught later) and which are left out.

    World ids number the known classes first, then the novel ones: 0..C-1 and C..C+K-1.
    """

    taxonomy: Taxonomy
    known: tuple[int, ...]
    novel: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        used = [*self.known, *self.novel]
        bad = [i for i in used if not 0 <= i < len(self.taxonomy)]
        if bad:
            last = len(self.taxonomy) - 1
            raise ValueError(f"split of {self.taxonomy.name}: no class has id {bad[0]}; ids are 0..{last}")
        if len(set(used)) != len(used):
            where = f"known {self.known} and novel {self.novel}"
            raise ValueError(f"split of {self.taxonomy.name}: a class stands twice in {where}")
        if not self.known:
            raise ValueError(f"split of {self.taxonomy.name}: no known class is left")

    @classmethod
    def parse(cls, text: str) -> ClassSplit:
        """Reads "cityscapes:16+3" (a named split) or "camvid:car,pedestrian" (the novel classes by name).

        Raises ValueError that names the nearest taxonomy, split or class.
        """
        name, _, rest = text.partition(":")
        if name not in TAXONOMIES:
            raise ValueError(f"no taxonomy {name!r} in split {text!r}{nearest(name, list(TAXONOMIES))}")
        taxonomy = TAXONOMIES[name]
        named = _HIDDEN.get(name, {})
        hidden: tuple[int, ...] = ()
        left_out: tuple[int, ...] = ()
        if rest in named:
            hidden, left_out = named[rest]
        elif re.fullmatch(r"\d+\+\d+", rest):
            raise ValueError(f"no split {rest!r} of {name}{nearest(rest, list(named))}")
        elif rest:
            try:
                hidden = tuple(taxonomy.id_of(word.strip()) for word in rest.split(","))
            except KeyError as error:
                raise ValueError(f"split {text!r}: {error.args[0]}") from None
        known = tuple(i for i in range(len(taxonomy)) if i not in hidden and i not in left_out)
        return cls(taxonomy, known, hidden)

    @classmethod
    def of_names(cls, taxonomy: Taxonomy, names: Sequence[str]) -> ClassSplit:
        """The split in which the classes called `names` are known, in this order, and all others are novel.

        Upper case, "_" and "-" make no difference. A name that the taxonomy lacks is a further class, whose id no label
        has. Raises ValueError where two names are of one class or the classes do not fit in a byte.
        """
        ids = {plain_name(label.name): label.id for label in taxonomy.classes}
        classes = list(taxonomy.classes)
        for name in names:
            if plain_name(name) not in ids:
                ids[plain_name(name)] = len(classes)
                classes.append(ClassLabel(len(classes), name, made_up_colour(len(classes))))
        known = tuple(ids[plain_name(name)] for name in names)
        rest = tuple(label.id for label in taxonomy.classes if label.id not in known)
        return cls(Taxonomy(taxonomy.name, tuple(classes)), known, rest)

    @property
    def known_taxonomy(self) -> Taxonomy:
        return self.taxonomy.subset(self.known)

    @property
    def world_taxonomy(self) -> Taxonomy:
        """Known classes, then novel ones, numbered by world id."""
        return self.taxonomy.subset((*self.known, *self.novel))

    def training_lut(self) -> NDArray[np.uint8]:
        """Label value → world id of a known class, all else void: "256" uint8 lookup table."""
        return _lut(self.known)

    def world_lut(self) -> NDArray[np.uint8]:
        """Label value → world id of a known or novel class, all else void: "256" uint8 lookup table."""
        return _lut((*self.known, *self.novel))

    def anomaly_lut(self) -> NDArray[np.uint8]:
        """Label value → 0 known, 1 novel, all else void: "256" uint8 lookup table."""
        lut = np.full(256, IGNORE_INDEX, np.uint8)
        lut[list(self.known)] = 0
        lut[list(self.novel)] = 1
        return lut


def _lut(ids: Sequence[int]) -> NDArray[np.uint8]:
    lut = np.full(256, IGNORE_INDEX, np.uint8)
    lut[list(ids)] = np.arange(len(ids))
    return lut


def cityscapes_label_id_lut() -> NDArray[np.uint8]:
    """Label id → train id, "256" uint8; label ids that are never trained on become void (255)."""
    lut = np.full(256, IGNORE_INDEX, np.uint8)
    lut[list(CITYSCAPES_LABEL_IDS)] = np.arange(len(CITYSCAPES_LABEL_IDS), dtype=np.uint8)
    return lut


def cityscapes_train_id_lut() -> NDArray[np.uint8]:
    """Train id → label id, "256" uint8; everything else, void among it, becomes label id 0 (unlabelled)."""
    lut = np.zeros(256, np.uint8)
    lut[: len(CITYSCAPES_LABEL_IDS)] = CITYSCAPES_LABEL_IDS
    return lut
