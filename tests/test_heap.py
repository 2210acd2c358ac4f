"""Freed memory is kept where somebody asks for it, and only there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
import ignota
assert "torch" not in sys.modules
import numpy as np

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

before = resident()
held = np.ones(8 << 20)
del held
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what a process holds in this way")
@pytest.mark.parametrize(("choice", "kept"), [("1", True), (None, False)])
def test_memory_that_is_freed_stays_where_somebody_asks_for_it(choice: str | None, kept: bool) -> None:
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError):
        pytest.skip("this C library is not glibc and cannot be asked")
    environment = {k: v for k, v in os.environ.items() if k != "IGNOTA_KEEP_MEMORY"}
    environment |= {} if choice is None else {"IGNOTA_KEEP_MEMORY": choice}
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert (int(found.stdout) >= 60) == kept
