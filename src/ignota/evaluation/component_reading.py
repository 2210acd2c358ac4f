"""Figures of several scores at thresholds that are known only once all images were seen, from one pass over them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from ignota.data.files import one_line
from ignota.functional.curves import BinaryCurve, best_f1_threshold, fpr_threshold, tpr_threshold
from ignota.metrics.components import ComponentMetrics, Sizes
from ignota.metrics.open_set import OpenSetMetrics
from ignota.structures import InputError

LARGEST = 4 << 30
"""Bytes of maps that are kept on disk, of all parts of a data set together."""


@contextmanager
def component_reading(sizes: Sizes, fixed: Mapping[str, float]) -> Iterator[ComponentReading]:
    """A reading with a temporary folder of its own."""
    with tempfile.TemporaryDirectory(prefix="ignota-maps-") as folder:
        yield ComponentReading(sizes, fixed, Path(folder))


class ComponentReading:
    """sIoU, PPV and mean F1 at two thresholds: a fixed one, and an oracle that is known only when all were seen; and
    open-mIoU, where the known classes are labelled.

    fixed: thresholds from training images, of those scores that have one. The oracle has the best pixel F1 on the
    whole set, as the benchmark takes it; for it the maps wait on disk, so that memory stays flat and no network runs
    twice. Where they would take more than `LARGEST`, only the fixed thresholds are read, however many parts there are.
    bytes: of the maps so far.
    """

    def __init__(self, sizes: Sizes, fixed: Mapping[str, float], folder: Path) -> None:
        self.sizes, self.thresholds = sizes, dict(fixed)
        self.fixed = {name: ComponentMetrics(sizes) for name in fixed}
        self._folder, self.bytes = folder, 0
        self.maps: list[tuple[str, Path]] | None = []

    def update(
        self,
        key: str,
        raw: Mapping[str, Float[np.ndarray, "h w"]],
        maps: Mapping[str, Float[np.ndarray, "H W"]],
        label: UInt8[np.ndarray, "H W"],
        classes: UInt8[np.ndarray, "2 H W"] | None = None,
        given: Mapping[str, Bool[np.ndarray, "H W"]] | None = None,
    ) -> None:
        """Adds one image: its scores, each on its own grid and in the size of the label (0 normal, 1 anomaly, 255).

        classes: where they are labelled, the true known classes (254 unknown, 255 void) and those of the closed set.
        given: components of those scores that have some of their own at the fixed threshold.
        Raises InputError where the disk is full.
        """
        for name, state in self.fixed.items():
            own = (given or {}).get(name)
            state.update(key, maps[name] >= self.thresholds[name] if own is None else own, label)
        if self.maps is None:
            return
        self.bytes += sum(value.nbytes for value in (*raw.values(), label)) + (0 if classes is None else classes.nbytes)
        if self.bytes > LARGEST:
            self.maps = None
            for path in self._folder.iterdir():
                path.unlink()
            return
        place = self._folder / str(len(self.maps))
        try:
            with place.with_suffix(".scores").open("wb") as stream:
                for name in sorted(raw):
                    np.save(stream, raw[name])
            np.save(place.with_suffix(".label.npy"), label[None] if classes is None else np.stack([label, *classes]))
        except OSError as error:
            raise InputError(
                f"{one_line(place)} cannot be written ({one_line(error)[:120]}): free space there"
            ) from None
        self.maps.append((key, place))

    def merge(self, other: ComponentReading) -> None:
        """Adds what another reading saw, whose maps stay where they are. Raises ValueError for other thresholds."""
        if other.thresholds != self.thresholds:
            raise ValueError("cannot merge components that were read at other thresholds")
        for name, state in self.fixed.items():
            state.merge(other.fixed[name])
        self.bytes += other.bytes
        whole = self.maps is not None and other.maps is not None and self.bytes <= LARGEST
        self.maps = [*(self.maps or ()), *(other.maps or ())] if whole else None

    def compute(self, curves: Mapping[str, BinaryCurve]) -> dict[str, dict[str, Any]]:
        """{NAME: {"component": {"oracle": {"threshold", …}, "fixed": the same}, "open_miou": {"closed", …}}}, each
        where it is known: `ComponentMetrics.compute` at each threshold, and the open-mIoU at each of `open_thresholds`.

        curves: of each score over all pixels of the set. Raises InputError for maps that are damaged."""
        found: dict[str, dict[str, Any]] = {name: {"component": {}} for name in curves}
        if self.maps is not None:
            best = {name: best_f1_threshold(curve) for name, curve in curves.items()}
            several = {name: open_thresholds(curve, self.thresholds.get(name)) for name, curve in curves.items()}
            components, opened = _read_at(best, several, self.maps, self.sizes)
            for name, state in components.items():
                found[name]["component"]["oracle"] = {"threshold": best[name], **state.compute()}
            for name, states in opened.items():
                found[name]["open_miou"] = {kind: each.compute() for kind, each in states.items()}
        for name, state in self.fixed.items():
            found[name]["component"]["fixed"] = {"threshold": self.thresholds[name], **state.compute()}
        return found


CLOSED = "closed"
"""The closed set's mIoU on known pixels, beside the open-mIoU at each threshold."""


def open_thresholds(curve: BinaryCurve, fixed: float | None) -> dict[str, float]:
    """Where the open-mIoU is read: at a TPR of 95 %, at an FPR of 5 %, at the best F1 (all known only from this set),
    and at the fixed threshold if there is one."""
    found = {"tpr95": tpr_threshold(curve), "fpr5": fpr_threshold(curve), "best_f1": best_f1_threshold(curve)}
    return found if fixed is None else found | {"fixed": fixed}


def _read_at(
    best: Mapping[str, float],
    several: Mapping[str, Mapping[str, float]],
    maps: list[tuple[str, Path]],
    sizes: Sizes,
) -> tuple[dict[str, ComponentMetrics], dict[str, dict[str, OpenSetMetrics]]]:
    """Components at one threshold a score; open-mIoU at several, of no score where no classes are labelled."""
    components, opened = {name: ComponentMetrics(sizes) for name in best}, dict[str, dict[str, OpenSetMetrics]]()
    for key, place in maps:
        kept, label, *classes = _maps(place, len(best))
        for score, name in zip(kept, sorted(best), strict=True):
            scaled = to_size(score, label.shape)
            components[name].update(key, scaled >= best[name], label)
            if classes:
                truth, closed = classes
                kinds = opened.setdefault(name, {kind: OpenSetMetrics() for kind in (CLOSED, *several[name])})
                for kind, state in kinds.items():
                    state.update(truth, closed, None if kind == CLOSED else scaled >= several[name][kind])
    return components, opened


def _maps(place: Path, count: int) -> tuple[Any, ...]:
    """The scores of an image, a list of "h w" each on its own grid, its label "H W" and, where `update` was given any,
    its true classes and those of the closed set, as it left them."""
    try:
        with place.with_suffix(".scores").open("rb") as stream:
            kept = [np.load(stream, allow_pickle=False) for _ in range(count)]
            if stream.read(1):
                raise ValueError("more maps than were written")
        label = np.load(place.with_suffix(".label.npy"), allow_pickle=False)
        if any((one.ndim, one.dtype) != (2, np.float32) for one in kept) or (label.ndim, label.dtype) != (3, np.uint8):
            raise ValueError("other maps than were written")
        if len(label) not in (1, 3) or not (label.size and all(one.size for one in kept)):
            raise ValueError("a map without pixels")
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise InputError(
            f"the maps {one_line(place)} are damaged ({one_line(error)[:120]}): measure them again"
        ) from None
    return kept, *label


def to_size(score: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Bilinear, to the labels' size."""
    if score.shape == shape:
        return score
    return np.asarray(cv2.resize(score, shape[::-1], interpolation=cv2.INTER_LINEAR))
