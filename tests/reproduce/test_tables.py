"""Layout: the paper's rows and columns, its figures above ours, means with spread, reasons for what is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ignota.anomaly.fitted_scores import FITTED_SCORES
from ignota.reports.tables import to_csv
from ignota.reproduce.cells import AnomalyCell, Cell
from ignota.reproduce.claims import Claim, claims, verdict
from ignota.reproduce.description import Column, Description, Line, Ours
from ignota.reproduce.fidelity import FIDELITIES
from ignota.reproduce.grounds import GROUNDS, Setting
from ignota.reproduce.rendering import example_table, number_table, shown_table
from ignota.reproduce.tables import DRAWS, TABLES, THETAS

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


def test_table_g_draws_five_times_and_shows_the_papers_spread(setting: Setting, invented: Invented) -> None:
    one = description(setting, "table-g")
    assert {len(group) for line in one.lines for ours in line.ours for group in ours.groups} == {DRAWS}
    shown = shown_table(one, invented)
    assert shown.rows[0] == ("16+1", "5 shot", "paper", "70.5 ± 0.3", "85.5 ± 0.3", "69.6 ± 0.3", "76.8 ± 0.3")


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
    monkeypatch.delitem(FITTED_SCORES, "dml_frozen", raising=False)
    one = description(setting, "table-1")
    table = shown_table(one, invented)
    dml = next(row for row in table.rows if row[:2] == ("DML, head on frozen features", "here"))
    assert set(dml[2:]) == {None}
    assert "this version has no such score" in table.note
    monkeypatch.setitem(FITTED_SCORES, "dml_frozen", lambda coreset, neighbours: None)  # type: ignore[arg-type, return-value]
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
        "theta": 0.8, "key": "street", "from": "meta channels",
        "regions": [{"letter": "(e)", "region": 1, "output": "bus", "truth": "bus",
                     "similarity": {"car": 0.1, "truck": 0.2, "bus": 0.95}}],
    }  # fmt: skip
    rows = example_table(example).rows
    assert rows[1] == ("(f)", "paper", "bus", None, "0.87", "0.75", "0.93")
    assert rows[5] == ("(e)", "here", "bus", "bus", "0.10", "0.20", "0.95")


def test_verdicts() -> None:
    cells = tuple(AnomalyCell(0, name) for name in "abcdef")
    values = dict(zip(cells, (0.50, 0.52, 0.40, 0.41, 0.47, 0.55), strict=True))

    def word(better: tuple[Cell, ...], worse: tuple[Cell, ...]) -> str:
        claim = Claim("", "", better, worse, ("aupr",))
        return verdict(claim, lambda cell: {"aupr": values[cell]} if cell in values else None).word  # type: ignore[index]

    a, b, c, d, e, f = cells
    assert word((a, b), (c, d)) == "holds"
    assert word((c, d), (a, b)) == "does not hold"
    assert word((a, b), (e, f)) == "undecided"
    assert word((a,), (c,)) == "holds"
    assert word((a,), (a,)) == "undecided"
    assert word((a,), (AnomalyCell(0, "g"),)) == "not measured"
    assert word((a,), ()) == "not measured"


def test_every_claim_asks_only_cells_of_the_tables(setting: Setting) -> None:
    asked = {cell for name in TABLES for one in TABLES[name](setting) for cell in one.cells()}
    for claim in claims(setting):
        assert set(claim.better) | set(claim.worse) <= asked, claim.comparison
    assert {"quick", "full"} == set(FIDELITIES)


def test_a_column_of_another_group_reads_its_own_cells() -> None:
    first, second = AnomalyCell(0, "a"), AnomalyCell(1, "a")
    one = Description(
        "table-1", "t", ("m",), tuple(Column(str(g), ("x",), group=g) for g in (0, 1)),
        (Line(("a",), (Ours("here", ((first,), (second,))),)),),
    )  # fmt: skip
    table = shown_table(one, lambda cell: {"x": 0.1 if cell == first else 0.2})
    assert table.rows == (("a", "here", 10.0, 20.0),)


def _camvid(preset: str) -> Any:
    from jsonargparse import Namespace

    from ignota.cli.settings import configuration, read_preset

    return configuration(read_preset(preset), Namespace())
