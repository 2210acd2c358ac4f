"""`ignota calibrate`, and where what it did is seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ignota.cli import main
from ignota.synthetic.streets import SyntheticStreets


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """Three images of one camera, and a file that is none."""
    folder = tmp_path / "camera"
    folder.mkdir()
    streets = SyntheticStreets("anomaly", 3, (60, 120), 5)
    for i in range(3):
        Image.fromarray(streets[i].image).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def mine(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "mine"))


def listed(world: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert run("classes", "--world", world, "--json") == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_calibration_is_told_everywhere_and_undone(
    camera: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(mine, capsys)["calibration"] is None
    files = {path.name: path.read_bytes() for path in mine.iterdir()}
    assert run("calibrate", camera, "--world", mine, "--target-fpr", "0.1") == 0
    told = capsys.readouterr()
    assert "calibrated recipe light on 3 images, target FPR 10 %, unknown" in told.out
    assert "the threshold rests on 3 images: 100 make it sure" in told.err
    changed = {name for name, content in files.items() if (mine / name).read_bytes() != content}
    assert changed == {"exemplars.sqlite"}
    found = listed(mine, capsys)["calibration"]
    assert isinstance(found, dict) and (found["images"], found["target_fpr"], found["recipe"]) == (3, 0.1, "light")
    assert run("classes", "--world", mine) == 0
    assert "recipe light calibrated" in capsys.readouterr().out
    assert run("history", "--world", mine) == 0
    assert "calibrate" in capsys.readouterr().out
    assert run("undo", "--world", mine) == 0
    assert "undid event 1: calibrate 'light'" in capsys.readouterr().out
    assert listed(mine, capsys)["calibration"] is None
    assert run("classes", "--world", mine) == 0
    assert "calibrated" not in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_told_and_the_others_count(
    camera: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (camera / "9.png").write_bytes(b"no picture")
    assert run("calibrate", camera, "--world", mine, "--quiet") == 2
    assert "9.png" in capsys.readouterr().err
    found = listed(mine, capsys)["calibration"]
    assert isinstance(found, dict) and found["images"] == 3


@pytest.mark.parametrize(
    ("words", "line"),
    (
        (("--target-fpr", "0"), "--target-fpr is a share above 0, 0.5 at most, not 0"),
        (("--target-fpr", "lots"), "--target-fpr wants"),
        (("--every", "0"), "--every is 1 or more, not 0"),
    ),
)
def test_a_wrong_call_is_one_line(
    camera: Path, mine: Path, words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("calibrate", camera, "--world", mine, *words) == 2
    told = capsys.readouterr().err
    assert line in told and told.count("\n") == 1


def test_a_shipped_world_and_a_single_image_are_refused(
    camera: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("calibrate", camera, "--world", "camvid-11") == 2
    assert "`ignota init MY-WORLD --from camvid-11`" in capsys.readouterr().err
    assert run("calibrate", camera / "0.png", "--world", mine) == 2
    assert "1 image cannot calibrate a world: give 2 at least, better 100" in capsys.readouterr().err


def test_a_calibrated_world_on_read_only_media_is_read(
    camera: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("calibrate", camera, "--world", mine, "--quiet") == 0
    for path in (*mine.iterdir(), mine):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        found = listed(mine, capsys)["calibration"]
        assert isinstance(found, dict) and found["reference"] > 0
    finally:
        mine.chmod(0o755)
