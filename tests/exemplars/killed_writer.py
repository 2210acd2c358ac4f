"""Forks writers that kill themselves before their n-th SQL statement, n = 1, 1 + stride, …; prints what each had
acknowledged.

Run as a process of its own: it forks before torch starts any thread.
"""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from pathlib import Path

import torch

from ignota.exemplars.migrations import create
from ignota.exemplars.store import ExemplarRow, ExemplarStore
from ignota.perception.novel import Exemplar


def row(value: float) -> ExemplarRow:
    return ExemplarRow(
        Exemplar("", {"decoder": torch.full((1, 3), value)}, {"decoder": torch.zeros(0, 3)}, {}), "0" * 64
    )


def write(path: Path, last: int, acknowledged: int) -> None:
    """Teaches, forgets, merges and undoes, naming each finished step, until the statement numbered `last`."""
    store = ExemplarStore(path)
    left = [last]

    def count(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    store._connection.set_trace_callback(count)
    steps = {
        "learn": lambda: store.add("moose", (1, 2, 3), [row(1.0), row(2.0)]),
        "learn2": lambda: store.add("boat", (4, 5, 6), [row(3.0)]),
        "merge": lambda: store.merge("boat", "moose"),
        "undo": lambda: store.undo(),
        "forget": lambda: store.remove("moose"),
    }
    for name, step in steps.items():
        step()
        os.write(acknowledged, f"{name} ".encode())
    os.write(acknowledged, b"end ")


def main(folder: Path, stride: int) -> None:
    for n in itertools.count(1, stride):
        path = folder / f"{n}.sqlite"
        connection = sqlite3.connect(path, isolation_level=None)
        create(connection)
        connection.close()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write(path, n, writing)
            finally:
                os._exit(0)
        os.close(writing)
        told = b""
        while part := os.read(reading, 1000):
            told += part
        os.close(reading)
        os.waitpid(child, 0)
        sys.stdout.write(f"{n} {told.decode()}\n")
        if b"end" in told:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
