"""The comparison measures every backend that runs, says why others do not, and recommends the fastest that agrees."""

from __future__ import annotations

from pathlib import Path

import pytest

from ignota.backends import choosing as backends
from ignota.evaluation.backend_comparison import compare_backends, fastest, street_images
from ignota.perception.networks import Answer, run_eagerly
from ignota.storage import bundle
from ignota.world.model import OpenWorldModel


@pytest.fixture
def world(trained: Path) -> OpenWorldModel:
    return bundle.load(trained)


def test_each_is_measured_against_float32(world: OpenWorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(networks, image, close) -> Answer:
        logits, features = run_eagerly(networks, image, close)
        return logits.flip(0), features

    def absent(networks, calibration):
        raise backends.InputError("not on this machine")

    monkeypatch.setitem(backends.BACKENDS, "turned", lambda networks, calibration: turned)
    monkeypatch.setitem(backends.BACKENDS, "absent", absent)
    ticks: list[int] = []
    estimates: list[tuple[float, int]] = []
    images = street_images(2, (48, 96))
    found = compare_backends(
        world, ["turned", "absent"], images, 2, tile=0, tick=ticks.append,
        announce=lambda seconds: estimates.append((seconds, sum(ticks))),
    )  # fmt: skip
    rows = found["backends"]
    assert list(rows) == ["torch", "turned", "absent"]
    assert rows["absent"] == {"fault": "not on this machine"}
    assert rows["torch"]["labels"] == rows["torch"]["unknown"] == rows["torch"]["speedup"] == 1
    assert rows["turned"]["labels"] < 0.5
    assert 0 < rows["turned"]["networks"] < rows["turned"]["segment"]
    assert found["images"] == 2 and found["size"] == [48, 96]
    assert sum(ticks) == 2 * 2 * (1 + 2)
    ((seconds, before),) = estimates
    assert before == 2 and seconds > 2 * 2 * 2 * rows["torch"]["segment"] / 2  # reported when torch alone had its turn
    assert fastest(found) == "torch"  # whatever the other's time, it changes too much


def test_the_fastest_that_agrees() -> None:
    rows = {"a": {"labels": 1, "segment": 2.0}, "b": {"labels": 0.999, "segment": 1.0}, "c": {"fault": "no"},
            "d": {"labels": 0.9, "segment": 0.1}}  # fmt: skip
    assert fastest({"backends": rows}) == "b"
    assert fastest({"backends": {"c": {"fault": "no"}}}) is None
