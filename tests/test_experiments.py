"""The programs that measure run on a tiny world and leave their figures as JSON."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from experiments import ablation, diagnosis, figures, measure, region_scales, render, taught_classes

from ignota.cli import find_command
from ignota.cli.parsing import Parser
from ignota.training.configuration import ExperimentConfig


@pytest.fixture
def run(trained: Path, tiny: ExperimentConfig, tmp_path: Path) -> Path:
    """The tiny world's run with its configuration."""
    folder = Path(shutil.copytree(trained.parent, tmp_path / "run"))
    (folder / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(tiny)))))
    return folder


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_figures_are_fractions_and_the_table_percent(tmp_path: Path) -> None:
    tables = {"two rows": {"a": {"x": 0.5, "y": (0.25, 0.01)}, "b": {"z": "text"}}}
    text = figures.save_tables(tmp_path / "new" / "f.json", tables)
    assert "| a | 50.0 | 25.0 ± 1.0 |  |\n| b |  |  | text |\n" in text
    assert read(tmp_path / "new" / "f.json") == {"two rows": {"a": {"x": 0.5, "y": [0.25, 0.01]}, "b": {"z": "text"}}}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["f.json"]


@pytest.mark.parametrize("page", [name for name in render.PAGES if measure.commands(name)])
def test_the_commands_of_a_page_are_accepted(page: str) -> None:
    targets = []
    for line in measure.commands(page):
        words, target = measure.made(line, Path("figures"))
        command, rest = find_command(words[1:])
        Parser(command).parse(rest)
        targets.append(target)
    assert len(set(targets)) == len(targets) > 0


def test_measure_runs_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(measure, "commands", lambda _: ("ignota a --json one.json", "ignota b --json two.json"))
    monkeypatch.setattr(measure.subprocess, "run", lambda words, check: called.append(words[2:]))
    (tmp_path / "one.json").write_text("{}")
    measure.measure("page", tmp_path)
    assert called == [["ignota", "b", "--json", str(tmp_path / "two.json")]]


@pytest.mark.long
def test_region_scales_and_taught_classes(run: Path, tmp_path: Path) -> None:
    region_scales.main([str(run), str(tmp_path), "--images", "1", "--out", str(tmp_path / "scales.json")])
    assert set(read(tmp_path / "scales.json")["scales"]) >= {"30", "30, 200"}
    words = [str(run), str(tmp_path), "--shots", "1", "--images", "2", "--out", str(tmp_path / "classes.json")]
    taught_classes.main(words)
    (rows,) = read(tmp_path / "classes.json").values()
    assert set(rows["without counter-examples"]) == set(taught_classes.MARGINS)


@pytest.mark.long
def test_ablation_keeps_its_seeds(run: Path, tmp_path: Path) -> None:
    words = [
        str(run),
        str(tmp_path),
        "--seeds",
        "1",
        "--images",
        "1",
        "--shots",
        "1",
        "--out",
        str(tmp_path / "a.json"),
    ]
    text = ablation.main(words)
    (rows,) = read(tmp_path / "a.json").values()
    assert {"**whole recipe**", "no features", "frozen encoder alone"} <= set(rows)
    (kept,) = (run / "ablation").glob("seed-0-*.json")
    kept.write_text(kept.read_text().replace("no features", "other features"))
    assert ablation.main(words) == text.replace("no features", "other features")


@pytest.mark.long
def test_diagnosis(trained: Path, streets: Path, tmp_path: Path) -> None:
    diagnosis.main([str(trained), "cityscapes", str(streets), "--shots", "1", "--out", str(tmp_path / "d.json")])
    anomalies, taught = read(tmp_path / "d.json").values()
    assert set(anomalies["**raml**"]) == {"AUPR", "AUROC", "FPR95"}
    assert {"harmonic", "novel", "old"} <= set(taught["**raml**"])
