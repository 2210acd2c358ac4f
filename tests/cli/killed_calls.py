"""Kills calls of `ignota` by SIGKILL at random instants and makes them again; prints one JSON line for each kill.

Run as a process of its own: everything is imported before it forks, and no thread is started, so that a call costs its
work alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import torch

from ignota.cli import main as ignota


def calls(folder: Path) -> dict[str, list[str]]:
    """The call of each command, below `folder`, which `prepare` fills."""
    world, photos = str(folder / "world"), folder / "photos"
    shown = ["--image", str(photos / "p0.png"), "--mask", str(folder / "mask.png")]
    return {
        "learn": ["learn", "crate", *shown, "--world", world, "--force"],
        "forget": ["forget", "barrel", "--world", world],
        "segment": ["segment", str(photos), "--world", world, "--out", str(folder / "out")],
        "discover": ["discover", str(photos), "--world", world, "--out", str(folder / "out"), "--smallest", "2"],
        "export": ["export", "--world", world, "--out", str(folder / "world.onnx")],
        "init": ["init", str(folder / "copy"), "--from", world],
    }


def forked(work: Callable[[], int], kill_after: float | None = None) -> tuple[int | None, float, str]:
    """Does `work` in a forked process: its exit code (None where it was killed), seconds, and what it complained of."""
    started = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 99
        try:
            errors = io.StringIO()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
                code = work()
            os.write(writing, errors.getvalue()[-4000:].encode())
        finally:
            os._exit(code)
    os.close(writing)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    said = b""
    while part := os.read(reading, 4096):
        said += part
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return (
        None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status),
        time.monotonic() - started,
        said.decode(),
    )


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def trial(command: str, start: Path, place: Path, kill_after: float | None) -> dict[str, object]:
    """One call that is killed (or not, where `kill_after` is None), and the next one. Both start at the same path."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(start, place)
    words = calls(place)[command]
    killed, seconds, said = forked(lambda: ignota(words), kill_after)
    between = listing(place)
    again, _, complaint = forked(lambda: ignota(words))
    return {
        "command": command, "after": kill_after, "code": killed, "seconds": seconds, "said": said, "between": between,
        "again": again, "complaint": complaint, "left": listing(place),
    }  # fmt: skip


def import_what_it_needs(command: str, start: Path, place: Path) -> None:
    """Imports here what a call ends up with, as a child that makes it tells: else every child would, for seconds."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(start, place)

    def call() -> int:
        code = ignota(calls(place)[command])
        (place / "modules").write_text("\n".join(sys.modules))
        return code

    forked(call)
    for name in (place / "modules").read_text().split("\n"):
        with contextlib.suppress(Exception):  # of names that are no files
            importlib.import_module(name)


def main(start: Path, place: Path, commands: Sequence[str], kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    for command in commands:
        import_what_it_needs(command, start, place)
    rng = random.Random(seed)
    for command in commands:
        whole = trial(command, start, place, None)
        sys.stdout.write(json.dumps(whole) + "\n")
        for _ in range(kills):
            at = rng.uniform(0.0, float(str(whole["seconds"])))
            sys.stdout.write(json.dumps(trial(command, start, place, at)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4]), int(sys.argv[5]))
