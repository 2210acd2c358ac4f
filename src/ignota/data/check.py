"""Checks a data set before hours are spent on it: every file is read, every fault counted and explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ignota.data.datasets import PublishedImages, open_unchecked
from ignota.data.files import one_line
from ignota.data.images import read_image, read_label
from ignota.data.listing import Pair
from ignota.structures import InputError

_EXAMPLES = 3


class Problem(Enum):
    """What can be wrong, each with its remedy; notes do not keep a data set from being used."""

    MISSING_LABEL = ("missing label", "fetch the labels of this split, or take another split")
    UNREADABLE_IMAGE = ("unreadable image", "copy these files again")
    UNREADABLE_LABEL = ("unreadable label", "copy these files again; labels are single-channel PNG")
    SIZE_MISMATCH = ("label and image differ in size", "fetch both from the same release")
    UNKNOWN_VALUE = ("unknown label value", "make sure that this is the data set it is opened as")
    ALL_VOID = ("note: label is void throughout", "such images count for nothing; test labels are often withheld")
    OTHER_SIZE = ("note: size is not the published one", "fine if you scaled the data set on purpose")
    OTHER_LENGTH = ("note: number of images is not the published one", "fine if you took a part of the data set")

    def __init__(self, title: str, remedy: str) -> None:
        self.title = title
        self.remedy = remedy

    @property
    def is_note(self) -> bool:
        return self.title.startswith("note:")


@dataclass(frozen=True)
class CheckRow:
    """One kind of problem: how often it occurs, the first examples, how to fix it."""

    problem: Problem
    count: int
    examples: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Problem, count, examples and remedy as text for a table."""
        return self.problem.title, str(self.count), "; ".join(self.examples), self.problem.remedy


@dataclass(frozen=True)
class CheckReport:
    """What `check_dataset` found.

    shares: (class name, share of all labelled pixels in 0..1); void pixels are left out, `void_share` is theirs.
    """

    name: str
    split: str
    root: Path
    images: int
    rows: tuple[CheckRow, ...]
    shares: tuple[tuple[str, float], ...]
    void_share: float

    @property
    def fine(self) -> bool:
        """Nothing but notes was found."""
        return all(row.problem.is_note for row in self.rows)


@dataclass(frozen=True)
class _Finding:
    problems: tuple[tuple[Problem, str], ...]
    counts: NDArray[np.int64]


def check_dataset(
    name: str,
    root: str | Path,
    split: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 4,
) -> CheckReport:
    """Reads every image and label of a split of a data set on disk with a pool of threads.

    progress: called with (images done, images in all) after each one. Raises InputError where there is nothing to
    check: unknown name or split, empty folder.
    """
    dataset = open_unchecked(name, root, split)
    findings = []
    with ThreadPoolExecutor(workers) as pool:
        for done, finding in enumerate(pool.map(lambda pair: _look_at(dataset, pair), dataset.pairs), start=1):
            findings.append(finding)
            if progress is not None:
                progress(done, len(dataset))
    problems = [problem for finding in findings for problem in finding.problems]
    if dataset.expected_length not in (None, len(dataset)):
        problems.append((Problem.OTHER_LENGTH, f"{len(dataset)} here, {dataset.expected_length} published"))
    counts = np.sum([finding.counts for finding in findings], axis=0)
    shares, void = _shares(dataset, counts)
    return CheckReport(name, dataset.split, dataset.root, len(dataset), _rows(problems), shares, void)


def _look_at(dataset: PublishedImages, pair: Pair) -> _Finding:
    """Everything about one image and its label; nothing here raises, what is wrong is a finding."""
    problems: list[tuple[Problem, str]] = []
    counts = np.zeros(256, np.int64)
    size = label_size = None
    try:
        size = read_image(pair.image).shape[:2]
    except InputError as error:
        problems.append((Problem.UNREADABLE_IMAGE, str(error)))
    if not pair.label.is_file():
        problems.append((Problem.MISSING_LABEL, str(pair.label)))
    else:
        try:
            values = read_label(pair.label)
            label_size = values.shape
            counts, unknown = _count(values, dataset.lut)
            if unknown:
                problems.append((Problem.UNKNOWN_VALUE, f"{pair.label}: {', '.join(map(str, unknown[:8]))}"))
            elif counts[:255].sum() == 0:
                problems.append((Problem.ALL_VOID, str(pair.label)))
        except InputError as error:
            problems.append((Problem.UNREADABLE_LABEL, str(error)))
    if size is not None and label_size is not None and size != label_size:
        problems.append((Problem.SIZE_MISMATCH, f"{pair.label} {_text(label_size)}, image {_text(size)}"))
    if size is not None and dataset.expected_size not in (None, size):
        problems.append((Problem.OTHER_SIZE, f"{pair.image} {_text(size)}, published {_text(dataset.expected_size)}"))
    return _Finding(tuple((problem, one_line(text)) for problem, text in problems), counts)


def _count(values: NDArray[np.uint8], lut: NDArray[np.int16]) -> tuple[NDArray[np.int64], list[int]]:
    """Pixels by label ("256"), and the stored values that the data set does not define."""
    stored = np.bincount(values.ravel(), minlength=256)
    counts = np.zeros(256, np.int64)
    known = lut >= 0
    np.add.at(counts, lut[known], stored[known])
    return counts, np.flatnonzero((stored > 0) & ~known).tolist()


def _shares(dataset: PublishedImages, counts: NDArray[np.int64]) -> tuple[tuple[tuple[str, float], ...], float]:
    names = ("normal", "anomaly") if dataset.taxonomy is None else dataset.taxonomy.names
    labelled = max(1, int(counts[: len(names)].sum()))
    shares = tuple((name, float(counts[i] / labelled)) for i, name in enumerate(names))
    return shares, float(counts[255] / max(1, int(counts.sum())))


def _rows(problems: Iterable[tuple[Problem, str]]) -> tuple[CheckRow, ...]:
    found = list(problems)
    totals = Counter(problem for problem, _ in found)
    rows = []
    for problem in Problem:
        if totals[problem]:
            examples = tuple(text for kind, text in found if kind is problem)[:_EXAMPLES]
            rows.append(CheckRow(problem, totals[problem], examples))
    return tuple(rows)


def _text(size: tuple[int, ...] | None) -> str:
    return "unknown" if size is None else f"{size[1]}×{size[0]}"
