"""Anomaly maps as files: what comes back, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ignota.formats import smiyc
from ignota.formats.score_maps import MapFolder, at_label, read_map, write_map
from ignota.structures import InputError


def score(height: int = 6, width: int = 9) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(height, width)).astype(np.float32)


def test_a_map_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    write_map(tmp_path / "new" / "a.npy", score())
    np.testing.assert_array_equal(read_map(tmp_path / "new" / "a.npy"), score())
    assert MapFolder("x", tmp_path / "new").read("a", None, (6, 9)).dtype == np.float32


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.uint8, bool])
def test_other_numbers_are_taken(tmp_path: Path, kind: type) -> None:
    np.save(tmp_path / "a.npy", score().astype(kind))
    np.testing.assert_array_equal(read_map(tmp_path / "a.npy"), score().astype(kind).astype(np.float32))


def test_the_benchmark_s_files_come_back(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    smiyc.write_anomaly(tmp_path / "a.hdf5", score().astype(np.float16))
    np.testing.assert_array_equal(read_map(tmp_path / "a.hdf5"), score().astype(np.float16))
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["value"] = score()
    np.testing.assert_array_equal(read_map(tmp_path / "b.hdf5"), score())


def test_files_are_found_by_key_or_stem(tmp_path: Path) -> None:
    folder = MapFolder("x", tmp_path)
    for stem in ("key", "b", "frame_leftImg8bit"):
        write_map(tmp_path / f"{stem}.npy", score())
    for key, path in (("key", None), ("town/b", None), ("frame", Path("images/frame_leftImg8bit.png"))):
        np.testing.assert_array_equal(folder.read(key, path, (6, 9)), score())
    with pytest.raises(InputError, match=r"none\.npy: no such file"):
        folder.read("none", None, (6, 9))


def test_a_smaller_map_is_resized_as_the_benchmark_does() -> None:
    found = at_label(Path("a.npy"), score(), (12, 18))
    np.testing.assert_array_equal(found, cv2.resize(score(), (18, 12), interpolation=cv2.INTER_LINEAR))
    for size in ((5, 8), (6, 8), (18, 12), (60, 30)):
        with pytest.raises(InputError, match=r"it is 9×6, its label"):
            at_label(Path("a.npy"), score(), size)


def test_holes_are_told() -> None:
    holes = score()
    holes[0, :2] = np.nan
    with pytest.raises(InputError, match="2 of its values are NaN"):
        at_label(Path("a.npy"), holes, (6, 9))


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("no map"), "no .npy file"),
    "empty": (lambda path: path.write_bytes(b""), "no .npy file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-4]), "no .npy file"),
    "pickle": (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "no .npy file"),
    "archive": (lambda path: np.savez(path, a=score()) or Path(f"{path}.npz").replace(path), "no .npy file"),
    "three axes": (lambda path: np.save(path, score()[None]), "its values are"),
    "complex": (lambda path: np.save(path, score() * 1j), "its values are"),
    "no pixel": (lambda path: np.save(path, score()[:0]), "no .npy file|has 0 pixels"),
    "a header that promises more": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"(6, 9)", b"(6,99)")),
        "no .npy file",
    ),
}


@pytest.mark.parametrize("spoil", DAMAGED)
def test_what_is_no_map_is_refused(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "a.npy"
    write_map(path, score())
    change, said = DAMAGED[spoil]
    change(path)
    with pytest.raises(InputError, match=said) as error:
        read_map(path)
    assert "\n" not in str(error.value) and "a.npy" in str(error.value)


@pytest.mark.parametrize("text", ["=d", "a=", "a b=.", "../a=.", "a:b=.", "a,b=.", "nothing"])
def test_names_of_folders(text: str) -> None:
    with pytest.raises(InputError, match="NAME=DIR"):
        MapFolder.parse(text)
