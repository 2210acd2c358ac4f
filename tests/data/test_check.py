from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ignota.data.check import Problem, check_dataset
from ignota.structures import InputError

KEYS = ("a", "b", "c", "d")


def write(root: Path, size=(480, 360)) -> Path:
    width, height = size
    for folder in ("val", "valannot"):
        (root / folder).mkdir()
    for key in KEYS:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
            root / "val" / f"{key}.jpg"
        )
        put_label(root, key, [3, 3, 8, 11], size)
    return root


def put_label(root, key, values, size=(480, 360)):
    Image.fromarray(np.resize(np.array(values, np.uint8), size[::-1])).save(root / "valannot" / f"{key}.png")


def found(report):
    return {row.problem: row.count for row in report.rows}


def test_a_part_of_a_sound_data_set_is_fine(tmp_path):
    steps = []
    report = check_dataset("camvid", write(tmp_path), progress=lambda done, total: steps.append((done, total)))
    assert report.fine
    assert found(report) == {Problem.OTHER_LENGTH: 1}
    assert (report.name, report.split, report.images) == ("camvid", "val", 4)
    shares = dict(report.shares)
    assert shares["road"] == pytest.approx(2 / 3)
    assert shares["car"] == pytest.approx(1 / 3)
    assert sum(shares.values()) == pytest.approx(1)
    assert report.void_share == pytest.approx(1 / 4)
    assert steps == [(i, 4) for i in range(1, 5)]


def break_missing(root):
    (root / "valannot/b.png").unlink()


def break_image(root):
    (root / "val/b.jpg").write_bytes((root / "val/b.jpg").read_bytes()[:5000])


def break_empty(root):
    (root / "val/b.jpg").write_bytes(b"")


def break_label(root):
    (root / "valannot/b.png").write_bytes((root / "valannot/b.png").read_bytes()[:100])


def break_colour(root):
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (360, 480, 3), dtype=np.uint8)).save(
        root / "valannot/b.png"
    )


def break_size(root):
    put_label(root, "b", [3], (479, 360))


def break_value(root):
    put_label(root, "b", [3, 12, 200])


def break_void(root):
    put_label(root, "b", [11])


@pytest.mark.parametrize(
    ("damage", "problem", "fine"),
    [
        (break_missing, Problem.MISSING_LABEL, False),
        (break_image, Problem.UNREADABLE_IMAGE, False),
        (break_empty, Problem.UNREADABLE_IMAGE, False),
        (break_label, Problem.UNREADABLE_LABEL, False),
        (break_colour, Problem.UNREADABLE_LABEL, False),
        (break_size, Problem.SIZE_MISMATCH, False),
        (break_value, Problem.UNKNOWN_VALUE, False),
        (break_void, Problem.ALL_VOID, True),
    ],
)
def test_each_damage_is_found_once_with_example_and_remedy(tmp_path, damage, problem, fine):
    root = write(tmp_path)
    damage(root)
    report = check_dataset("camvid", root)
    assert found(report) == {problem: 1, Problem.OTHER_LENGTH: 1}
    assert report.fine is fine
    title, count, examples, remedy = report.rows[0].cells
    assert count == "1"
    assert "b." in examples
    assert title and remedy
    assert "\n" not in examples


def test_three_examples_are_shown_of_many(tmp_path):
    report = check_dataset("camvid", write(tmp_path, (40, 30)))
    row = next(row for row in report.rows if row.problem is Problem.OTHER_SIZE)
    assert row.count == 4
    assert len(row.examples) == 3
    assert "a.jpg 40×30, published 480×360" in row.examples[0]
    assert report.fine


def test_the_order_of_findings_does_not_depend_on_threads(tmp_path):
    root = write(tmp_path)
    for key in KEYS:
        (root / "val" / f"{key}.jpg").write_bytes(b"?")
    reports = [check_dataset("camvid", root, workers=workers) for workers in (1, 4)]
    assert reports[0] == reports[1]
    assert found(reports[0])[Problem.UNREADABLE_IMAGE] == 4


def test_nothing_to_check(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        check_dataset("camvid", tmp_path / "no")
    with pytest.raises(InputError, match="is drawn"):
        check_dataset("synthetic", tmp_path)
