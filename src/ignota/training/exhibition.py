"""The report of an experiment: tables, curves, and rows of images with what the networks predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ignota.evaluation.evaluation import AnomalyResult
from ignota.reports.charts import Curve
from ignota.reports.pictures import channels_picture, colour_labels, heat_map, overlay
from ignota.reports.report import Highlights, Item, Legend, PictureRow, Report, Section
from ignota.reports.tables import Table, anomaly_tables, incremental_tables, percent
from ignota.structures import Encoding, Sample
from ignota.taxonomy import Taxonomy
from ignota.world.model import OpenWorldModel


@dataclass
class Exhibits:
    """Collects picture rows while images are measured: those with the most to see, `most` of them."""

    most: int = 6
    rows: list[tuple[float, PictureRow]] = field(default_factory=list)

    def offer(self, worth: float, row: PictureRow) -> None:
        """Keeps the row if it is among the worthiest."""
        self.rows = sorted([*self.rows, (worth, row)], key=lambda pair: -pair[0])[: self.most]

    def shown(self) -> tuple[PictureRow, ...]:
        return tuple(row for _, row in self.rows)


def anomaly_row(
    world: OpenWorldModel, sample: Sample, label: NDArray[np.uint8], encoding: Encoding, maps: Mapping[str, NDArray]
) -> PictureRow:
    """Input, truth, closed set, MaxLogit's and the world's own anomaly map, regions, meta channels."""
    scene = world.segment(encoding)
    palette = world.classes.palette()
    truth = np.where(label == 1, 1.0, np.where(label == 255, 0.35, 0.0)).astype(np.float32)
    cells = [
        ("input", sample.image),
        ("unknown in truth (grey: void)", heat_map(truth, sample.image)),
        ("closed set", overlay(sample.image, scene.labels, palette, 0.7)),
    ]
    for name in ("max_logit", "raml"):
        if name in maps:
            cells.append((name, heat_map(stretched(maps[name]), sample.image)))
    cells.append(("unknown regions", overlay(sample.image, scene.labels, palette, 0.3, scene.unknown_mask())))
    if "paper" in world.branches.systems:
        channels = world.branch("paper").read(encoding).channels.cpu().numpy()
        cells.append(("meta channels", channels_picture(channels)))
    return PictureRow(sample.key, tuple(cells))


def incremental_row(
    taxonomy: Taxonomy, sample: Sample, label: NDArray[np.uint8], maps: Mapping[str, NDArray]
) -> PictureRow:
    """Input, truth, closed set and the labels of every method."""
    palette = taxonomy.palette()
    named = {name: name.replace("closed:", "known classes, branch ") for name in maps} | {"closed": "closed set"}
    pictures = [(named[name], colour_labels(value, palette)) for name, value in maps.items()]
    return PictureRow(sample.key, (("input", sample.image), ("truth", colour_labels(label, palette)), *pictures))


def stretched(score: NDArray[np.float32]) -> NDArray[np.float32]:
    """To 0..1 between the 2nd and the 99.8th percentile of the image, for the eye alone."""
    low, high = np.quantile(score, (0.02, 0.998))
    return np.clip((score - low) / max(float(high - low), 1e-9), 0, 1).astype(np.float32)


def closed_set_section(results: Mapping[str, Any], losses: Mapping[str, Sequence[tuple[int, float]]]) -> Section:
    """mIoU and IoU by class of the known classes, and the losses of all stages."""
    closed = results["closed_set"]
    rows = tuple((name, percent(value)) for name, value in closed["iou"].items())
    table = Table("IoU of known classes", ("class", "IoU"), (*rows, ("mean", percent(closed["miou"]))), "In percent.")
    curves = tuple(
        Curve(name, "step", "loss", {name: ([s for s, _ in points], [v for _, v in points])})
        for name, points in losses.items()
        if len(points) > 1
    )
    return Section("Closed set", "The network that knows only the known classes (Equation 1).", (table, *curves))


def anomaly_section(results: Mapping[str, Any], found: AnomalyResult, rows: Sequence[PictureRow]) -> Section:
    """Figures of every score, precision-recall curves, pictures."""
    series = {}
    for name in found.metrics.names:
        curve = found.metrics.curve(name)
        hits, alarms = curve.true_positives, curve.false_positives
        series[name] = ((hits / curve.positives).tolist(), (hits / np.maximum(hits + alarms, 1)).tolist())
    items: list[Item] = [*anomaly_tables(results)]
    items.append(Curve("Precision and recall, pooled", "recall", "precision", series))
    return Section(
        f"Seeing the unknown: {results['dataset']}",
        "Pixels of classes that the network never learnt count as anomalies. raml is this world's own recipe, "
        "raml_paper follows the paper's equations as printed.",
        (*items, *rows),
    )


def incremental_section(results: Mapping[str, Any], rows: Sequence[PictureRow], taxonomy: Taxonomy) -> Section:
    """Figures of every method after learning, pictures, legend."""
    legend = Legend(tuple((label.name, label.colour) for label in taxonomy.classes))
    shots = results["shots"]
    return Section(
        f"Learning it: {shots} example{'s' if shots > 1 else ''} a class",
        "The novel classes are learnt from the training images that show them largest; the network stays as it is.",
        (*incremental_tables(results), legend, *rows),
    )


def experiment_report(
    name: str, highlights: Sequence[tuple[str, str]], sections: Sequence[Section], provenance: dict
) -> Report:
    """The whole page."""
    first = Section("In short", "", (Highlights(tuple(highlights)),))
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    return Report(
        f"Ignota: {name}", "Open-world semantic segmentation, measured", (first, *sections), provenance | versions
    )
