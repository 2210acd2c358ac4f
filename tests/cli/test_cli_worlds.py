"""init, segment, learn, forget and classes on a tiny world."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ignota.cli import main
from ignota.taxonomy import UNKNOWN_INDEX


def run(*words: object) -> int:
    return main([str(word) for word in words])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read(path: Path) -> tuple[str, np.ndarray]:
    """The mode and the stored values of a picture."""
    with Image.open(path) as picture:
        return picture.mode, np.asarray(picture)


def test_init_learn_forget_restores_every_bit(
    trained: Path, photo: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    assert run("init", mine, "--from", trained) == 0
    for out in ("before", "after"):
        assert run("segment", photo, "--world", mine, "--out", tmp_path / out) == 0
        if out == "before":
            assert run("learn", "crate", "--image", photo, "--mask", mask, "--world", mine, "--force") == 0
            assert "learnt 'crate' from 1 example, 600 pixels, in" in capsys.readouterr().out
            assert run("segment", photo, "--world", mine, "--out", tmp_path / "between", "--quiet") == 0
            assert run("forget", "crate", "--world", mine) == 0
    assert contents(tmp_path / "before") == contents(tmp_path / "after")
    assert set(contents(tmp_path / "before")) == {
        "photo.json", "photo_anomaly.png", "photo_labels.png", "photo_overlay.jpg", "regions.parquet"
    }  # fmt: skip
    between = json.loads((tmp_path / "between" / "photo.json").read_text())
    assert between["classes"][-1]["name"] == "crate"


def test_what_segment_writes(trained: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("segment", photo, "--world", trained, "--out", tmp_path / "new" / "out") == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == (f"1 image → {tmp_path / 'new' / 'out'}\n", "")
    document = json.loads((tmp_path / "new" / "out" / "photo.json").read_text())
    mode, values = read(tmp_path / "new" / "out" / "photo_labels.png")
    _, anomaly = read(tmp_path / "new" / "out" / "photo_anomaly.png")
    _, overlay = read(tmp_path / "new" / "out" / "photo_overlay.jpg")
    assert mode == "P"
    assert values.shape == overlay.shape[:2] == (document["height"], document["width"]) == (48, 96)
    assert anomaly.dtype == np.uint16
    np.testing.assert_array_equal(values == UNKNOWN_INDEX, anomaly / 65535 > document["threshold"])
    for row in document["classes"]:
        assert row["share"] == pytest.approx(float((values == row["id"]).mean()))
    assert document["unknown_share"] == pytest.approx(float((values == UNKNOWN_INDEX).mean()))
    for region in document["regions"]:
        left, top, right, bottom = region["box"]
        assert 0 < region["area"] <= (right - left) * (bottom - top)
        assert 0 < region["score"] <= 1
        assert region["nearest"] in [row["name"] for row in document["classes"]]


def _rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 48), (90, 80, 70)).save(path, exif=exif)


STRANGE: dict[str, tuple[Callable[[Path], None], tuple[int, int]]] = {
    "grey.png": (lambda path: Image.new("L", (96, 48), 90).save(path), (96, 48)),
    "clear.png": (lambda path: Image.new("RGBA", (96, 48), (9, 8, 7, 99)).save(path), (96, 48)),
    "deep.png": (lambda path: Image.fromarray(np.full((48, 96), 40000, np.uint16)).save(path), (96, 48)),
    "rotated.jpg": (_rotated, (48, 96)),
    "point.png": (lambda path: Image.new("RGB", (1, 1), (9, 9, 9)).save(path), (1, 1)),
    "wide.png": (lambda path: Image.new("RGB", (20000, 8), (9, 9, 9)).save(path), (20000, 8)),
    "name [with] – everything.webp": (lambda path: Image.new("RGB", (64, 64)).save(path), (64, 64)),
}


def test_strange_pictures_are_segmented(trained: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, (make, _) in STRANGE.items():
        make(photos / name)
    assert run("segment", photos, "--world", trained, "--out", tmp_path / "out", "--quiet") == 0
    for name, (_, (width, height)) in STRANGE.items():
        assert read(tmp_path / "out" / f"{Path(name).stem}_labels.png")[1].shape == (height, width)
        assert read(tmp_path / "out" / f"{Path(name).stem}_overlay.jpg")[1].shape == (height, width, 3)


def test_patterns_and_repetition(trained: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(photo, tmp_path / "other.png")
    monkeypatch.chdir(tmp_path)
    assert run("segment", "*.png", "photo.png", "--world", trained, "--out", "out", "--quiet") == 0
    assert run("segment", tmp_path / "ot*.png", "--world", trained, "--out", "second", "--quiet") == 0
    assert {name.rpartition(".")[0] for name in contents(tmp_path / "out") if name.endswith("json")} == {
        "photo",
        "other",
    }
    assert len(contents(tmp_path / "second")) == 5


def test_segmenting_a_folder_into_itself_takes_no_results_for_images(
    trained: Path, photo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(photo, folder)
    for _ in range(2):
        assert run("segment", folder, "--world", trained, "--out", folder, "--quiet") == 0
    assert len(contents(folder)) == 6


def test_one_bad_image_does_not_stop_the_others(
    trained: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(photo.read_bytes()[:200])
    shutil.copy(photo, tmp_path / "good.png")
    call = ("segment", photo, bad, tmp_path / "good.png", "--world", trained, "--out", tmp_path / "out")
    assert run(*call) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "bad.png is damaged or cut short" in told.err
    assert "2 images" in told.out
    assert len(contents(tmp_path / "out")) == 9


BAD_PICTURES = {
    "no image": (lambda path, good: path.write_text("hello"), "is no picture"),
    "cut short": (lambda path, good: path.write_bytes(good.read_bytes()[:300]), "damaged or cut short"),
    "empty": (lambda path, good: path.write_bytes(b""), "is empty (0 bytes)"),
    "missing": (lambda path, good: None, "no such file"),
    "empty folder": (lambda path, good: path.mkdir(), "no image in the folder"),
}


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_bad_pictures(case: str, trained: Path, photo: Path, tmp_path: Path, wrong: Callable[..., str]) -> None:
    make, part = BAD_PICTURES[case]
    make(tmp_path / "x.png", photo)
    assert part in wrong("segment", tmp_path / "x.png", "--world", trained, "--out", tmp_path / "out")


def test_results_of_one_name_are_refused_before_any_work(
    photo: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    shutil.copy(photo, tmp_path / "photo.jpg")
    line = wrong("segment", photo, tmp_path / "photo.jpg", "--world", "no-world-is-read", "--out", tmp_path / "out")
    assert "would both be written as photo" in line
    shutil.copy(photo, tmp_path / "photo_labels.png")
    line = wrong("segment", photo, tmp_path / "photo_labels.png", "--world", "none", "--out", tmp_path)
    assert "would be overwritten by a result" in line
    assert "is no folder" in wrong("segment", photo, "--world", "none", "--out", photo)
    assert "no file matches" in wrong("segment", tmp_path / "*.tif", "--world", "none", "--out", tmp_path / "out")


def _masks(folder: Path) -> dict[str, Path]:
    pixels = np.zeros((48, 96), np.uint8)
    pixels[20:40, 30:60] = 1
    made = {"size": pixels[:40], "empty": pixels * 0, "point": np.pad(np.ones((1, 1), np.uint8), ((0, 47), (0, 95)))}
    for name, values in made.items():
        Image.fromarray(values).save(folder / f"{name}.png")
    Image.fromarray(pixels * 255).save(folder / "noisy.jpg")
    (folder / "text.png").write_text("hello")
    colour = np.zeros((48, 96, 3), np.uint8)
    colour[20:40, 30:60, 0] = 255
    Image.fromarray(colour).save(folder / "colour.png")
    return {path.stem: path for path in folder.iterdir()}


WRONG_LESSONS = {
    "another size": ("crate", "size", "is 96×40, its image"),
    "empty mask": ("crate", "empty", "is empty: paint the thing"),
    "too small": ("crate", "point", "too few to learn from"),
    "jpeg": ("crate", "noisy", "is a JPEG"),
    "no image": ("crate", "text", "is no picture"),
    "missing": ("crate", "none", "no such file"),
    "known class": ("road", "colour", "is a known class"),
    "no name": (" ", "colour", "1 to 64 printable characters"),
    "long name": ("x" * 65, "colour", "1 to 64 printable characters"),
    "name with a line break": ("a\nb", "colour", "1 to 64 printable characters"),
}


@pytest.mark.parametrize("case", WRONG_LESSONS)
def test_wrong_lessons_change_nothing(
    case: str, world: Path, photo: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    (tmp_path / "masks").mkdir()
    masks = _masks(tmp_path / "masks")
    name, mask, part = WRONG_LESSONS[case]
    line = wrong("learn", name, "--image", photo, "--mask", masks.get(mask, tmp_path / "none.png"), "--world", world)
    assert part in line


def test_colour_masks_several_examples_and_the_list(
    world: Path, photo: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: Callable[..., str]
) -> None:
    (tmp_path / "masks").mkdir()
    pairs = ("--image", photo, "--mask", mask, "--image", photo, "--mask", _masks(tmp_path / "masks")["colour"])
    assert run("learn", "crate", *pairs, "--world", world, "--force") == 0
    assert "from 2 examples, 1,200 pixels" in capsys.readouterr().out
    assert run("learn", "crate", "--image", photo, "--mask", mask, "--world", world, "--quiet", "--force") == 0
    assert run("classes", "--world", world, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["classes"]
    assert rows[0]["name"] == "road"
    assert not rows[0]["taught"]
    assert (rows[-1]["name"], rows[-1]["taught"], rows[-1]["examples"], rows[-1]["id"]) == ("crate", True, 3, 16)
    assert run("classes", "--world", world) == 0
    table = capsys.readouterr().out
    assert "taught, 3 examples" in table
    assert "#80408" in table  # the road's colour
    assert "did you mean 'crate'" in wrong("forget", "crates", "--world", world)
    assert "is a known class" in wrong("forget", "road", "--world", world)


def test_a_preview_stores_nothing_and_paints_what_it_would_cover(
    world: Path, photo: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copy(photo, tmp_path / "other.png")
    before = contents(world)
    words = ("--image", photo, "--mask", mask, "--world", world)
    out = tmp_path / "new" / "out"
    assert run("learn", "crate", *words, "--preview", "--on", other, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "preview of 'crate': nothing was stored" in shown and "% of the mark, IoU 0." in shown
    assert f"{photo.name}: " in shown and "other.png: " in shown and f"2 pictures → {out}" in shown
    assert contents(world) == before
    assert sorted(path.name for path in out.iterdir()) == ["other_preview.jpg", f"{photo.stem}_preview.jpg"]
    picture, original = (np.asarray(Image.open(path)).astype(int) for path in (out / "other_preview.jpg", photo))
    assert picture.shape == original.shape and np.abs(picture - original).max() > 60


def test_a_correction_by_mask(
    world: Path, photo: Path, mask: Path, capsys: pytest.CaptureFixture[str], wrong: Callable[..., str]
) -> None:
    words = ("--image", photo, "--world", world)
    assert "show first what it is" in wrong("learn", "crate", *words, "--not", mask)
    assert run("learn", "crate", *words, "--mask", mask, "--force") == 0
    capsys.readouterr()
    assert run("learn", "crate", *words, "--not", mask) == 0
    assert capsys.readouterr().out.startswith("corrected 'crate' in ")
    assert run("classes", "--world", world) == 0
    assert "taught, 1 example" in capsys.readouterr().out
    assert run("undo", "--world", world) == 0


@pytest.fixture
def shipped(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tiny world as if it had come with the package."""
    from ignota.storage import bundle

    package = tmp_path / "package"
    shutil.copytree(trained, package / "worlds" / "camvid-11")
    files = bundle.resources.files
    monkeypatch.setattr(bundle.resources, "files", lambda name: package if name == "ignota" else files(name))
    return "camvid-11"


def test_shipped_worlds_are_read_only(
    shipped: str, photo: Path, mask: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    line = wrong("learn", "crate", "--image", photo, "--mask", mask, "--world", shipped)
    assert "`ignota init MY-WORLD --from camvid-11`" in line
    assert "`ignota init MY-WORLD --from camvid-11`" in wrong("forget", "crate", "--world", shipped)
    assert "did you mean 'camvid-11'" in wrong("classes", "--world", "camvit-11")
    assert run("init", tmp_path / "mine", "--quiet") == 0
    words = ("--image", photo, "--mask", mask, "--world", tmp_path / "mine", "--quiet", "--force")
    assert run("learn", "crate", *words) == 0
    assert run("segment", photo, "--out", tmp_path / "out", "--quiet") == 0


def test_init_refuses(trained: Path, tmp_path: Path, photo: Path, wrong: Callable[..., str]) -> None:
    (tmp_path / "there").mkdir()
    assert "exists already" in wrong("init", tmp_path / "there", "--from", trained)
    assert "exists already" in wrong("init", photo, "--from", trained)
    assert "is no world" in wrong("init", tmp_path / "mine", "--from", tmp_path)
    assert "no world" in wrong("init", tmp_path / "mine", "--from", "nowhere")


@pytest.mark.parametrize("after", [0, 2])
def test_a_full_disk_leaves_no_results_behind(
    after: int, trained: Path, photo: Path, tmp_path: Path, wrong: Callable[..., str], full_disk: Callable[[int], None]
) -> None:
    full_disk(after)
    assert "no space left" in wrong("segment", photo, "--world", trained, "--out", tmp_path / "out", code=1)


def test_a_full_disk_leaves_no_copy_behind(
    trained: Path, tmp_path: Path, wrong: Callable[..., str], full_disk: Callable[[int], None]
) -> None:
    full_disk(0)
    assert "no space left" in wrong("init", tmp_path / "mine", "--from", trained, code=1).lower()


def test_a_full_disk_keeps_what_was_taught(
    world: Path, photo: Path, mask: Path, wrong: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def cramped(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", cramped)
    call = ("learn", "crate", "--image", photo, "--mask", mask, "--world", world, "--force")
    assert f"no space left on the disk for {world}" in wrong(*call, code=1)
