"""A copy of the tiny world, pictures to show it, and calls that must fail."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ignota.cli import main


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world that a test may spoil."""
    return Path(shutil.copytree(trained, tmp_path / "my-world"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A synthetic street."""
    from ignota.synthetic.streets import SyntheticStreets

    path = tmp_path / "photo.png"
    Image.fromarray(SyntheticStreets("anomaly", 1, (48, 96), 3)[0].image).save(path)
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A box in the size of the photo."""
    path = tmp_path / "mask.png"
    pixels = np.zeros((48, 96), np.uint8)
    pixels[20:40, 30:60] = 255
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Runs a call that must end with 2, one line on standard error and no file changed; returns the line."""

    def call(*words: object, code: int = 2) -> str:
        before = listing(tmp_path)
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert error.startswith("ignota: ")
        assert "Traceback" not in error
        assert listing(tmp_path) == before
        return error

    yield call


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content; SQLite's journals come and go."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(("-wal", "-shm"))
    }


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes every write fail with "no space left" after some that succeed."""

    def fill(after: int) -> None:
        left = [after]

        def sync(_: int) -> None:
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            left[0] -= 1

        monkeypatch.setattr(os, "fsync", sync)

    return fill
