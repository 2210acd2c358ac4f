"""The figures of the paper, drawn from the outputs of a reproduction's networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from ignota.evaluation.evaluation import anomaly_label_lut
from ignota.reports.pictures import heat_map
from ignota.reports.report import PictureRow
from ignota.reproduce.description import value_of
from ignota.reproduce.example import METHOD, SPLIT
from ignota.reproduce.runner import Reproduction
from ignota.reproduce.sheets import cloud_sheet, curve_sheet, grid_sheet, pipeline_sheet
from ignota.reproduce.taught_worlds import TaughtWorld
from ignota.reproduce.views import Picture, View, clouds, worthiest

_ROWS = 3


@dataclass(frozen=True)
class Figure:
    """Rows of pictures, and all of them on one sheet."""

    title: str
    text: str
    rows: tuple[PictureRow, ...]
    sheet: UInt8[np.ndarray, "H W 3"]


def views(reproduction: Reproduction, count: int = _ROWS) -> list[View]:
    """The evaluation images in which novel classes are largest, before a world that was taught from five shots."""
    setting, split = reproduction.setting, reproduction.setting.ground.parsed(SPLIT)
    images, taught = setting.evaluate(SPLIT), reproduction.taught
    labels = [images.load_label(i) for i in range(len(images))]
    return [View(images[i], split, taught) for i in worthiest(labels, split.novel, count)]


def _rows(found: Sequence[View], cells: Callable[[View], Sequence[tuple[str, Picture]]]) -> tuple[PictureRow, ...]:
    return tuple(PictureRow(view.sample.key, tuple(cells(view))) for view in found)


def _plain(title: str, text: str, rows: tuple[PictureRow, ...]) -> Figure:
    return Figure(title, text, rows, grid_sheet(rows))


def figure_1(reproduction: Reproduction) -> Figure:
    """What pixel-wise and region-aware metric learning make of the same things."""

    def cells(view: View) -> list[tuple[str, Picture]]:
        return [
            ("input", view.image),
            ("truth", view.truth()),
            ("(a) pixel-wise: NPM", view.coloured("npm")),
            ("(b) regions (Eq. 2)", view.region_picture()),
            ("(b) region-aware, URS", view.coloured("raml_urs")),
            ("(b) region-aware, Ignota", view.coloured("raml")),
        ]

    text = "Pixel-wise learning may part one object into several classes; a region is assigned one class as a whole."
    return _plain("Figure 1: pixel-wise and region-aware metric learning", text, _rows(views(reproduction), cells))


def figure_2(reproduction: Reproduction) -> Figure:
    """The pipeline, from an image to the learnt classes."""
    view = views(reproduction, 1)[0]
    seen = [
        ("input X", view.image),
        ("closed set (Eq. 1)", view.coloured("closed")),
        ("edges E (Eq. 2)", view.edges()),
        ("regions R", view.region_picture()),
        ("similarity P (Eq. 4)", view.likeness("paper")),
        ("anomaly Q (Eq. 5)", view.intensity("paper")),
    ]
    learnt = [
        view.channel_tiles("paper"),
        view.aggregated(METHOD, "aggregated (Eq. 15)"),
        view.candidate_picture(METHOD),
        ("classified (Eq. 12)", view.coloured(METHOD)),
        ("Ignota's own", view.coloured("raml")),
        ("truth", view.truth()),
    ]
    titles = ("Anomaly segmentation", "Incremental few-shot learning")
    rows = (PictureRow(titles[0], tuple(seen)), PictureRow(titles[1], tuple(learnt)))
    text = (
        "Every step as printed on one image; five examples of each novel class were shown. The anomaly gate is off: "
        "Table `choices` measures it both ways."
    )
    return Figure("Figure 2: the pipeline", text, rows, pipeline_sheet((seen, learnt), titles, (6, 4)))


def figure_3(reproduction: Reproduction) -> Figure:
    """Uncertainty runs along borders."""

    def cells(view: View) -> list[tuple[str, Picture]]:
        return [("input", view.image), ("1 - MSP", view.unsure()), ("edges (Eq. 2)", view.edges())]

    text = "The classifier is unsure where two classes meet, which makes its uncertainty a first guess of regions."
    return _plain("Figure 3: maximum softmax probability", text, _rows(views(reproduction), cells))


def figure_4(reproduction: Reproduction) -> Figure:
    """Meta channels and their union."""

    def cells(view: View) -> list[tuple[str, Picture]]:
        shown = [(f"(b) {caption}", picture) for caption, picture in view.channel_pictures("paper")]
        return [("(a) input", view.image), *shown, view.aggregated(METHOD, "(c) aggregated")]

    text = (
        "The response of each meta channel of the branch `paper`, the share of pixels on which it is on (0.5 or more), "
        "and the union of those that the shots of the novel classes select."
    )
    return _plain("Figure 4: meta channels", text, _rows(views(reproduction), cells))


def figure_5(reproduction: Reproduction) -> Figure:
    """Anomaly maps of pixels and of regions, two images of each anomaly set."""
    rows: list[PictureRow] = []
    setting, workshop = reproduction.setting, reproduction.workshop
    for place, where in enumerate(setting.ground.anomaly_sets):
        images, world = setting.anomalies(place), workshop.base(where.closed)
        lut = anomaly_label_lut(world, images)
        labels = [lut[images.load_label(i)] for i in range(len(images))]
        for i in worthiest(labels, (1,), 2):
            sample = images[i]
            view = View(sample, setting.ground.parsed(where.closed), TaughtWorld(world))
            truth = np.where(labels[i] == 1, 1.0, np.where(labels[i] == 255, 0.35, 0.0)).astype(np.float32)
            cells = (
                ("(a) input", view.image), ("(b) truth (violet: void)", heat_map(truth)), ("(c) edges", view.edges()),
                ("(d) MaxLogit", view.anomaly("max_logit")), ("(e) RAML as printed", view.anomaly("raml_paper")),
                ("Ignota's own", view.anomaly("raml")),
            )  # fmt: skip
            rows.append(PictureRow(f"{where.title}: {sample.key}", cells))
    text = "Brighter is more anomalous; each map is stretched for the eye alone. Rows: two images of each anomaly set."
    return _plain("Figure 5: anomaly segmentation", text, tuple(rows))


def figure_6(reproduction: Reproduction) -> Figure:
    """t-SNE of pixels and of regions."""
    found = clouds(reproduction.workshop, reproduction.taught)
    split = reproduction.setting.ground.parsed(SPLIT)
    sheet = cloud_sheet(found, split.world_taxonomy, len(split.known))
    pixel, region = (f"{cloud.silhouette:+.2f}" for cloud in found)
    text = (
        f"Stars are classes that no network learnt. Mean silhouette of the vectors themselves (cosine, -1..1, larger "
        f"is tighter): {pixel} pixel by pixel, {region} region by region."
    )
    return Figure("Figure 6: t-SNE of what is compared", text, (PictureRow("", (("t-SNE", sheet),)),), sheet)


def figure_7(reproduction: Reproduction) -> Figure:
    """Ever more classes are unknown: the table of the same name as curves."""
    (table,) = reproduction.descriptions("figure-7")
    panels: dict[str, dict[str, tuple[list[str], list[float | None]]]] = {}
    for column in table.columns[1::2]:  # novel and harmonic
        series = panels.setdefault(column.title, {})
        for line in table.lines:
            for ours in line.ours:
                name = f"{line.labels[1]}{ours.name.removeprefix('here')}"
                places, values = series.setdefault(name, ([], []))
                value = value_of(ours.groups[0], column.path, reproduction.lookup)
                places.append(line.labels[0])
                values.append(None if value is None else value.mean)
    sheet = curve_sheet(panels)
    text = f"From few novel classes to many, five shots, on {reproduction.setting.ground.title}."
    rows = (PictureRow("", (("mIoU over the share of unknown classes", sheet),)),)
    return Figure("Figure 7: share of unknown classes", text, rows, sheet)


def figure_8(reproduction: Reproduction) -> Figure:
    """Open-world segmentation from the image to the learnt classes."""

    def cells(view: View) -> list[tuple[str, Picture]]:
        return [
            ("(a) input", view.image), ("(b) truth", view.truth()), ("(c) closed set", view.coloured("closed")),
            ("(d) anomaly", view.intensity("paper")), view.aggregated(METHOD, "(e) MCA"),
            ("(f) NPM", view.coloured("npm")), ("(g) RAML, as printed", view.coloured("raml_paper")),
            ("RAML, as released", view.coloured("raml_released")), ("RAML, tuned", view.coloured("raml_tuned")),
            ("Ignota's own", view.coloured("raml")),
        ]  # fmt: skip

    text = "Those evaluation images in which the novel classes are largest; they were learnt from five examples each."
    return _plain("Figure 8: open-world segmentation", text, _rows(views(reproduction), cells))


def figure_i(reproduction: Reproduction) -> Figure:
    """The example of Table D: its candidate regions one by one."""
    example = reproduction.example()
    images, split = reproduction.setting.evaluate(SPLIT), reproduction.setting.ground.parsed(SPLIT)
    view = View(images[int(example.get("index", 0))], split, reproduction.taught)
    ids = view.candidates(METHOD).ids
    cells = [
        ("(a) input", view.image),
        ("(b) truth", view.truth()),
        ("(c) output", view.coloured(METHOD)),
        view.aggregated(METHOD, "(d) aggregated"),
    ]
    for row in example.get("regions", [])[:8]:
        mask = (ids == row["region"])[:, :, None]
        cells.append((f"{row['letter']} {row['output']}", np.where(mask, view.image, view.image // 5)))
    rows = tuple(PictureRow(view.sample.key, tuple(cells[i : i + 4])) for i in range(0, len(cells), 4))
    text = "The image of Table D, as printed; each candidate region lit on its own."
    if "reason" in example:
        text = f"Table D has no image: {example['reason']}. This is the first one."
    return _plain("Figure I: candidate regions", text, rows)


FIGURES: dict[str, Callable[[Reproduction], Figure]] = {
    "figure-1": figure_1,
    "figure-2": figure_2,
    "figure-3": figure_3,
    "figure-4": figure_4,
    "figure-5": figure_5,
    "figure-6": figure_6,
    "figure-7": figure_7,
    "figure-8": figure_8,
    "figure-i": figure_i,
}
