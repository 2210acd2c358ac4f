"""Forks upgrades of copies of a world that kill themselves before a file call or SQL statement; prints the copies.

Run as a process of its own: it forks before torch starts any thread.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path

import torch

from ignota.storage.upgrading import upgrade

CONNECT = sqlite3.connect


def upgraded(folder: Path, last: int, counted: int | None = None) -> None:
    """Upgrades a world in a child until the step numbered `last`; counted: a pipe that takes the number of steps."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    steps = [0]

    def step(*_: object) -> None:
        steps[0] += 1
        if steps[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(*args: object, **options: object) -> sqlite3.Connection:
        connection = CONNECT(*args, **options)
        if "mode=rw" in str(args[0]):
            connection.set_trace_callback(step)
        return connection

    sqlite3.connect = connect
    sys.addaudithook(lambda event, _: step() if event in ("os.rename", "os.remove") else None)
    upgrade(folder)
    if counted is not None:
        os.write(counted, str(steps[0]).encode())
    os._exit(0)


def main(source: Path, target: Path, instants: int) -> None:
    torch.set_num_threads(1)
    reading, writing = os.pipe()
    upgraded(Path(shutil.copytree(source, target / "whole")), 0, writing)
    total = int(os.read(reading, 100))
    chosen = sorted({1 + i * (total - 1) // (instants - 1) for i in range(instants)})
    for last in chosen:
        folder = Path(shutil.copytree(source, target / str(last)))
        upgraded(folder, last)
        sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
