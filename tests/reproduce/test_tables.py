"""Layout: the paper's rows and columns, its figures above ours, means with spread, reasons for what is missing."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ignota.reports.tables import to_csv
from ignota.reproduce.cells import AnomalyCell, Cell, IncrementalCell
from ignota.reproduce.claims import Claim, claims, interval_of, verdict
from ignota.reproduce.description import Column, Description, Line, Ours
from ignota.reproduce.fidelity import FIDELITIES
from ignota.reproduce.grounds import GROUNDS, Setting
from ignota.reproduce.rendering import example_table, number_table, shown_table
from ignota.reproduce.tables import TABLES, THETAS
from ignota.scores.fitted_scores import FITTED_SCORES

Invented = Callable[[Cell], Mapping[str, Any]]


def description(setting: Setting, name: str, number: int = 0) -> Description:
    return TABLES[name](setting)[number]


def test_table_2_has_the_papers_columns_and_rows(setting: Setting, invented: Invented) -> None:
    table = shown_table(description(setting, "table-2", 1), invented)
    assert table.columns[:5] == ("Shots", "Method", "by", "road", "sidewalk")
    assert table.columns[-7:] == ("car", "truck", "bus", "mIoU all", "mIoU novel", "mIoU old", "mIoU harm")
    assert len(table.columns) == 3 + 23
    papers = [row for row in table.rows if row[2] == "paper"]
    methods = ["All 19", "First 16", "FT", "PLM", "NPM", "RAML", "PLM", "NPM", "RAML"]
    assert [row[1] for row in papers] == methods
    assert papers[5][3:] == (
        97.3, 82.6, 91.1, 50.6, 57.2, 59.1, 65.5, 74.1, 91.7, 64.0, 94.7, 79.0, 58.9, 3.7, 52.2, 72.3, 79.3, 9.7, 26.0,
        63.6, 38.4, 68.4, 49.1,
    )  # fmt: skip


def test_the_16_plus_1_half_leaves_out_truck_and_bus(setting: Setting, invented: Invented) -> None:
    table = shown_table(description(setting, "table-2"), invented)
    assert table.columns[-5:] == ("car", "mIoU all", "mIoU novel", "mIoU old", "mIoU harm")
    raml = next(row for row in table.rows if row[:3] == ("5 shot", "RAML", "paper"))
    assert raml[-5:] == (85.2, 70.6, 85.2, 69.7, 76.7)


def test_means_and_spreads_over_seeds(setting: Setting, invented: Invented) -> None:
    one = description(setting, "table-3")
    shown = shown_table(one, invented)
    assert shown.rows[0][1:] == ("paper", 49.1, 1.5, 58.0, 2.9)
    assert shown.rows[1][1:3] == ("here, as printed", "50.5 ± 0.7")  # 50 and 51
    rows = list(csv.DictReader(io.StringIO(to_csv(number_table(one, invented)))))
    assert rows[1]["runs"] == "2"
    assert float(rows[1]["mIoU harm"]) == pytest.approx(50.5)
    assert float(rows[1]["mIoU harm std"]) == pytest.approx(0.5**0.5)
    assert rows[0]["mIoU harm std"] == ""


def test_table_g_draws_as_often_as_there_are_seeds_and_shows_the_papers_spread(
    setting: Setting, invented: Invented
) -> None:
    one = description(setting, "table-g")
    groups = [group for line in one.lines for ours in line.ours for group in ours.groups]
    assert {len({cell.draw for cell in group}) for group in groups} == {setting.fidelity.seeds}  # type: ignore[union-attr]
    shown = shown_table(one, invented)
    setting_name = "drawn streets 16+1 (paper: Cityscapes 16+1)"
    assert shown.rows[0] == (setting_name, "5 shot", "paper", "70.5 ± 0.3", "85.5 ± 0.3", "69.6 ± 0.3", "76.8 ± 0.3")


def test_raml_has_three_rows_of_different_names_in_tables_2_e_and_g(setting: Setting, invented: Invented) -> None:
    three = {"here, as printed", "here, as released", "here, tuned"}
    for name, label in (("table-2", "RAML"), ("table-e", "MCA (K = 4)"), ("table-g", "5 shot")):
        table = shown_table(description(setting, name), invented)
        rows = [row for row in table.rows if label in row[:2]]
        assert three <= {str(cell) for row in rows for cell in row[:3]}, name
    methods = {cell.method: line.ours for line in description(setting, "table-e").lines for ours in line.ours
               for group in ours.groups for cell in group if isinstance(cell, IncrementalCell)}  # fmt: skip
    assert {"npm", "npm_frozen", "plm_all", "plm_all_frozen", "raml_tuned"} <= set(methods)


def test_the_printed_reconstruction_loss_asks_for_no_training_of_its_own(setting: Setting) -> None:
    one = description(setting, "table-3")
    printed, released = (
        [next(ours.groups for ours in line.ours if ours.name.endswith(name)) for line in one.lines]
        for name in ("printed", "released")
    )
    assert printed[0] == printed[1] and printed[1] != printed[2] != printed[3]
    assert len(set(released)) == 4
    assert "identically 0" in one.note
    full = dataclasses.replace(setting, ground=dataclasses.replace(setting.ground, without=()))
    assert not [c for c in claims(full) if "L_rec" in c.comparison and "as printed" in c.comparison]
    assert [c for c in claims(full) if "L_rec" in c.comparison and "as released" in c.comparison]


def test_headings_name_the_data_that_are_measured() -> None:
    setting = Setting.of("camvid", "full", lambda preset, changes: _camvid(preset), root=Path())
    for name in TABLES:
        for one in TABLES[name](setting):
            heads = [column.title for column in one.columns]
            assert not [head for head in heads if head.startswith(("Lost and Found", "Road Anomaly"))], name
            if name not in ("table-1", "choices"):
                assert "CamVid" in one.title or all("CamVid" in line.labels[0] for line in one.lines), name
    per_image, pooled = TABLES["table-1"](setting)
    assert per_image.columns[0].title == "RoadObstacle21 (paper: Lost and Found) AUPR"
    assert pooled.columns[0].title == "RoadObstacle21 AUPR"


def test_published_figures_stand_beside_the_same_protocol_alone(setting: Setting, invented: Invented) -> None:
    per_image, pooled = (shown_table(one, invented) for one in TABLES["table-1"](setting))
    assert "paper" in {row[1] for row in per_image.rows} and "paper" not in {row[1] for row in pooled.rows}


def test_the_mass_of_meta_channels_is_measured_where_novel_classes_hide(invented: Invented) -> None:
    setting = Setting.of("camvid", "full", lambda preset, changes: _camvid(preset), root=Path())
    table = shown_table(TABLES["table-1"](setting)[0], invented)
    (row,) = [row for row in table.rows if row[0] == "Meta channel mass (transductive)"]
    assert row[2:] == (*[None] * 6, 50.0, 50.0, 50.0)  # both networks of the first two sets know all classes
    assert "transductive" in table.note


def test_tables_name_their_schedule(setting: Setting) -> None:
    config = setting.config("16+3")
    text = f"stage 2 {config.meta_channels.steps} and D {config.region_embedder.steps} of 10,000"
    for name in ("table-2", "table-3", "table-e", "table-f", "table-g", "figure-7"):
        assert text in description(setting, name).note, name


def test_what_equals_the_configuration_is_the_same_cell(setting: Setting) -> None:
    """K = 4, θ = 0.8 and all losses are RAML itself: Tables 2, 3, E and F share those cells."""
    cells = {name: {c for d in TABLES[name](setting) for c in d.cells()} for name in ("table-2", "table-3", "table-e")}
    thresholds = {cell for one in TABLES["table-f"](setting) for cell in one.cells()}
    assert len(cells["table-2"] & thresholds) == 2 * 2 * 2  # presets, shots, seeds
    assert len(thresholds) == 2 * 2 * 2 * len(THETAS)
    assert cells["table-2"] & cells["table-3"]
    assert cells["table-2"] & cells["table-e"]


def test_scores_that_are_not_there_have_a_dash_and_a_reason(
    setting: Setting, invented: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {name: make for name, make in FITTED_SCORES.items() if name != "dml_frozen"}
    monkeypatch.setattr("ignota.reproduce.measuring.FITTED_SCORES", others)
    one = description(setting, "table-1")
    table = shown_table(one, invented)
    dml = next(row for row in table.rows if row[:2] == ("DML, head on frozen features", "here"))
    assert set(dml[2:]) == {None}
    assert "this version has no such score" in table.note
    monkeypatch.undo()
    assert AnomalyCell(0, "dml_frozen") in set(description(setting, "table-1").cells())


def test_cells_that_are_not_measured_say_so(setting: Setting) -> None:
    table = shown_table(description(setting, "table-3"), lambda cell: None)
    assert "not measured yet" in table.note
    table = shown_table(description(setting, "table-3"), lambda cell: {"reason": "too few buses"})
    assert "too few buses" in table.note


def test_camvid_shows_only_the_published_means() -> None:
    ground = GROUNDS["camvid"]
    setting = Setting.of("camvid", "quick", lambda preset, changes: _camvid(preset), root=Path())
    table = shown_table(TABLES["table-2"](setting)[1], lambda cell: None)
    raml = next(row for row in table.rows if row[:3] == ("5 shot", "RAML", "paper"))
    assert set(raml[3:-4]) == {None}
    assert raml[-4:] == (63.6, 38.4, 68.4, 49.1)
    assert ground.trained_as("16+1") == "16+3"


def test_table_d_puts_the_papers_regions_first() -> None:
    example = {
        "theta": 0.8, "key": "street",
        "regions": [{"letter": "(e)", "region": 1, "output": "bus", "truth": "bus",
                     "similarity": {"car": 0.1, "truck": 0.2, "bus": 0.95}}],
    }  # fmt: skip
    rows = example_table(example).rows
    assert rows[1] == ("(f)", "paper", "bus", None, "0.87", "0.75", "0.93")
    assert rows[5] == ("(e)", "here", "bus", "bus", "0.10", "0.20", "0.95")
    assert "No figures of ours: no region" in example_table({"theta": 0.8, "reason": "no region"}).note


def word(better: Sequence[float], worse: Sequence[float]) -> str:
    """The verdict over figures in 0..1."""
    values = {AnomalyCell(i, side): value for side, one in (("a", better), ("b", worse)) for i, value in enumerate(one)}
    first, second = (tuple(cell for cell in values if cell.score == side) for side in "ab")  # type: ignore[union-attr]
    return verdict(Claim("", "", first, second, ("aupr",), ""), lambda cell: {"aupr": values[cell]}).word  # type: ignore[index]


def test_verdicts_need_an_interval_and_an_effect_of_a_point() -> None:
    assert word((0.50, 0.52, 0.51), (0.40, 0.41, 0.42)) == "holds"
    assert word((0.40, 0.41, 0.42), (0.50, 0.52, 0.51)) == "does not hold"
    assert word((0.50, 0.52, 0.40), (0.47, 0.55, 0.41)) == "undecided"
    assert word((0.50, 0.52, 0.51), (0.45,)) == "holds"  # a single one stands for all
    assert word((0.505, 0.5051, 0.5052), (0.50, 0.50, 0.50)) == "does not hold"  # sure, but half a point
    assert word((0.50, 0.50), (0.50, 0.50)) == "does not hold"
    assert word((0.60,), (0.40,)) == "undecided"  # no interval
    one = Claim("", "", (AnomalyCell(0, "a"),), (), ("aupr",), "")
    assert verdict(one, lambda cell: {"aupr": 0.5}).word == "not measured"
    assert verdict(dataclasses.replace(one, worse=(AnomalyCell(0, "b"),)), lambda cell: None).word == "not measured"


def test_the_interval_is_student_s() -> None:
    low, high = interval_of([1.0, 2.0, 3.0])  # type: ignore[misc]
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert interval_of([1.0]) is None


def test_pairs_differ_by_seeds_and_a_single_one_counts_for_all(setting: Setting) -> None:
    full = dataclasses.replace(setting, ground=dataclasses.replace(setting.ground, without=()))
    for claim in claims(full):
        assert max(len(claim.better), len(claim.worse)) >= 2, claim.comparison
        assert len({len(claim.better), len(claim.worse)} - {1}) == 1, claim.comparison


def test_every_claim_asks_only_cells_of_its_table(setting: Setting) -> None:
    full = dataclasses.replace(setting, ground=dataclasses.replace(setting.ground, without=()))
    asked = {name: {cell for one in TABLES[name](full) for cell in one.cells()} for name in TABLES}
    for claim in claims(full):
        assert set(claim.better) | set(claim.worse) <= asked[claim.table], claim.comparison
    assert {claim.table for claim in claims(full)} == {"table-1", "table-3", "table-e", "table-g"}
    assert {claim.table for claim in claims(setting)} == {"table-1", "table-g"}  # drawn streets leave two tables out
    assert FIDELITIES["quick"].smoke and not FIDELITIES["full"].smoke


def test_a_column_of_another_group_reads_its_own_cells() -> None:
    first, second = AnomalyCell(0, "a"), AnomalyCell(1, "a")
    one = Description(
        "table-1", "t", ("m",), tuple(Column(str(g), ("x",), group=g) for g in (0, 1)),
        (Line(("a",), (Ours("here", ((first,), (second,))),)),),
    )  # fmt: skip
    table = shown_table(one, lambda cell: {"x": 0.1 if cell == first else 0.2})
    assert table.rows == (("a", "here", 10.0, 20.0),)


def _camvid(preset: str) -> Any:
    from ignota.training.settings import configuration, read_preset

    return configuration(read_preset(preset))
