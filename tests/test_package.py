"""What importing the package does to its surroundings."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("before", "after"), [({}, "1"), ({"THP_MEM_ALLOC_ENABLE": "0"}, "0")])
def test_large_tensors_come_in_huge_pages_unless_somebody_says_otherwise(before: dict[str, str], after: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "THP_MEM_ALLOC_ENABLE"} | before
    told = "import os, sys, ignota; print(os.environ['THP_MEM_ALLOC_ENABLE'], 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [after, "False"]
