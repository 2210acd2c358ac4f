"""Exit codes and lines of whatever goes wrong."""

from __future__ import annotations

import errno

import pytest
import torch

from ignota.cli.outcome import Boundary, UsageError, verdict
from ignota.structures import InputError

CASES = {
    "usage": (UsageError("no"), 2, "no"),
    "input": (InputError("a is no image"), 2, "a is no image"),
    "lines": (InputError("a\n  b"), 2, "a b"),
    "stopped": (KeyboardInterrupt(), 1, "stopped; run the same command again to go on"),
    "full": (OSError(errno.ENOSPC, "No space left on device", "x.png"), 1, "no space left on the disk for x.png"),
    "full quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "no space left"),
    "full, told by a library": (RuntimeError("write failed: No space left on device"), 1, "no space left"),
    "not allowed": (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "/x: Permission denied"),
    "memory": (MemoryError("4 GB"), 1, "out of memory (4 GB): try a smaller --size"),
    "gpu memory": (torch.cuda.OutOfMemoryError("CUDA"), 1, "out of memory"),
    "bug": (ZeroDivisionError("by\nzero"), 1, "ZeroDivisionError: by zero; IGNOTA_TRACEBACK=1 shows where"),
    "pipe": (BrokenPipeError(), 0, ""),
    "exit": (SystemExit(2), 2, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_verdicts(case: str) -> None:
    error, code, line = CASES[case]
    found, text = verdict(error)
    assert found == code
    assert line in text
    assert "\n" not in text


def test_a_boundary_tells_one_line_and_keeps_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    with Boundary() as boundary:
        raise ZeroDivisionError("x")
    assert boundary.code == 1
    assert capsys.readouterr().err == "ignota: ZeroDivisionError: x; IGNOTA_TRACEBACK=1 shows where\n"


def test_the_traceback_is_shown_where_it_is_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IGNOTA_TRACEBACK", "1")
    with Boundary():
        raise ZeroDivisionError("x")
    assert "Traceback" in capsys.readouterr().err


def test_nothing_wrong_is_0() -> None:
    with Boundary() as boundary:
        pass
    assert boundary.code == 0
