"""The folder that the server was started on: its images, page by page, with what is known of each.

Requests name an image by its number. Figures come from earlier results, and from every image that is opened.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from ignota.data.files import as_text, natural_key, one_line
from ignota.data.images import decode_image, read_picture_file, resize_image
from ignota.perception.scene import Scene, limit_of
from ignota.structures import InputError
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.web.limits import Limits
from ignota.web.session import key_of

Order = Literal["name", "anomaly", "class"]
SIDE = 288
"""Pixels of the long side of a thumbnail."""
_KEPT = 24 << 20
"""Bytes of thumbnails that are kept: about two thousand."""
EARLIER = -1
"""The state of figures that another state of the world gave."""


@dataclass(frozen=True)
class Figures:
    """What is known of an image. unknown: share of its pixels; shares: of each class that is there; all in 0..1.

    state: of the world that gave them, as `Snapshot.state`.
    """

    unknown: float
    shares: Mapping[str, float]
    state: int = EARLIER


@dataclass(frozen=True)
class Query:
    """Which images are wanted, and in what order. name: of a class that they show. least: share of unknown pixels."""

    order: Order = "name"
    name: str = ""
    group: str = ""
    least: float = 0.0


class Folder:
    """root: resolved. names: of the images in it, in their order. figures: by name. groups: keys of the groups of
    `discover` that show in an image, by name. A link that leads out of the folder is no image of it."""

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        figures: Mapping[str, Figures] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.root, self.names = root, tuple(names)
        numbers = {name: number for number, name in enumerate(self.names)}
        self.figures = {numbers[name]: found for name, found in (figures or {}).items() if name in numbers}
        self.groups = {numbers[name]: tuple(keys) for name, keys in (groups or {}).items() if name in numbers}
        self._opened: dict[str, set[int]] = {}
        self._thumbnails: OrderedDict[int, bytes] = OrderedDict()
        self._weight = 0

    def matching(self, query: Query) -> list[int]:
        """Numbers of the images that a query means, in its order; those without figures come last."""
        found = [number for number in range(len(self.names)) if self._fits(number, query)]
        if query.order == "anomaly":
            found.sort(key=lambda number: -self._unknown(number))
        if query.order == "class":
            found.sort(key=lambda number: -self._share(number, query.name))
        return found

    def described(self, number: int, state: int) -> dict[str, Any]:
        """One image as the page lists it. state: of the world now."""
        figures = self.figures.get(number)
        return {
            "number": number,
            "name": as_text(self.names[number]),
            "unknown": None if figures is None else figures.unknown,
            "shares": {} if figures is None else dict(figures.shares),
            "current": figures is not None and figures.state == state,
            "groups": list(self.groups.get(number, ())),
        }

    def classes(self) -> list[str]:
        """Names of the classes that figures tell of."""
        known = list(self.figures.values())  # `note` may add to them meanwhile, in another thread
        return sorted({name for figures in known for name in figures.shares})

    def group_keys(self) -> list[str]:
        """Keys of the groups that show in any image."""
        return sorted({key for keys in self.groups.values() for key in keys}, key=natural_key)

    def kept_thumbnail(self, number: int) -> bytes | None:
        """One that was made before."""
        return self._thumbnails.get(number)

    def thumbnail(self, number: int, limits: Limits) -> bytes:
        """A JPEG of at most `SIDE` pixels; raises InputError for what is no fit picture."""
        image = decode_image(self._bytes(number, limits), self._called(number), limits.pixels)
        shrink = min(1.0, SIDE / max(image.shape[:2]))
        small = resize_image(image, (max(1, round(image.shape[0] * shrink)), max(1, round(image.shape[1] * shrink))))
        made = bytes(cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1])
        self._weight += len(made) - len(self._thumbnails.pop(number, b""))
        self._thumbnails[number] = made
        while self._weight > _KEPT:
            self._weight -= len(self._thumbnails.popitem(last=False)[1])
        return made

    def file(self, number: int, limits: Limits) -> bytes:
        """The bytes of an image, whose figures follow once it is opened; raises InputError."""
        data = self._bytes(number, limits)
        self._opened.setdefault(key_of(data), set()).add(number)
        return data

    def note(self, key: str, scene: Scene, state: int) -> None:
        """Takes over the figures of an open image, where it is one of the folder."""
        for number in self._opened.get(key, ()):
            self.figures[number] = figures_of(scene, state)

    def _fits(self, number: int, query: Query) -> bool:
        share = not query.name or self._share(number, query.name) > 0
        group = not query.group or query.group in self.groups.get(number, ())
        return share and group and (query.least <= 0 or self._unknown(number) >= query.least)

    def _unknown(self, number: int) -> float:
        return self.figures[number].unknown if number in self.figures else -1.0

    def _share(self, number: int, name: str) -> float:
        return self.figures[number].shares.get(name, 0.0) if number in self.figures else 0.0

    def _called(self, number: int) -> str:
        return one_line(as_text(self.names[number]))

    def _bytes(self, number: int, limits: Limits) -> bytes:
        path = self.root / self.names[number]
        if not is_inside(path, self.root):
            raise InputError(f"{self._called(number)} is a link to another folder: copy the picture itself")
        return read_picture_file(path, self._called(number), limits.body, limits.pixels)


def is_inside(path: Path, root: Path) -> bool:
    """Whether a file directly in `root`, which is resolved, lies there and not behind a link."""
    try:
        return path.resolve().parent == root
    except (OSError, RuntimeError, ValueError):  # a loop of links, among others
        return False


def figures_of(scene: Scene, state: int) -> Figures:
    """Shares of the working grid."""
    labels = np.where(scene.working_levels > limit_of(0.5), np.uint8(UNKNOWN_INDEX), scene.working_labels)
    share = np.bincount(labels.ravel(), minlength=256) / labels.size
    shares = {label.name: float(share[label.id]) for label in scene.taxonomy.classes if share[label.id]}
    return Figures(float(share[UNKNOWN_INDEX]), shares, state)
