"""The simulated queues against what must be so, and against queues that can be reckoned by hand."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def queues() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "queues.py"
    spec = importlib.util.spec_from_file_location("benchmarks_queues", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks_queues"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_one_worker_takes_as_long_as_its_frames(queues: ModuleType) -> None:
    found = queues.simulate(queues.Costs(0.001, 0.1, 0.001), 400, 1, 4)
    assert found.seconds == pytest.approx(40, rel=0.01)
    assert found.busy == pytest.approx(1, abs=0.01)


def test_workers_divide_the_work_as_long_as_there_are_cores(queues: ModuleType) -> None:
    costs = queues.Costs(0.0, 0.1, 0.0)
    assert queues.simulate(costs, 400, 2, 2).seconds == pytest.approx(20, rel=0.03)
    assert queues.simulate(costs, 400, 4, 2).seconds == pytest.approx(20, rel=0.06)
    assert queues.simulate(costs, 400, 4, 4).seconds == pytest.approx(10, rel=0.06)
    assert queues.simulate(costs, 9, 2, 2).seconds == pytest.approx(0.8)  # blocks of eight and of one


def test_what_others_compute_takes_cores_from_the_workers(queues: ModuleType) -> None:
    # 400 frames · (0.02 + 0.1 + 0.01) s on two cores, and a fifth of a core is Ray's
    found = queues.simulate(queues.Costs(0.02, 0.1, 0.01, 0.2), 400, 2, 2)
    assert found.seconds == pytest.approx(400 * 0.13 / 1.8, rel=0.05)


def test_slow_readers_starve_workers_and_fast_ones_wait(queues: ModuleType) -> None:
    slow = queues.simulate(queues.Costs(0.2, 0.1, 0.0), 160, 4, 8)
    assert slow.seconds == pytest.approx(160 * 0.2 / 2, rel=0.1)
    assert slow.busy < 0.3 and slow.waiting <= 1
    fast = queues.simulate(queues.Costs(0.001, 0.1, 0.0), 400, 2, 8)
    assert fast.waiting == queues.QUEUE


def test_the_rate_leaves_the_beginning_and_the_end_out(queues: ModuleType) -> None:
    slow_start = [(5.0, 10), *((5.0 + 0.5 * n, 10) for n in range(1, 9)), (20.0, 10)]
    assert queues.middle_rate(slow_start) == pytest.approx(20)


def test_no_frame_is_refused(queues: ModuleType) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        queues.simulate(queues.Costs(0, 1, 0), 0, 1, 1)


def test_runs_are_compared_with_their_simulation(queues: ModuleType, tmp_path: Path) -> None:
    cpu = {"readers": 0.001, "workers": 0.1, "driver": 0.002, "ray": 0.001}
    for workers, rate in ((1, 10.0), (2, 18.0)):
        run = {"frames": 400, "per_second": rate, "cpu_per_frame": cpu}
        (tmp_path / f"speed-ray-{workers}.json").write_text(json.dumps(run))
    found = queues.compared(tmp_path, 2, 2)
    assert found["1"]["off"] == pytest.approx(0, abs=0.02)
    assert found["2"]["simulated"] == pytest.approx(19.2, rel=0.05)
    assert found["2"]["off"] == pytest.approx(found["2"]["simulated"] / 18 - 1)
