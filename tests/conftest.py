"""For all tests: shapes and dtypes of signatures are checked at run time; where the real images lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

_HOOK = install_import_hook(
    ["ignota.functional", "ignota.regions", "ignota.anomaly", "ignota.incremental"],
    "beartype.beartype",
)

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real street images; without it the test is skipped."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("IGNOTA_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set IGNOTA_DATA to their folder")
    return folder
