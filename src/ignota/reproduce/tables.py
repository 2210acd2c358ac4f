"""The tables of the paper, each as a description; a new one is a function here and a row of `TABLES`."""

from __future__ import annotations

from collections.abc import Callable

from ignota.functional.edges import EDGE_THRESHOLDS
from ignota.perception.raml import RULES
from ignota.reports.tables import Better
from ignota.reproduce.cells import LOSSES, AnomalyCell, ClosedCell, IncrementalCell, Variant
from ignota.reproduce.description import Column, Description, Line, Ours
from ignota.reproduce.grounds import RATIOS, Setting
from ignota.reproduce.measuring import META_REGIONS, obtainable
from ignota.training.branch_run import meta_channel_count

MIOU = tuple(
    Column(title, ("miou", name), published=place)
    for place, (title, name) in enumerate(
        (("mIoU all", "all"), ("mIoU novel", "novel"), ("mIoU old", "old"), ("mIoU harm", "harmonic"))
    )
)
PRINTED, RELEASED, TUNED, OWN = "here, as printed", "here, as released", "here, tuned", "here"
PRESETS = ((PRINTED, "raml_paper"), (RELEASED, "raml_released"))
SYSTEMS = (*PRESETS, (TUNED, "raml_tuned"))
"""RAML's three rows: what the paper prints, what its code does, and the first with deviations that training data chose.
"""
THETAS = (0.7, 0.75, 0.8, 0.85, 0.9)
MIN_SHARE = 0.005
"""Of its pixels every drawn image shows the class: a few teach nothing, and such a draw would have no figure. The paper
does not say what it draws from."""
TRANSDUCTIVE = (
    "Meta channel mass is transductive: the branch `paper` was fine-tuned on training images in which the very classes "
    "that count as anomalies lie as void pixels; other anomaly sets have no such row."
)
_PROTOCOLS = {
    "dmlnet": "per image as DMLNet and the paper: void counts as normal, images without anomaly are skipped, the false "
    "positive rate is taken where the recall is nearest to 95 %; five scales",
    "pooled": "all pixels on one scale, void ignored, the first threshold with a recall of at least 95 %; the paper "
    "has no figures by this protocol",
}


def seeds(setting: Setting) -> range:
    """Of shots and of D."""
    return range(setting.fidelity.seeds)


def branch_seeds(setting: Setting) -> range:
    """Of stage 2, where a branch is trained several times."""
    return range(setting.fidelity.branches)


def schedule(setting: Setting) -> str:
    """The scale of the schedules beside the paper's."""
    config = setting.config("16+3")
    return (
        f"Schedules: stage 1 {config.closed_set.steps} steps of the paper's 30,000, stage 2 "
        f"{config.meta_channels.steps} and D {config.region_embedder.steps} of 10,000 each."
    )


def table_1(setting: Setting) -> tuple[Description, ...]:
    """Anomaly segmentation on two data sets, by both protocols."""
    return tuple(_anomaly_table(setting, protocol) for protocol in _PROTOCOLS)


def _anomaly_table(setting: Setting, protocol: str) -> Description:
    sets, papers = setting.ground.anomaly_sets, protocol == "dmlnet"
    columns = anomaly_columns(setting, protocol, papers)

    def line(label: str, *ours: Ours) -> Line:
        return Line((label,), ours, label if papers else None)

    plain = (("Ensemble", "ensemble"), ("RBM", "rbm"), ("MSP", "msp"), ("MaxLogit", "max_logit"), ("DUIR", "duir"),
             ("DML", "dml"))  # fmt: skip
    lines = [line(label, score_row(setting, OWN, score)) for label, score in plain]
    lines.append(line("RAML", *(seeded_scores(setting, name, score) for name, score in PRESETS)))
    lines.append(Line(("RAML, α and β as the paper sets them",), tuple(
        edged_scores(setting, name, score) for name, score in PRESETS)))  # fmt: skip
    further = (("DML, EDS alone", "dml_eds"), ("DML, MMSP alone", "dml_mmsp"),
               ("DML, head on frozen features", "dml_frozen"), ("MC dropout", "mc_dropout"),
               ("Autoencoder", "autoencoder"), ("Maximised entropy", "max_entropy"),
               ("MaxLogit, mean over regions", "region:max_logit"))  # fmt: skip
    lines += [Line((label,), (score_row(setting, OWN, score),)) for label, score in further]
    lines.append(Line(("RAML, regions of meta channels",), (where_hidden(setting, PRINTED, META_REGIONS),)))
    lines.append(Line(("Meta channel mass (transductive)",), (where_hidden(setting, PRINTED, "meta_mass"),)))
    lines.append(Line(("Ignota's own",), (score_row(setting, OWN, "raml"),)))
    here = "; ".join(f"{where.title}: {where.text}" for where in sets)
    note = f"In percent, {_PROTOCOLS[protocol]}. {here}. RAML's rows are means over {len(seeds(setting))} seeds of D. "
    return Description("table-1", f"Table 1, {protocol.replace('dmlnet', 'per image')}", ("Method",), columns,
                       tuple(lines), note + TRANSDUCTIVE)  # fmt: skip


def anomaly_columns(setting: Setting, protocol: str, printed: bool = True) -> tuple[Column, ...]:
    """Three measures of each anomaly set; the paper has figures of the first two sets."""
    metrics: tuple[tuple[str, str, Better], ...] = (
        ("AUPR", "aupr", "higher"), ("AUROC", "auroc", "higher"), ("FPR95", "fpr95", "lower"),
    )  # fmt: skip
    columns = []
    for place, where in enumerate(setting.ground.anomaly_sets):
        for i, (title, name, better) in enumerate(metrics):
            published = 3 * place + i if printed and place < 2 else None
            heading = where.title if published is None else where.heading
            columns.append(Column(f"{heading} {title}", (protocol, name), better, place, published))
    return tuple(columns)


def score_row(setting: Setting, name: str, score: str) -> Ours:
    """A score that no seed changes, on every anomaly set."""
    missing = "" if obtainable(score) else "this version has no such score"
    sets = range(len(setting.ground.anomaly_sets))
    return Ours(name, tuple((AnomalyCell(place, score),) if not missing else () for place in sets), missing)


def seeded_scores(setting: Setting, name: str, score: str, **changes: object) -> Ours:
    """A score of RAML over the seeds of D."""
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


def where_hidden(setting: Setting, name: str, score: str) -> Ours:
    """A score of the branch `paper`, on the anomaly sets whose network has novel classes in its training images."""
    ground = setting.ground
    sets = enumerate(ground.anomaly_sets)
    return Ours(name, tuple((AnomalyCell(i, score),) if ground.hides(where.closed) else () for i, where in sets))


def seeded(setting: Setting, name: str, split: str, method: str, shots: int, **changes: object) -> Ours:
    """A method of RAML over the seeds of D, on the main branch."""
    variants = (Variant(seed, **changes) for seed in seeds(setting))  # type: ignore[arg-type]
    return Ours(name, (tuple(IncrementalCell(split, method, shots, None, v) for v in variants),))


def trained(setting: Setting, name: str, method: str, shots: int, **changes: object) -> Ours:
    """A method of RAML on 16+3 over several trainings of its branch."""
    variants = (Variant(branch_seed=seed, **changes) for seed in branch_seeds(setting))  # type: ignore[arg-type]
    return Ours(name, (tuple(IncrementalCell("16+3", method, shots, None, v) for v in variants),))


def once(name: str, split: str, method: str, shots: int, **changes: object) -> Ours:
    """A method that no seed changes, or a single run."""
    return Ours(name, ((IncrementalCell(split, method, shots, None, Variant(**changes)),),))  # type: ignore[arg-type]


def drawn(setting: Setting, name: str, split: str, method: str, shots: int) -> Ours:
    """A method over random draws of its shots; with each draw a branch has a D of its own."""
    on_branch = method in RULES
    return Ours(name, (tuple(
        IncrementalCell(split, method, shots, draw, Variant(draw if on_branch else 0), MIN_SHARE)
        for draw in seeds(setting)
    ),))  # fmt: skip


def both(setting: Setting, split: str, shots: int, **changes: object) -> tuple[Ours, ...]:
    """RAML as printed and as released."""
    return tuple(seeded(setting, name, split, method, shots, **changes) for name, method in PRESETS)


def all_three(setting: Setting, split: str, shots: int) -> tuple[Ours, ...]:
    """RAML as printed, as released and tuned."""
    return tuple(seeded(setting, name, split, method, shots) for name, method in SYSTEMS)


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
    lines.append(Line(("Baseline", "FT, frozen features"), (once(OWN, split, "ft_frozen", 5),)))
    for shots in (5, 1):
        group = f"{shots} shot"
        rows = (("PLM", once(OWN, split, "plm_all", shots)), ("NPM", once(OWN, split, "npm", shots)))
        lines += [Line((group, label), (ours,), f"{split} {group} {label}") for label, ours in rows]
        lines.append(Line((group, "RAML"), all_three(setting, split, shots), f"{split} {group} RAML"))
        lines.append(Line((group, "RAML, URS regions"), (seeded(setting, PRINTED, split, "raml_urs", shots),)))
        frozen = (("PLM", "plm_all_frozen"), ("NPM", "npm_frozen"))
        lines += [Line((group, f"{label}, frozen features"), (once(OWN, split, m, shots),)) for label, m in frozen]
        lines.append(Line((group, "Ignota's own"), (once(OWN, split, "raml", shots),)))
    note = (
        f"IoU in percent; {', '.join(names[len(parsed.known) :])} learnt from the images in which they are largest, as "
        f"in the paper; RAML's rows are means over {len(seeds(setting))} seeds of D. Random shots: Table G. "
    )
    return Description("table-2", f"Table 2: {ground.heading(split)}", ("Shots", "Method"), columns, tuple(lines),
                       note + schedule(setting))  # fmt: skip


def table_3(setting: Setting) -> tuple[Description, ...]:
    """The losses of meta channels, by both presets."""
    lines = []
    for count in range(len(LOSSES) + 1):
        on = LOSSES[:count]
        label = "".join(f"+L_{name} " for name in on).strip() or "Baseline (L_seg alone)"
        ours = tuple(trained(setting, name, method, 5, losses=losses_in(method, on)) for name, method in PRESETS)
        lines.append(Line((label,), ours, " ".join(on) or "Baseline"))
    note = (
        "mIoU in percent, 5 shots. As printed, the softmax makes all channels sum to one at every pixel, so L_rec = "
        "‖X ⊙ (ΣC - 1)‖² (Equation 9) is identically 0, and so is its gradient: the row +L_rec as printed is the "
        "branch of the row above it, and nothing was trained for it. The released code has sigmoids, which L_rec "
        "does change; it keeps its supervision of known channels in every row. "
    )
    return (_over_branches(setting, "table-3", "Table 3, losses of meta channels", "Losses", lines, note),)


def losses_in(method: str, on: tuple[str, ...]) -> tuple[str, ...]:
    """The losses by which a method's branch is trained: as printed L_rec alone is none."""
    return () if method == "raml_paper" and on == ("rec",) else on


def _over_branches(setting: Setting, key: str, title: str, head: str, lines: list[Line], note: str) -> Description:
    """A table of means over several trainings of each branch."""
    note += f"RAML's rows are means over {len(branch_seeds(setting))} trainings of each branch. "
    title = f"{title}: {setting.ground.heading('16+3')}"
    return Description(key, title, (head,), MIOU, tuple(lines), note + schedule(setting))


def table_e(setting: Setting) -> tuple[Description, ...]:
    """How regions are separated."""
    split, shots = "16+3", 1
    pixel = (
        ("PLM latest", "plm_latest", "PLMlatest"),
        ("PLM all", "plm_all", "PLMall"),
        ("NPM", "npm", "NPM"),
        ("PLM latest, frozen features", "plm_latest_frozen", None),
        ("PLM all, frozen features", "plm_all_frozen", None),
        ("NPM, frozen features", "npm_frozen", None),
    )
    lines = [Line((label,), (once(OWN, split, method, shots),), key) for label, method, key in pixel]
    urs = ((PRINTED, "raml_urs"), (RELEASED, "raml_urs_released"))
    lines.append(Line(("URS",), tuple(trained(setting, name, m, shots) for name, m in urs), "URS"))
    config, parsed = setting.config(split).meta_channels, setting.ground.parsed(split)
    released = meta_channel_count("released", config, parsed)
    for k in (2, 4, 6):
        usual = k == config.channels
        ours = [trained(setting, PRINTED, "raml_paper", shots, channels=None if usual else k)]
        ours += [trained(setting, RELEASED, "raml_released", shots)] if k == released else []
        ours += [trained(setting, TUNED, "raml_tuned", shots)] if usual else []
        lines.append(Line((f"MCA (K = {k})",), tuple(ours), f"MCA (K = {k})"))
    lines.append(Line(("Ignota's own",), (once(OWN, split, "raml", shots),)))
    note = (
        f"mIoU in percent, 1 shot. K = 2 is smaller than the {len(parsed.novel)} classes taught. The released code has "
        f"no choice of K: here its K is {released}. "
    )
    return (_over_branches(setting, "table-e", "Table E, region separation", "Regions", lines, note),)


def table_f(setting: Setting) -> tuple[Description, ...]:
    """The threshold of cosine similarity."""
    usual = RULES["raml_paper"].theta
    lines = [
        Line(
            (f"{shots} shot", f"{theta:g}"),
            both(setting, "16+3", shots, theta=None if theta == usual else theta),
            f"{shots} shot {theta:g}",
        )
        for shots in (5, 1)
        for theta in THETAS
    ]
    note = f"mIoU in percent, means over {len(seeds(setting))} seeds of D. {schedule(setting)}"
    title = f"Table F, θ_novel: {setting.ground.heading('16+3')}"
    return (Description("table-f", title, ("Shots", "θ_novel"), MIOU, tuple(lines), note),)


def table_g(setting: Setting) -> tuple[Description, ...]:
    """Which examples are shown: random draws."""
    methods = (*SYSTEMS, ("here, Ignota's own", "raml"), ("here, NPM", "npm"), ("here, PLM", "plm_all"),
               ("here, NPM on frozen features", "npm_frozen"))  # fmt: skip
    lines = []
    for split in ("16+1", "16+3"):
        for shots in (5, 1):
            ours = tuple(drawn(setting, name, split, method, shots) for name, method in methods)
            lines.append(Line((setting.ground.heading(split), f"{shots} shot"), ours, f"{split} {shots} shot"))
    note = (
        f"mIoU in percent, mean ± standard deviation over {len(seeds(setting))} random draws of the shots from the "
        f"training images that show the class on {MIN_SHARE:.1%} of their pixels or more; with each draw RAML has a D "
        f"of another seed. The paper's figures are RAML's. {schedule(setting)}"
    )
    return (Description("table-g", "Table G, novel selection", ("Setting", "Shots"), MIOU, tuple(lines), note),)


def ratios(setting: Setting) -> tuple[Description, ...]:
    """Figure 7 as numbers: ever more classes are unknown."""
    lines = []
    for split in RATIOS:
        label = setting.ground.shown(split)
        lines.append(Line((label, "NPM"), (once(OWN, split, "npm", 5),)))
        lines.append(Line((label, "RAML"), all_three(setting, split, 5)))
        lines.append(Line((label, "Ignota's own"), (once(OWN, split, "raml", 5),)))
    note = (
        f"mIoU in percent, 5 shots; the settings stand for {', '.join(RATIOS)} of the paper, which prints curves "
        f"without figures. {schedule(setting)}"
    )
    title = f"Figure 7, share of unknown classes: {setting.ground.title}"
    return (Description("figure-7", title, ("Setting", "Method"), MIOU, tuple(lines), note),)


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
    learnt = [
        Line((label,), both(setting, "16+3", 5, gated=gated))
        for label, gated in (("every candidate region", False), ("gated by the anomaly map (Figure 2)", True))
    ]
    shown = once(PRINTED, "16+3", "raml_paper", 5, shown=5)
    learnt.append(Line(("shots in stage 2 too (Appendix C.1), one run",), (shown,)))
    return (
        Description("choices", "The paper's choices: anomalies", ("Choice",), columns, seen,
                    f"RAML as printed, in percent, {_PROTOCOLS['dmlnet']}."),
        Description("choices", f"The paper's choices: {setting.ground.heading('16+3')}", ("Choice",), MIOU,
                    tuple(learnt), f"mIoU in percent, 5 shots. {schedule(setting)}"),
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
