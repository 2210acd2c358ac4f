"""Races are fair: all take turns, what is slow runs less, and bars are judged by ratios."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.racing import Bar, Outcome, judged, machine, run_race

ROOT = Path(__file__).resolve().parents[2]


def test_contestants_take_turns_after_one_unmeasured_run_each() -> None:
    order: list[str] = []
    seconds, rounds = run_race({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, "cpu", rounds=3)
    assert order == ["a", "b"] + ["a", "b"] * 3
    assert rounds == {"a": 3, "b": 3}
    assert all(value >= 0 for value in seconds.values())


def test_what_takes_its_whole_time_at_once_runs_once() -> None:
    calls = {"slow": 0, "quick": 0}

    def slow() -> None:
        calls["slow"] += 1
        time.sleep(0.03)

    def quick() -> None:
        calls["quick"] += 1

    seconds, rounds = run_race({"slow": slow, "quick": quick}, "cpu", rounds=4, seconds=0.1)
    assert calls == {"slow": 1, "quick": 5}
    assert rounds == {"slow": 1, "quick": 4}
    assert seconds["slow"] >= 0.03


def test_what_makes_ready_is_not_timed() -> None:
    calls: list[str] = []

    def before() -> None:
        calls.append("ready")
        time.sleep(0.02)

    seconds, _ = run_race({"ours": lambda: calls.append("ours")}, "cpu", rounds=2, before=before)
    assert calls == ["ready", "ours"] * 3
    assert seconds["ours"] < 0.02


@pytest.mark.parametrize(
    ("bar", "ratio", "met"),
    [
        (Bar("rival", "ours", least=3), 4, True),
        (Bar("rival", "ours", least=5), 4, False),
        (Bar("ours", "floor", most=2), 2, True),
        (Bar("ours", "floor", most=1.9), 2, False),
    ],
)
def test_bars(bar: Bar, ratio: float, met: bool) -> None:
    outcome = Outcome("n", "t", "cpu", 1, {"ours": 2.0, "rival": 8.0, "floor": 1.0}, {}, [])
    (found,) = judged(outcome, [bar])
    assert (found["ratio"], found["met"]) == (ratio, met)


def test_peak_memory_sees_what_is_gone_again() -> None:
    program = """
from benchmarks.racing import peak_memory
with peak_memory() as found:
    held = bytearray(b"x") * (64 << 20)
    del held
print(found.get("grown", -1))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    if float(told.stdout) < 0:
        pytest.skip("this system does not tell the peak of a process")
    assert float(told.stdout) >= 60 << 20


def test_the_machine_is_told_without_its_name() -> None:
    import platform

    told = machine()
    assert {"cpu", "cores", "torch", "gpu"} <= told.keys()
    assert platform.node() not in " ".join(map(str, told.values())) or not platform.node()
