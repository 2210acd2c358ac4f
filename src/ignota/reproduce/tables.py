"""The tables of the paper, each as a description; a new one is a function here and a row of `TABLES`."""

from __future__ import annotations

from collections.abc import Callable

from ignota.functional.edges import EDGE_THRESHOLDS
from ignota.reports.tables import Better
from ignota.reproduce.cells import LOSSES, AnomalyCell, ClosedCell, IncrementalCell, Variant
from ignota.reproduce.description import Column, Description, Line, Ours
from ignota.reproduce.grounds import RATIOS, Setting
from ignota.reproduce.measuring import obtainable

MIOU = tuple(
    Column(title, ("miou", name), published=place)
    for place, (title, name) in enumerate(
        (("mIoU all", "all"), ("mIoU novel", "novel"), ("mIoU old", "old"), ("mIoU harm", "harmonic"))
    )
)
PRINTED, RELEASED, OWN = "here, as printed", "here, as released", "here"
PRESETS = ((PRINTED, "raml_paper"), (RELEASED, "raml_released"))
THETAS = (0.7, 0.75, 0.8, 0.85, 0.9)
DRAWS = 5
MIN_SHARE = 0.005
"""Of its pixels every drawn image shows the class: a few teach nothing, and such a draw would have no figure. The paper
does not say what it draws from."""
_PROTOCOLS = {
    "dmlnet": "per image as DMLNet and the paper: void counts as normal, images without anomaly are skipped, the false "
    "positive rate is taken where the recall is nearest to 95 %; five scales",
    "pooled": "all pixels on one scale, void ignored, the first threshold with a recall of at least 95 %",
}


def seeds(setting: Setting) -> range:
    """Of D and of meta channels."""
    return range(setting.fidelity.seeds)


def table_1(setting: Setting) -> tuple[Description, ...]:
    """Anomaly segmentation on two data sets, by both protocols."""
    return tuple(_anomaly_table(setting, protocol) for protocol in _PROTOCOLS)


def _anomaly_table(setting: Setting, protocol: str) -> Description:
    sets = setting.ground.anomaly_sets
    columns = anomaly_columns(setting, protocol)
    plain = (("Ensemble", "ensemble"), ("RBM", "rbm"), ("MSP", "msp"), ("MaxLogit", "max_logit"), ("DUIR", "duir"),
             ("DML", "dml"))  # fmt: skip
    lines = [Line((label,), (score_row(setting, OWN, score),), label) for label, score in plain]
    lines.append(Line(("RAML",), tuple(seeded_scores(setting, name, score) for name, score in PRESETS), "RAML"))
    lines.append(Line(("RAML, α and β as the paper sets them",), tuple(
        edged_scores(setting, name, score) for name, score in PRESETS)))  # fmt: skip
    further = (("DML, EDS alone", "dml_eds"), ("DML, MMSP alone", "dml_mmsp"),
               ("DML, head on frozen features", "dml_frozen"), ("MC dropout", "mc_dropout"),
               ("Autoencoder", "autoencoder"), ("Maximised entropy", "max_entropy"),
               ("MaxLogit, mean over regions", "region:max_logit"), ("Ignota's own", "raml"))  # fmt: skip
    lines += [Line((label,), (score_row(setting, OWN, score),)) for label, score in further]
    meta = seeded_scores(setting, PRINTED, "raml_mca")
    lines.insert(-2, Line(("RAML, regions of meta channels",), (meta,)))
    here = "; ".join(f"{where.title}: {where.text}" for where in sets)
    note = f"In percent, {_PROTOCOLS[protocol]}. Here {here}."
    return Description("table-1", f"Table 1, {protocol.replace('dmlnet', 'per image')}", ("Method",), columns,
                       tuple(lines), note)  # fmt: skip


def anomaly_columns(setting: Setting, protocol: str, printed: bool = True) -> tuple[Column, ...]:
    """Three measures of each anomaly set; the paper has figures of the first two sets."""
    metrics: tuple[tuple[str, str, Better], ...] = (
        ("AUPR", "aupr", "higher"), ("AUROC", "auroc", "higher"), ("FPR95", "fpr95", "lower"),
    )  # fmt: skip
    return tuple(
        Column(
            f"{where.title} {title}", (protocol, name), better, place, 3 * place + i if printed and place < 2 else None
        )
        for place, where in enumerate(setting.ground.anomaly_sets)
        for i, (title, name, better) in enumerate(metrics)
    )


def score_row(setting: Setting, name: str, score: str) -> Ours:
    """A score that no seed changes, on every anomaly set."""
    missing = "" if obtainable(score) else "this version has no such score"
    sets = range(len(setting.ground.anomaly_sets))
    return Ours(name, tuple((AnomalyCell(place, score),) if not missing else () for place in sets), missing)


def seeded_scores(setting: Setting, name: str, score: str, **changes: object) -> Ours:
    """A score of RAML over the seeds of D and meta channels."""
    variants = [Variant(seed, **changes) for seed in seeds(setting)]  # type: ignore[arg-type]
    sets = range(len(setting.ground.anomaly_sets))
    return Ours(name, tuple(tuple(AnomalyCell(place, score, v) for v in variants) for place in sets))


def edged_scores(setting: Setting, name: str, score: str) -> Ours:
    """A score of RAML with α and β that the paper sets for the first two anomaly sets (Appendix B.2)."""
    edges = (EDGE_THRESHOLDS["lost_and_found"], EDGE_THRESHOLDS["road_anomaly"])
    sets = range(len(setting.ground.anomaly_sets))
    return Ours(name, tuple(
        tuple(AnomalyCell(place, score, Variant(seed, edges=edges[place])) for seed in seeds(setting))
        if place < len(edges) else () for place in sets
    ))  # fmt: skip


def seeded(setting: Setting, name: str, split: str, method: str, shots: int, **changes: object) -> Ours:
    """A method of RAML over the seeds of D and meta channels."""
    variants = (Variant(seed, **changes) for seed in seeds(setting))  # type: ignore[arg-type]
    return Ours(name, (tuple(IncrementalCell(split, method, shots, None, v) for v in variants),))


def once(name: str, split: str, method: str, shots: int) -> Ours:
    """A method that no seed changes."""
    return Ours(name, ((IncrementalCell(split, method, shots),),))


def both(setting: Setting, split: str, shots: int, **changes: object) -> tuple[Ours, ...]:
    """RAML as printed and as released."""
    return tuple(seeded(setting, name, split, method, shots, **changes) for name, method in PRESETS)


def table_2(setting: Setting) -> tuple[Description, ...]:
    """Few-shot learning, class by class."""
    return tuple(_class_table(setting, split, top) for split, top in (("16+1", "All 17"), ("16+3", "All 19")))


def _class_table(setting: Setting, split: str, top: str) -> Description:
    ground, parsed = setting.ground, setting.ground.parsed(split)
    names = parsed.world_taxonomy.names
    printed = parsed.taxonomy.name == "cityscapes"
    columns = tuple(Column(name, ("iou", name), published=i if printed else None) for i, name in enumerate(names))
    columns += tuple(Column(c.title, c.path, published=19 + i) for i, c in enumerate(MIOU))
    bounds = ((f"{top}", ClosedCell(top)), ("First 16", ClosedCell("16+3")))
    counts = {"First 16": f"First {len(parsed.known)}", top: f"All {len(names)}"}
    lines = [Line(("Baseline", counts[label]), (Ours(OWN, ((cell,),)),), f"{split} {label}") for label, cell in bounds]
    lines.append(Line(("Baseline", "FT"), (once(OWN, split, "ft", 5),), f"{split} FT"))
    for shots in (5, 1):
        group = f"{shots} shot"
        rows = (("PLM", once(OWN, split, "plm_all", shots)), ("NPM", once(OWN, split, "npm", shots)))
        lines += [Line((group, label), (ours,), f"{split} {group} {label}") for label, ours in rows]
        lines.append(Line((group, "RAML"), both(setting, split, shots), f"{split} {group} RAML"))
        lines.append(Line((group, "RAML, URS regions"), (seeded(setting, PRINTED, split, "raml_urs", shots),)))
        lines.append(Line((group, "Ignota's own"), (once(OWN, split, "raml", shots),)))
    note = (
        f"IoU in percent, setting {split}, here {ground.shown(split)}: {', '.join(names[len(parsed.known) :])} learnt."
    )
    return Description("table-2", f"Table 2, {split}", ("Shots", "Method"), columns, tuple(lines), note)


def table_3(setting: Setting) -> tuple[Description, ...]:
    """The losses of meta channels, by both presets; as printed L_rec has neither value nor gradient."""
    lines = []
    for count in range(len(LOSSES) + 1):
        on = LOSSES[:count]
        label = "".join(f"+L_{name} " for name in on).strip() or "Baseline (L_seg alone)"
        lines.append(Line((label,), both(setting, "16+3", 5, losses=on), " ".join(on) or "Baseline"))
    note = (
        f"mIoU in percent, {setting.ground.shown('16+3')}, 5 shots. Under the softmax that is printed all channels sum "
        "to one, so that L_rec is null; the released code's sigmoid gives it something to do."
    )
    return (Description("table-3", "Table 3, losses of meta channels", ("Losses",), MIOU, tuple(lines), note),)


def table_e(setting: Setting) -> tuple[Description, ...]:
    """How regions are separated."""
    split, shots = "16+3", 1
    pixel = (
        ("PLM latest", "plm_latest", "PLMlatest"),
        ("PLM all", "plm_all", "PLMall"),
        ("NPM", "npm", "NPM"),
        ("NPM, frozen features", "npm_frozen", None),
    )
    lines = [Line((label,), (once(OWN, split, method, shots),), key) for label, method, key in pixel]
    urs = ((PRINTED, "raml_urs"), (RELEASED, "raml_urs_released"))
    lines.append(Line(("URS",), tuple(seeded(setting, name, split, m, shots) for name, m in urs), "URS"))
    for k in (2, 4, 6):
        label = f"MCA (K = {k})"
        channels = None if k == setting.config(split).meta_channels.channels else k
        lines.append(Line((label,), both(setting, split, shots, channels=channels), label))
    lines.append(Line(("Ignota's own",), (once(OWN, split, "raml", shots),)))
    novel = len(setting.ground.parsed(split).novel)
    note = f"mIoU in percent, {setting.ground.shown(split)}, 1 shot. K = 2 is smaller than the {novel} classes taught."
    return (Description("table-e", "Table E, region separation", ("Regions",), MIOU, tuple(lines), note),)


def table_f(setting: Setting) -> tuple[Description, ...]:
    """The threshold of cosine similarity."""
    usual = setting.config("16+3").incremental.threshold
    lines = [
        Line(
            (f"{shots} shot", f"{theta:g}"),
            both(setting, "16+3", shots, theta=None if theta == usual else theta),
            f"{shots} shot {theta:g}",
        )
        for shots in (5, 1)
        for theta in THETAS
    ]
    note = f"mIoU in percent, {setting.ground.shown('16+3')}."
    return (Description("table-f", "Table F, θ_novel", ("Shots", "θ_novel"), MIOU, tuple(lines), note),)


def drawn(split: str, method: str, shots: int, draw: int) -> IncrementalCell:
    """A method after a random draw of its shots."""
    return IncrementalCell(split, method, shots, draw, min_share=MIN_SHARE)


def table_g(setting: Setting) -> tuple[Description, ...]:
    """Which examples are shown: random draws."""
    methods = (*PRESETS, ("here, Ignota's own", "raml"))
    lines = []
    for split in ("16+1", "16+3"):
        for shots in (5, 1):
            ours = tuple(
                Ours(name, (tuple(drawn(split, method, shots, draw) for draw in range(DRAWS)),))
                for name, method in methods
            )
            lines.append(Line((split, f"{shots} shot"), ours, f"{split} {shots} shot"))
    shown = ", ".join(f"{split} here {setting.ground.shown(split)}" for split in ("16+1", "16+3"))
    note = (
        f"mIoU in percent, mean ± standard deviation over {DRAWS} random draws of the shots from the training images "
        f"that show the class on {MIN_SHARE:.1%} of their pixels or more; {shown}."
    )
    return (Description("table-g", "Table G, novel selection", ("Setting", "Shots"), MIOU, tuple(lines), note),)


def ratios(setting: Setting) -> tuple[Description, ...]:
    """Figure 7 as numbers: ever more classes are unknown."""
    lines = []
    for split in RATIOS:
        label = f"{split} (here {setting.ground.shown(split)})"
        lines.append(Line((label, "NPM"), (once(OWN, split, "npm", 5),)))
        lines.append(Line((label, "RAML"), both(setting, split, 5)))
        lines.append(Line((label, "Ignota's own"), (once(OWN, split, "raml", 5),)))
    note = "mIoU in percent, 5 shots. The paper prints these figures as curves alone."
    return (
        Description("figure-7", "Figure 7, share of unknown classes", ("Setting", "Method"), MIOU, tuple(lines), note),
    )


def choices(setting: Setting) -> tuple[Description, ...]:
    """Choices that the paper makes without a table of its own."""
    pairs: tuple[tuple[str, dict[str, object]], ...] = (
        ("URS with Sobel", {}),
        ("URS without Sobel", {"sobel": False}),
        ("one-hot centres", {"one_hot": True}),
    )
    seen = tuple(
        Line((label,), (seeded_scores(setting, PRINTED, "raml_paper", **changes),)) for label, changes in pairs
    )
    columns = anomaly_columns(setting, "dmlnet", printed=False)
    steps: tuple[tuple[str, dict[str, object]], ...] = (
        ("circle loss", {}),
        ("one-hot centres", {"one_hot": True}),
        ("gated by the anomaly map", {"gated": True}),
        ("K = 1", {"channels": 1}),
    )
    learnt = tuple(Line((label,), both(setting, "16+3", 5, **changes)) for label, changes in steps)
    return (
        Description("choices", "The paper's choices: anomalies", ("Choice",), columns, seen,
                    f"RAML as printed, in percent, {_PROTOCOLS['dmlnet']}."),
        Description("choices", "The paper's choices: few-shot learning", ("Choice",), MIOU, learnt,
                    f"mIoU in percent, {setting.ground.shown('16+3')}, 5 shots; K = 4 but in the last row."),
    )  # fmt: skip


TABLES: dict[str, Callable[[Setting], tuple[Description, ...]]] = {
    "table-1": table_1,
    "table-2": table_2,
    "table-3": table_3,
    "table-e": table_e,
    "table-f": table_f,
    "table-g": table_g,
    "figure-7": ratios,
    "choices": choices,
}
