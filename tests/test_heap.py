"""Freed memory is kept where somebody asks for it, and only there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
import numpy as np
import ignota
{told}
assert "torch" not in sys.modules

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

before = resident()
held = np.ones(8 << 20)
del held
print((resident() - before) >> 20)
"""

_ASKED = "from ignota.heap import keep_freed_memory; keep_freed_memory()"
_COMMAND = "from ignota.cli import main; main(['--version'])"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what a process holds in this way")
@pytest.mark.parametrize(
    ("told", "choice", "kept"),
    [("", "1", False), (_ASKED, "1", True), (_ASKED, None, False), (_COMMAND, "1", True), (_COMMAND, None, False)],
    ids=["imported", "asked", "nobody_asked", "command", "plain_command"],
)
def test_memory_that_is_freed_stays_where_somebody_asks_for_it(told: str, choice: str | None, kept: bool) -> None:
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError):
        pytest.skip("this C library is not glibc and cannot be asked")
    environment = {k: v for k, v in os.environ.items() if k != "IGNOTA_KEEP_MEMORY"}
    environment |= {} if choice is None else {"IGNOTA_KEEP_MEMORY": choice}
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(told=told)], env=environment, capture_output=True, text=True, check=True
    )
    assert (int(found.stdout.split()[-1]) >= 60) == kept
