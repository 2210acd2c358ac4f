"""The programs that measure run on a tiny world and leave their figures as JSON."""

from __future__ import annotations

import dataclasses
import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from experiments import (
    ablation,
    anomaly_parts,
    calibration,
    claims,
    diagnosis,
    figures,
    marks,
    measure,
    region_scales,
    render,
    ship,
    taught_classes,
)
from experiments.pages import results
from PIL import Image

from ignota.cli import find_command
from ignota.cli.parsing import Parser
from ignota.evaluation import evaluation
from ignota.metrics.bootstrap import drawn_weights, image_histogram
from ignota.metrics.components import ComponentMetrics, Sizes
from ignota.storage import bundle
from ignota.structures import RegionSet, Sample
from ignota.synthetic.streets import SyntheticStreets
from ignota.training.configuration import ExperimentConfig

ROOT = Path(__file__).resolve().parents[1]


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


@pytest.mark.slow
def test_marks_are_measured_on_labelled_images(trained: Path, tmp_path: Path) -> None:
    label = np.full((48, 96), 3, np.uint8)
    label[10:30, 20:50], label[35:45, 70:80] = 8, 9
    for folder in ("train", "trainannot"):
        (tmp_path / "camvid" / folder).mkdir(parents=True)
    Image.fromarray(SyntheticStreets("anomaly", 1, (48, 96), 3)[0].image).save(tmp_path / "camvid" / "train" / "a.jpg")
    Image.fromarray(label).save(tmp_path / "camvid" / "trainannot" / "a.png")
    words = [str(trained), str(tmp_path / "camvid"), "--recipe", "auto", "--out", str(tmp_path / "marks.json")]
    marks.main(words)
    (rows,) = read(tmp_path / "marks.json").values()
    assert rows.pop("objects") == {"car": "1", "pedestrian": "1"}
    ways = ("box", *(f"{n} clicks" for n in range(1, marks.CLICKS + 1)))
    assert set(rows) == {f"{way}{when}" for way in ways for when in (", before", "")}
    assert all(0 <= value <= 1 for row in rows.values() for value in row.values())


@pytest.mark.long
def test_region_scales_and_taught_classes(run: Path, tmp_path: Path) -> None:
    region_scales.main([str(run), str(tmp_path), "--images", "1", "--out", str(tmp_path / "scales.json")])
    assert set(read(tmp_path / "scales.json")["scales"]) >= {"30", "30, 200"}
    words = [str(run), str(tmp_path), "--shots", "1", "--images", "2", "--out", str(tmp_path / "classes.json")]
    taught_classes.main(words)
    (rows,) = read(tmp_path / "classes.json").values()
    assert set(rows["without counter-examples"]) == set(taught_classes.MARGINS)


def halves_of_a_toy() -> tuple[list[calibration.Seen], list[calibration.Seen]]:
    """Six images with an anomaly each, at a threshold and at a better one."""
    rng, seen = np.random.default_rng(3), ([], [])
    label = np.zeros((20, 30), np.uint8)
    label[5:12, 5:15] = 1
    label[0] = 255
    for _ in range(6):
        score = (label == 1) * 2.0 + rng.normal(0, 1, label.shape)
        image = calibration.Scored(score.astype(np.float32), label, image_histogram(score.astype(np.float32), label))
        seen[0].append(image.at(0.5, Sizes(3, 3)))
        seen[1].append(image.at(1.5, Sizes(3, 3)))
    return seen


def test_weighted_figures_are_those_of_images_counted_again_and_again() -> None:
    seen, _ = halves_of_a_toy()
    weights = np.array([[1, 1, 1, 1, 1, 1], [3, 0, 2, 0, 0, 1]])
    found = calibration.figures(seen, weights)
    for draw, counts in enumerate(weights):
        components = ComponentMetrics(Sizes(3, 3))
        repeated = [image for image, count in zip(seen, counts, strict=True) for _ in range(count)]
        for image in repeated:
            components.merge(image.components)
        assert found["f1"][draw] == pytest.approx(components.compute()["f1"])
        rate = sum(image.false for image in repeated) / sum(image.normal for image in repeated)
        assert found["fpr"][draw] == pytest.approx(rate)
    assert 0 < found["fpr"][0] < 1 and seen[0].normal == 19 * 30 - 70


def test_the_gain_over_images_is_a_mean_over_halves_of_drawn_images() -> None:
    fixed, after = halves_of_a_toy()
    sides = [np.array([0, 2, 4]), np.array([1, 2, 5])]
    halves = [
        calibration.Half(side, [fixed[i] for i in side], [fixed[i] for i in side], [after[i] for i in side], 0.0)
        for side in sides
    ]
    found = calibration.gain_over_images(halves, 6, "fpr")
    each = []
    for counts in drawn_weights(6, calibration.RESAMPLED, 0):
        gains = []
        for side in sides:
            drawn = [i for i in side for _ in range(counts[i])]
            if drawn:
                before = sum(fixed[i].false for i in drawn) / sum(fixed[i].normal for i in drawn)
                gains.append(sum(after[i].false for i in drawn) / sum(after[i].normal for i in drawn) - before)
        if gains:
            each.append(np.mean(gains))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(each, (0.025, 0.975))))
    assert found.mean == pytest.approx(np.mean(each)) and found.high < 0


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


def test_where_anomalous_pixels_lie_among_regions() -> None:
    ids = np.array([[1, 1, 0, 2], [1, 1, 0, 2]], np.int32)
    label = np.array([[0, 1, 1, 1], [0, 0, 0, 1]], np.uint8)
    found = anomaly_parts.geometry(RegionSet(ids, 2), label)
    assert found == {"anomalous pixels in no region": 0.25, "in regions mainly anomalous": 0.5, "regions an image": 2.0}
    true = anomaly_parts.with_objects(RegionSet(ids, 2), label)
    assert true.ids.tolist() == [[1, 2, 2, 2], [1, 1, 0, 2]] and true.count == 2


def test_claims_follow_the_world_s_own_rule(trained: Path) -> None:
    world, image = bundle.load(trained), np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8)
    mask = np.zeros((48, 96), bool)
    mask[10:40, 20:60] = True
    encoding, tables = claims.read(world, image)
    own = evaluation.untaught_copy(world)
    own.learn("x", [(encoding, mask)], force=True)
    found = claims.assigned(own, tables, True, own.known.recipe.lowest_similarity)
    assert torch.equal(found, own.taught(tables).novel == 0) and found.any()
    assert not claims.assigned(own, tables, True, 1.01).any()
    counts = claims.Counts()
    counts.update("a", np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool), np.array([1, 0, 0, 1], bool))
    assert counts.iou("a") == pytest.approx(1 / 3) and counts.claimed("a") == 0.5
    shown = [claims.Seen(encoding, tables, {"car": np.full((4, 4), i < 6)}) for i in range(7)]
    assert [(title, len(taught), len(others)) for title, taught, others in claims.lessons(shown, "car")] == [
        *[("own", 1, 1), ("one", 1, 3)] * 6, ("five", 5, 1)
    ]  # fmt: skip


def test_parts_of_the_anomaly_stage(trained: Path) -> None:
    world, image = bundle.load(trained), np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8)
    label = np.zeros((48, 96), np.uint8)
    label[20:40, 30:60] = 1

    class One:
        name, taxonomy = "one", None

        def __len__(self) -> int:
            return 1

        def __getitem__(self, _: int) -> Sample:
            return Sample("a", image, label)

    rows, regions = anomaly_parts.measured(world, One(), (50.0, 0.7), None)  # type: ignore[arg-type]
    encoding = world.encode(image)
    maps = dict(anomaly_parts.variants(world, encoding, label, (50.0, 0.7)))
    own = world.scores(encoding, ["raml_paper", "max_logit"])
    assert torch.equal(maps[anomaly_parts.PRINTED], own["raml_paper"])
    assert torch.equal(maps[anomaly_parts.LOGIT], own["max_logit"])
    assert set(rows) == set(maps) and rows[anomaly_parts.LOGIT]["times MaxLogit"] == "1.00"
    assert len(regions) == 4


@pytest.mark.parametrize("file", sorted(
    file.relative_to(ROOT) for folder in ("experiments", "benchmarks") for file in (ROOT / folder).rglob("*.py")
), ids=str)  # fmt: skip
def test_every_program_can_be_imported(file: Path) -> None:
    import_module(".".join(file.with_suffix("").parts))


def test_cards_of_shipped_worlds_show_what_was_measured() -> None:
    for name in ("camvid-8+3", "camvid-11"):
        document = json.loads((ship.WORLDS / name / "world.json").read_text())
        figures = results.on_world(ROOT / "experiments/measured/results", name)
        text = (ship.WORLDS / name / "README.md").read_text()
        assert text.endswith(figures.rstrip() + "\n") and figures.count("| `raml` |") == (4 if "8" in name else 0)
        assert ship.card(name, document, 0, "").partition(" MB")[0].rpartition(" ")[0] in text
