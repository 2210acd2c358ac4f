"""A data set measured in parts by several machines: each takes every n-th image and writes its state to a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ignota.data.datasets import LabelledImages
from ignota.data.files import new_folder, one_line
from ignota.evaluation.component_reading import ComponentReading
from ignota.evaluation.evaluation import AnomalyState
from ignota.evaluation.incremental_evaluation import IncrementalState
from ignota.metrics import stored
from ignota.metrics.components import Sizes
from ignota.structures import InputError, Sample
from ignota.taxonomy import Taxonomy

DOCUMENT, ARRAYS, MAPS = "state.json", "histograms.safetensors", "maps"
_FORM = 4
_BROKEN = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError)
"""What comes of values that are not what they should be."""
State = AnomalyState | IncrementalState


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count`."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """ "2/5"; raises InputError."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"a shard is K/N, such as 2/5, with K from 1 to N, not {one_line(text)!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class PartOfImages:
    """Every n-th image of a data set; a `LabelledImages`."""

    whole: LabelledImages
    places: range

    @classmethod
    def of(cls, whole: LabelledImages, shard: Shard) -> Self:
        return cls(whole, range(shard.number - 1, len(whole), shard.count))

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def taxonomy(self) -> Taxonomy | None:
        return self.whole.taxonomy

    @property
    def split(self) -> str:
        return self.whole.split

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.whole.keys[i] for i in self.places)

    @property
    def expected_size(self) -> tuple[int, int] | None:
        return self.whole.expected_size

    @property
    def expected_length(self) -> int | None:
        return None

    @property
    def image_paths(self) -> tuple[Path, ...]:
        return tuple(self.whole.image_paths[i] for i in self.places) if self.whole.image_paths else ()

    @property
    def label_paths(self) -> tuple[Path, ...]:
        return tuple(self.whole.label_paths[i] for i in self.places) if self.whole.label_paths else ()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        return self.whole[self.places[index]]

    def load_label(self, index: int) -> UInt8[np.ndarray, "H W"]:
        return self.whole.load_label(self.places[index])


@contextmanager
def stored_part(folder: Path) -> Iterator[Path]:
    """A folder for maps and, at the end, the state: renamed into place once complete."""
    with new_folder(folder) as draft:
        (draft / MAPS).mkdir()
        yield draft


def write_state(draft: Path, state: State, shard: Shard, made_by: Mapping[str, Any]) -> None:
    """Writes a state into a folder of `stored_part`. made_by: what must be the same for states to be merged."""
    head = {"form": _FORM, "shard": [shard.number, shard.count], "made_by": dict(made_by)}
    if isinstance(state, IncrementalState):
        document = _incremental_document(state)
    else:
        numbers, arrays = stored.anomaly_document(state.metrics)
        save_file(arrays, draft / ARRAYS)
        reading = _reading(state.reading)
        document = {"kind": "anomaly", "dataset": state.dataset, "metrics": numbers, "reading": reading}
        document["edges"] = state.edges
    (draft / DOCUMENT).write_text(json.dumps(head | document, ensure_ascii=False) + "\n", encoding="utf-8")


def merged(folders: Sequence[Path]) -> State:
    """The state of the whole data set. Raises InputError where shards are missing, there twice, or not of one kind."""
    parts = [_Part.read(folder) for folder in folders]
    first = parts[0]
    for part in parts:
        if part.made_by != first.made_by or part.kind != first.kind:
            what = next((key for key in first.made_by if part.made_by.get(key) != first.made_by[key]), "kind")
            raise InputError(f"{one_line(part.folder)} and {one_line(first.folder)} measure different things ({what})")
    numbers = [part.shard.number for part in parts]
    missing = sorted(set(range(1, first.shard.count + 1)) - set(numbers))
    if missing or len(numbers) > first.shard.count:
        wrong = f"shard {missing[0]} is missing" if missing else "a shard is there twice"
        raise InputError(f"{len(numbers)} states of {first.shard.count} shards: {wrong}")
    parts.sort(key=lambda part: part.shard.number)
    whole = parts[0].state()
    for part in parts[1:]:
        try:
            whole.merge(part.state())  # type: ignore[arg-type]  # of one kind
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            both = f"{one_line(part.folder)} and {one_line(first.folder)}"
            raise InputError(f"{both} measure different things: {one_line(error)}") from None
    return whole


@dataclass(frozen=True)
class _Part:
    """A state on disk, its head checked."""

    folder: Path
    document: dict[str, Any]
    shard: Shard
    made_by: dict[str, Any]
    kind: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        try:
            document = json.loads((folder / DOCUMENT).read_bytes())
            number, count = document["shard"]
            if document["form"] != _FORM or document["kind"] not in ("anomaly", "incremental"):
                raise ValueError("another form")
            shard = Shard.parse(f"{number}/{count}")
            made_by = {**document["made_by"], "shards": shard.count}
            return cls(folder, document, shard, made_by, document["kind"])
        except (OSError, RecursionError, *_BROKEN) as error:
            raise _no_state(folder, error) from None

    def state(self) -> State:
        try:
            if self.kind == "incremental":
                return _incremental(self.document)
            arrays = load_file(self.folder / ARRAYS)
            metrics = stored.anomaly_state(self.document["metrics"], arrays)
            reading = _reading_again(self.document["reading"], self.folder / MAPS)
            edges = self.document.get("edges")
            alpha_beta = None if edges is None else (float(edges[0]), float(edges[1]))
            return AnomalyState(str(self.document["dataset"]), metrics, reading, alpha_beta)
        except (OSError, SafetensorError, *_BROKEN) as error:
            raise _no_state(self.folder, error) from None


def _no_state(folder: Path, error: Exception) -> InputError:
    reason = one_line(error)[:120] if isinstance(error, OSError) else type(error).__name__
    return InputError(f"{one_line(folder)} is no state of `ignota evaluate … --state` ({reason}): measure it again")


def _reading(reading: ComponentReading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    return {
        "sizes": [reading.sizes.predicted, reading.sizes.true],
        "thresholds": reading.thresholds,
        "fixed": {name: stored.components_document(state) for name, state in reading.fixed.items()},
        "bytes": reading.bytes,
        "keys": None if reading.maps is None else [key for key, _ in reading.maps],
    }


def _reading_again(document: Mapping[str, Any] | None, folder: Path) -> ComponentReading | None:
    if document is None:
        return None
    sizes = Sizes(*(int(side) for side in document["sizes"]))
    reading = ComponentReading(sizes, {str(k): float(v) for k, v in document["thresholds"].items()}, folder)
    for name in reading.fixed:
        reading.fixed[name] = stored.components_state(document["fixed"][name], sizes)
    keys, reading.bytes = document["keys"], int(document["bytes"])
    reading.maps = None if keys is None else [(str(key), folder / str(i)) for i, key in enumerate(keys)]
    return reading


def _incremental_document(state: IncrementalState) -> dict[str, Any]:
    return {
        "kind": "incremental",
        "dataset": state.dataset,
        "shots": state.shots,
        "images": state.images,
        "before": {name: stored.segmentation_document(each) for name, each in state.before.items()},
        "lessons": [
            {"used": used, "states": {name: stored.segmentation_document(each) for name, each in states.items()}}
            for used, states in state.lessons
        ],
    }


def _incremental(document: Mapping[str, Any]) -> IncrementalState:
    lessons = [
        (
            {str(name): [str(key) for key in keys] for name, keys in lesson["used"].items()},
            {str(name): stored.segmentation_state(each) for name, each in lesson["states"].items()},
        )
        for lesson in document["lessons"]
    ]
    if not lessons or not all(states for _, states in lessons):
        raise ValueError("nothing was learnt")
    before = {str(name): stored.segmentation_state(each) for name, each in document["before"].items()}
    shots, images = int(document["shots"]), int(document["images"])
    return IncrementalState(str(document["dataset"]), shots, images, before, lessons)
