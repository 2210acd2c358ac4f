import csv
import io
import math

import pytest

from ignota.reports.tables import (
    Table,
    anomaly_tables,
    best_cells,
    format_cell,
    incremental_tables,
    to_csv,
    to_markdown,
)
from ignota.structures import InputError


def anomaly_results() -> dict:
    def reading(aupr, auroc, fpr95, **more):
        return {"aupr": aupr, "auroc": auroc, "fpr95": fpr95} | more

    return {
        "dataset": "road_anomaly",
        "images": 60,
        "scores": {
            "msp": {"pooled": reading(0.19, 0.7, 0.61), "per_image": reading(0.2, 0.72, 0.5, images=58)},
            "raml": {"pooled": reading(0.4249, 0.86, 0.32), "per_image": reading(None, None, None, images=58)},
        },
    }


def incremental_results() -> dict:
    def method(novel):
        return {
            "miou": {"all": 0.636, "novel": novel, "old": 0.684, "harmonic": 0.491},
            "iou": {"road": 0.973, "train": None, "car": novel},
            "old_before": 0.72,
            "old_after": 0.684,
            "stolen": {"car": {"sky": 7, "train": 0, "road": 1234567}},
        }

    return method(0.384) | {"methods": {"npm": method(0.261)}}


def test_cells_read_as_people_expect():
    assert format_cell(63.64) == "63.6"
    assert format_cell(1234567) == "1\u202f234\u202f567"
    assert format_cell(None) == format_cell(math.nan) == "–"
    assert format_cell("car") == "car"


def test_anomaly_results_become_a_table_for_each_protocol():
    pooled, per_image = anomaly_tables(anomaly_results())
    assert pooled.columns == ("score", "AUPR ↑", "AUROC ↑", "FPR95 ↓")
    assert pooled.rows[1] == ("raml", pytest.approx(42.49), 86.0, 32.0)
    assert per_image.rows[1] == ("raml", None, None, None)
    assert "58 images of 60" in per_image.note and "60 images on one scale" in pooled.note
    assert best_cells(pooled) == {(1, 1), (1, 2), (1, 3)}


def test_dmlnet_has_a_table_of_its_own():
    results = anomaly_results()
    for found in results["scores"].values():
        found["dmlnet"] = {"aupr": 0.5, "auroc": 0.9, "fpr95": 0.1, "images": 58}
    assert [table.title for table in anomaly_tables(results)][2] == "Anomaly segmentation, DMLNet's protocol"


def test_incremental_results_become_summary_classes_and_theft():
    summary, classes, stolen = incremental_tables(incremental_results())
    assert [row[0] for row in summary.rows] == ["raml", "npm"]
    assert [format_cell(cell) for cell in summary.rows[0]] == ["raml", "63.6", "38.4", "68.4", "49.1", "72.0", "68.4"]
    assert classes.columns == ("class", "raml", "npm")
    assert [row[0] for row in classes.rows] == ["road", "train", "car (novel)"]
    assert classes.rows[1] == ("train", None, None)
    assert stolen.rows == (("road", 1234567), ("sky", 7))


def test_a_world_that_stole_nothing_has_no_table_of_theft():
    results = incremental_results() | {"stolen": {"car": {"road": 0}}}
    assert len(incremental_tables(results)) == 2


@pytest.mark.parametrize("read", [anomaly_tables, incremental_tables])
def test_other_files_are_refused_with_the_command_that_writes_them(read):
    with pytest.raises(InputError, match=r"ignota evaluate .* --json"):
        read({"foo": 1})


def test_best_is_by_column_and_shared_by_equals():
    table = Table(
        "t", ("n", "a", "b"), (("x", 1.04, 2.0), ("y", 1.0, None), ("z", 0.5, 9.0)), "", ("", "higher", "lower")
    )
    assert best_cells(table) == {(0, 1), (1, 1), (0, 2)}
    assert best_cells(Table("t", ("a",), ((1.0,),), "", ("higher",))) == frozenset()
    assert best_cells(Table("t", ("a",), ((1.0,), (2.0,)))) == frozenset()


def test_markdown_is_a_table_with_bold_best_and_flush_numbers():
    assert to_markdown(anomaly_tables(anomaly_results())[0]).splitlines()[2:6] == [
        "| score | AUPR ↑ | AUROC ↑ | FPR95 ↓ |",
        "| --- | ---: | ---: | ---: |",
        "| msp | 19.0 | 70.0 | 61.0 |",
        "| raml | **42.5** | **86.0** | **32.0** |",
    ]


def test_markdown_from_outside_stays_in_its_cell():
    table = Table("", ("a|b",), (("x | y\nz <b> `c` [l](u) *",),))
    assert to_markdown(table) == "| a\\|b |\n| --- |\n| x \\| y z \\<b> \\`c\\` \\[l](u) \\* |\n"


def test_csv_round_trips_with_full_precision():
    table = Table("t", ("name", "value", "pixels"), (('a "b", c', 42.4912345, 1234567), ("line\nbreak", None, 0)))
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows == [["name", "value", "pixels"], ['a "b", c', "42.4912345", "1234567"], ["line\nbreak", "", "0"]]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_csv_text_starts_no_formula(text):
    assert next(csv.reader(io.StringIO(to_csv(Table("t", (text,), ()))))) == [f"'{text}"]


def test_ragged_tables_are_refused():
    with pytest.raises(ValueError, match="2 cells under 1"):
        Table("t", ("a",), ((1, 2),))
    with pytest.raises(ValueError, match="2 entries in better for 1"):
        Table("t", ("a",), (), "", ("", ""))
