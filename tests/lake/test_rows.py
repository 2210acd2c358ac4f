"""A row says what `segment` shows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ignota.formats.rle import decode_rle
from ignota.lake.frames import Frame
from ignota.lake.rows import as_table, frame_row
from ignota.storage import bundle
from ignota.world.model import OpenWorldModel


def test_a_row_holds_labels_scores_and_regions(trained: Path, make: SimpleNamespace) -> None:
    world = bundle.load(trained)
    pixels = make.streets[0].image
    frame = Frame("s", "0" * 32, "x.mkv", 3, None, 4, pixels)
    (row,) = as_table([frame_row(world, "w", frame)]).to_pylist()
    scene = world.segment(pixels)
    labels = np.full(pixels.shape[:2], 255, np.uint8)
    for each in row["labels"]:
        mask = decode_rle(each["rle"])
        assert (labels[mask] == 255).all()
        labels[mask] = each["id"]
    np.testing.assert_array_equal(labels, scene.labels_with_unknown())
    assert row["unknown_share"] == (labels == 254).mean() > 0
    assert row["anomaly_max"] == scene.anomaly.max()
    assert row["anomaly_mean"] == pytest.approx(scene.anomaly.mean(), rel=1e-5)
    assert [region["area"] for region in row["regions"]] == [region.area for region in scene.unknown]
    np.testing.assert_array_equal(
        np.array(row["regions"][0]["embedding"], np.float32), np.float32(scene.unknown[0].embedding)
    )
    assert (row["frame"], row["frames"], row["width"], row["height"], row["error"]) == (3, 4, 96, 48, None)


def test_a_frame_that_no_code_was_ready_for_becomes_a_row(
    trained: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = bundle.load(trained)

    def fail(self: OpenWorldModel, image: np.ndarray) -> None:
        raise ZeroDivisionError("one\nof those")

    monkeypatch.setattr(OpenWorldModel, "segment", fail)
    (row,) = as_table(
        [frame_row(world, "w", Frame("s", "0" * 32, "x.png", None, pixels=make.streets[0].image))]
    ).to_pylist()
    assert "ZeroDivisionError: one" in row["error"] and "\n" not in row["error"]
    assert (row["width"], row["labels"], row["regions"]) == (96, None, None)
