"""Formats against the libraries that own them, where those need an interpreter of their own.

datumaro wants older releases of pillow, opencv and pyarrow than Ignota is tested with. To run these:

    python -m venv others && others/bin/pip install datumaro label-studio-converter
    IGNOTA_FOREIGN=others/bin/python make test
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ignota.cli import main

PYTHON = os.environ.get("IGNOTA_FOREIGN", "")
VALUES = np.array([7, 17, 20, 26])
READER = Path(__file__).with_name("foreign_reader.py")

pytestmark = pytest.mark.skipif(not PYTHON, reason="IGNOTA_FOREIGN names no Python that has datumaro: see this file")


def foreign(*words: object) -> None:
    done = subprocess.run([PYTHON, "-I", READER, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def named(label: np.ndarray) -> np.ndarray:
    """Stored values as the index of their name."""
    index = np.full(256, 255, np.uint8)
    index[VALUES] = range(len(VALUES))
    return index[label]


@pytest.mark.parametrize("name", ["datumaro", "cvat"])
def test_datumaro_reads_what_we_write(name: str, data: Path, labels: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert main(["export-labels", name, str(data), "--out", str(tmp_path / "ours"), "--quiet"]) == 0
    foreign("read", name, tmp_path / "ours", tmp_path / "read.npz")
    with np.load(tmp_path / "read.npz") as read:
        assert set(read) == set(labels)
        for key, label in labels.items():
            np.testing.assert_array_equal(read[key], named(label))


@pytest.mark.parametrize(("name", "place"), [("datumaro", "theirs"), ("cvat", "theirs/default.xml")])
def test_we_read_what_datumaro_writes(name: str, place: str, labels: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "labels.npz", **{key: named(label) for key, label in labels.items()})
    foreign("write", name, tmp_path / "theirs", tmp_path / "labels.npz")
    assert main(["import-labels", name, str(tmp_path / place), "--out", str(tmp_path / "back"), "--quiet"]) == 0
    for key, label in labels.items():
        back = np.asarray(Image.open(tmp_path / "back" / "masks" / f"{key}.png"))
        np.testing.assert_array_equal(back, named(label))


def test_label_studio_decodes_our_strokes(data: Path, labels: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert main(["export-labels", "label-studio", str(data), "--out", str(tmp_path / "ours"), "--quiet"]) == 0
    foreign("brush", tmp_path / "ours" / "tasks.json", tmp_path / "read.npz")
    names = {"road": 7, "pole": 17, "traffic sign": 20, "car": 26}
    with np.load(tmp_path / "read.npz") as read:
        expected = {(key, name) for key, label in labels.items() for name in names if (label == names[name]).any()}
        assert {(Path(at).parent.stem, Path(at).name) for at in read} == expected
        for at in read:
            np.testing.assert_array_equal(read[at] == 255, labels[Path(at).parent.stem] == names[Path(at).name])
