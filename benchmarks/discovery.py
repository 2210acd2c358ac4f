"""Measures `discover` and `suggest` on CamVid whose novel classes are unlabelled; writes figures as JSON, prints them.

    python benchmarks/discovery.py groups   --data $IGNOTA_DATA/camvid --out runs/discovery [--sequences 0016E5]
    python benchmarks/discovery.py learn    --data …  --out …          IoU of car from its group against five shots
    python benchmarks/discovery.py suggest  --data …  --out …          five suggested images against five random ones

Labels are used to measure and for nothing else: never to find groups or to choose images. Each image passes the
networks once; what they say is kept below --out at half precision (11 MB an image), for all three measurements. Frames
of the sequences 0001TP and 0006R0 were used to choose the settings of `discover`; figures that are reported come from
0016E5, the default. Learnt classes are measured on val.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy import stats
from tqdm import tqdm

from ignota.cli.gathering import gathered
from ignota.data.datasets import LabelledImages, PublishedImages, open_dataset, open_unchecked, with_labels
from ignota.data.images import resize_label
from ignota.data.shots import class_areas, largest_shots
from ignota.discovery.clusters import Grouping
from ignota.discovery.groups import Group, class_likeness, find_groups
from ignota.discovery.naming import NamedRows, learn_named
from ignota.discovery.region_table import RegionTable
from ignota.discovery.suggestion import Weighing, suggest_images
from ignota.evaluation.evaluation import untaught_copy, world_split
from ignota.heap import keep_freed_memory
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.perception.hierarchy import Hierarchy
from ignota.perception.networks import ImageLike, as_pixels
from ignota.perception.novel import Exemplar, NovelEvidence, novel_evidence
from ignota.perception.reading import RegionReading
from ignota.perception.scene import Tables
from ignota.storage import bundle
from ignota.structures import Encoding, InputError, RegionSet
from ignota.taxonomy import ClassSplit
from ignota.world.model import OpenWorldModel
from ignota.world.teaching import exemplar

REPORTED = ("0016E5",)


@dataclasses.dataclass(eq=False)
class KeepingWorld(OpenWorldModel):
    """A world that keeps what its networks say of each image below `folder`, and reads it back."""

    folder: Path = dataclasses.field(kw_only=True)
    __hash__ = object.__hash__

    def encode(self, image: ImageLike, size: int | None = None) -> Encoding:
        pixels = as_pixels(image)
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        path = self.folder / f"{digest}.safetensors"
        if not path.exists():
            keep(path, encoding := super().encode(pixels), super().tables(encoding))
        return kept(path, digest, (pixels.shape[0], pixels.shape[1]))[0]

    def tables(self, encoding: Encoding) -> Tables:
        return kept(self.folder / f"{encoding.sha256}.safetensors", encoding.sha256, encoding.size)[1]


def keep(path: Path, encoding: Encoding, tables: Tables) -> None:
    features = {f"feature.{tap}": value.half().contiguous() for tap, value in encoding.features.items()}
    levels = {f"level.{i}": torch.from_numpy(level.ids) for i, level in enumerate(tables.reading.hierarchy.levels)}
    rest = {
        "image": torch.from_numpy(np.ascontiguousarray(encoding.image)),
        "logits": encoding.logits.contiguous(),
        "closed": torch.from_numpy(tables.closed),
        "score": tables.score.contiguous(),
        "embeddings": tables.reading.embeddings.half().contiguous(),
        "nearest": tables.reading.nearest.contiguous(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(features | levels | rest, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def kept(path: Path, digest: str, size: tuple[int, int]) -> tuple[Encoding, Tables]:
    held = load_file(path)
    features = {key.removeprefix("feature."): held[key].float() for key in held if key.startswith("feature.")}
    ids = [held[key].numpy() for key in sorted(held) if key.startswith("level.")]
    hierarchy = Hierarchy(tuple(RegionSet(level, int(level.max())) for level in ids))
    reading = RegionReading(hierarchy, held["embeddings"].float(), held["nearest"])
    encoding = Encoding(held["image"].numpy(), size, held["logits"], features, digest)
    return encoding, Tables(size, held["closed"].numpy(), held["score"], reading)


def frames(dataset: LabelledImages, sequences: Sequence[str], every: int = 1) -> list[int]:
    """Indices of every N-th of the frames of these sequences."""
    return [i for i, key in enumerate(dataset.keys) if key.startswith(tuple(sequences))][::every]


def regions_of(world: OpenWorldModel, dataset: LabelledImages, chosen: Sequence[int], out: Path) -> RegionTable:
    """What `ignota discover` finds in these frames, by the same functions."""
    words = [str(dataset.image_paths[i]) for i in chosen]
    return gathered(words, world, out, argparse.Namespace(every=1, quiet=False))[0]  # type: ignore[arg-type]


def pixel_counts(found: RegionTable, dataset: LabelledImages) -> np.ndarray:
    """Pixels of each class under each region, "R 256"; 255 = void."""
    place = {key: i for i, key in enumerate(dataset.keys)}
    counts = np.zeros((len(found), 256), np.int64)
    labels: dict[str, np.ndarray] = {}
    for row in range(len(found)):
        if found.names[row] not in labels:
            labels = {found.names[row]: dataset.load_label(place[found.names[row]])}
        counts[row] = np.bincount(labels[found.names[row]][found.mask(row)], minlength=256)
    return counts


def describe(groups: Sequence[Group], counts: np.ndarray, split: ClassSplit) -> dict[str, Any]:
    """Of each novel class: the groups that hold it (where it has most pixels of all, void among them), their purity."""
    inside = [counts[list(group.rows)].sum(0) for group in groups]
    found: dict[str, Any] = {"groups": len(groups), "regions": len(counts)}
    for class_id in split.novel:
        hold = [i for i, pixels in enumerate(inside) if int(pixels.argmax()) == class_id]
        pixels = np.sum([inside[i] for i in hold], axis=0) if hold else np.zeros(256)
        regions = [row for i in hold for row in groups[i].rows]
        majority = float((counts[regions].argmax(1) == class_id).mean()) if regions else 0.0
        found[split.taxonomy.names[class_id]] = {
            "groups": [groups[i].key for i in hold],
            "best_rank": int(groups[hold[0]].key) if hold else None,
            "purity": float(pixels[class_id] / max(pixels.sum(), 1)),
            "purity_without_void": float(pixels[class_id] / max(pixels[:255].sum(), 1)),
            "purity_by_region": majority,
            "recall_of_unknown": float(pixels[class_id] / max(counts[:, class_id].sum(), 1)),
        }
    return found


def evaluate(
    world: OpenWorldModel, dataset: LabelledImages, evidence: Mapping[str, NovelEvidence], split: ClassSplit
) -> dict[str, dict[str, Any]]:
    """The figures of taught classes on a data set, for many teachings at once; each image is read once."""
    names = split.world_taxonomy.names
    luts = {
        key: np.array([*range(len(split.known)), *(names.index(name) for name in each.names), *range(200)], np.uint8)
        for key, each in evidence.items()
    }
    states = {key: SegmentationMetrics(split.world_taxonomy, len(split.known)) for key in evidence}
    lut = split.world_lut()
    for i in tqdm(range(len(dataset)), "measure", unit=" image"):
        sample = dataset[i]
        assert sample.label is not None
        encoding = world.encode(sample.image)
        tables = world.tables(encoding)
        for key, each in evidence.items():
            labels = luts[key][world.scene(encoding, tables, each).working_labels]
            states[key].update(lut[sample.label], resize_label(labels, sample.label.shape))
    return {key: state.compute() for key, state in states.items()}


def labelled(
    world: OpenWorldModel, dataset: LabelledImages, chosen: Iterable[int], class_ids: Sequence[int]
) -> NovelEvidence:
    """What the world knows once every novel class in these images was marked."""
    found = [marked(world, dataset, i) for i in chosen]
    names = [dataset.taxonomy.names[class_id] for class_id in class_ids]  # type: ignore[union-attr]
    return novel_evidence(world.known, [each[name] for name in names for each in found if name in each])


@functools.cache
def marked(world: OpenWorldModel, dataset: LabelledImages, i: int) -> dict[str, Exemplar]:
    """An exemplar of each class unknown to the world that one image shows, by name."""
    sample = dataset[i]
    encoding = world.encode(sample.image)
    regions = world.tables(encoding).regions
    found = {}
    for label in dataset.taxonomy.classes:  # type: ignore[union-attr]
        if label.name in world.taxonomy.names:
            continue
        with contextlib.suppress(InputError):  # nothing of the class, or too little to see
            found[label.name] = exemplar(world, label.name, encoding, regions, np.asarray(sample.label == label.id))
    return found


def measure_groups(args: argparse.Namespace, world: OpenWorldModel) -> dict[str, Any]:
    train = open_dataset("camvid", args.data, "train")
    split = world_split(world, train.taxonomy)  # type: ignore[arg-type]
    found = regions_of(world, train, frames(train, args.sequences, args.every), args.out / "groups")
    groups, alone = find_groups(found, world.known.space, world.taxonomy.names, Grouping())
    counts = pixel_counts(found, train)
    return {"frames": len(frames(train, args.sequences, args.every)), "alone": len(alone)} | describe(
        groups, counts, split
    )


def measure_learning(args: argparse.Namespace, world: OpenWorldModel) -> dict[str, Any]:
    """car from the best group that holds it, from all of them, and from five labelled shots."""
    train = open_dataset("camvid", args.data, "train")
    split = world_split(world, train.taxonomy)  # type: ignore[arg-type]
    chosen = frames(train, args.sequences, args.every)
    found = regions_of(world, train, chosen, args.out / "groups")
    groups, _ = find_groups(found, world.known.space, world.taxonomy.names, Grouping())
    counts, car = pixel_counts(found, train), split.taxonomy.id_of("car")
    hold = [group for group in groups if int(counts[list(group.rows)].sum(0).argmax()) == car]
    lessons, evidence = {}, {}
    for (title, used), count in itertools.product(
        (("best group", hold[:1]), ("all groups", hold)), (None, *args.exemplars)
    ):
        taught = untaught_copy(world)
        rows = [each.rows[i] for i in range(len(found)) for each in used if i < len(each.rows)]
        named = NamedRows("car", tuple(each.key for each in used), tuple(rows), max(each.exemplars for each in used))
        lesson = learn_named(taught, found, named, count, force=True)
        assert lesson is not None
        key = f"{title}, {lesson.examples} exemplars" + ("" if count else " (as suggested)")
        lessons[key] = {"groups": named.keys, "stolen": lesson.stolen, "stolen_held": lesson.stolen_held}
        evidence[key] = taught.novel
    areas = class_areas(train, [car])[0]
    among = np.zeros_like(areas)
    among[chosen] = areas[chosen]
    evidence["five shots"] = labelled(world, train, largest_shots(train, car, 5, among), [car])
    measured = evaluate(world, measured_on(args), evidence, split)
    return {"iou": {key: each["iou"]["car"] for key, each in measured.items()}, "lessons": lessons}


def measured_on(args: argparse.Namespace) -> PublishedImages:
    """The images to measure on: all of a split, or those of some sequences of it."""
    dataset = with_labels(open_unchecked("camvid", args.data, args.split))
    kept = frames(dataset, args.measure or [""], args.step)
    return dataclasses.replace(dataset, pairs=tuple(dataset.pairs[i] for i in kept))


def measure_suggestions(args: argparse.Namespace, world: OpenWorldModel) -> dict[str, Any]:
    """Harmonic mIoU after every novel class in five images was marked: suggested ones, and random ones by draw."""
    train = open_dataset("camvid", args.data, "train")
    split = world_split(world, train.taxonomy)  # type: ignore[arg-type]
    chosen = frames(train, args.sequences, args.every)
    found = regions_of(world, train, chosen, args.out / "groups")
    known = class_likeness(found.vectors, world.known.space, len(world.taxonomy)).max(1)
    suggested = suggest_images(found, known, None, args.images, Grouping(), Weighing())
    place = {key: i for i, key in enumerate(train.keys)}
    pools = {"suggested": [place[each.name] for each in suggested]}
    for draw in range(args.draws):
        rng = np.random.default_rng([args.seed, draw])
        pools[f"random {draw}"] = sorted(rng.choice(chosen, args.images, replace=False).tolist())
    evidence = {key: labelled(world, train, images, split.novel) for key, images in tqdm(pools.items(), "mark")}
    measured = evaluate(world, measured_on(args), evidence, split)
    harmonic = {key: float(each["miou"]["harmonic"] or 0.0) for key, each in measured.items()}
    difference = harmonic["suggested"] - np.array([harmonic[key] for key in harmonic if key != "suggested"])
    low, high = stats.t.interval(0.95, len(difference) - 1, difference.mean(), stats.sem(difference))
    return {
        "images": [train.keys[i] for i in pools["suggested"]],
        "harmonic": harmonic,
        "iou": {
            key: {name: each["iou"][name] for name in ("car", "pedestrian", "bicyclist")}
            for key, each in measured.items()
        },
        "difference": {"mean": float(difference.mean()), "low": float(low), "high": float(high)},
        "better_than": float((difference > 0).mean()),
    }


MEASUREMENTS = {"groups": measure_groups, "learn": measure_learning, "suggest": measure_suggestions}


def main() -> None:
    keep_freed_memory()  # as every command
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--world", default="camvid-8+3")
    parser.add_argument("--sequences", nargs="+", default=REPORTED, help="of train, where regions are found")
    parser.add_argument("--every", type=int, default=1, help="take every N-th of their frames")
    parser.add_argument("--split", default="val", help="where learnt classes are measured")
    parser.add_argument("--measure", nargs="*", default=(), help="only these sequences of it")
    parser.add_argument("--step", type=int, default=1, help="measure on every N-th image")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--exemplars", type=int, nargs="*", default=(), help="further numbers to learn from")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    opened = bundle.load(args.world)
    fields = {field.name: getattr(opened, field.name) for field in dataclasses.fields(OpenWorldModel)}
    world = KeepingWorld(**fields, folder=args.out / "kept")
    result = MEASUREMENTS[args.what](args, world)
    text = json.dumps(vars(args) | {"result": result}, indent=2, default=str, ensure_ascii=False)
    (args.out / f"{args.what}-{'-'.join(args.sequences)}.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
