"""Frames of videos: order, steps, and files that are no videos or cut short."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ignota.data import video
from ignota.data.video import frame_count, is_video, read_frames
from ignota.structures import InputError


def write_video(path: Path, frames: int = 12, fourcc: str = "FFV1") -> Path:
    """Frames whose red tells their number; FFV1 keeps every bit."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*fourcc), 10, (96, 48))
    assert writer.isOpened()
    for number in range(frames):
        picture = np.zeros((48, 96, 3), np.uint8)
        picture[:, :, 2] = 20 * number
        writer.write(picture)
    writer.release()
    return path


@pytest.mark.parametrize(("every", "expected"), [(1, list(range(12))), (5, [0, 5, 10]), (100, [0])])
def test_every_nth_frame_in_order(tmp_path: Path, every: int, expected: list[int]) -> None:
    path = write_video(tmp_path / "a.mkv")
    found = list(read_frames(path, every))
    assert [frame.index for frame in found] == expected
    assert frame_count(path, every) == len(expected)
    for frame in found:
        assert frame.image is not None
        assert frame.image.shape == (48, 96, 3)
        assert abs(int(frame.image[20, 50, 0]) - 20 * frame.index) <= 3  # red comes first: RGB
        assert frame.image[20, 50, 2] <= 3


def test_frames_that_are_not_wanted_come_without_image(tmp_path: Path) -> None:
    found = list(read_frames(write_video(tmp_path / "a.mkv"), 4, lambda index: index == 4))
    assert [(frame.index, frame.image is None) for frame in found] == [(0, True), (4, False), (8, True)]


def test_videos_are_told_by_their_suffix() -> None:
    assert is_video(Path("a.MP4"))
    assert not is_video(Path("a.png"))


def _cut(path: Path) -> None:
    whole = write_video(path.with_name("whole.mkv")).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _secret(path: Path, text: str) -> None:
    write_video(path.with_name("secret.mkv"))
    path.write_text(text)


WRONG = {
    "missing": ("a.mp4", lambda path: None, "no such file"),
    "text": ("a.mp4", lambda path: path.write_text("hello"), "is no video"),
    "empty": ("a.mp4", lambda path: path.write_bytes(b""), "is no video"),
    "a folder": ("a.mp4", lambda path: path.mkdir(), "no such file"),
    "cut short": ("a.mkv", _cut, "it is cut short"),
    "a file name pattern": ("a_%02d.mp4", lambda path: path.write_text("hello"), "is no video"),
    "a list that names files": (
        "a.mp4",
        lambda path: _secret(path, "ffconcat version 1.0\nfile secret.mkv\n"),
        "is no",
    ),
    "a play list": ("a.mp4", lambda path: _secret(path, "#EXTM3U\n#EXTINF:1,\nsecret.mkv\n#EXT-X-ENDLIST\n"), "is no"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_video(case: str, tmp_path: Path) -> None:
    name, make, part = WRONG[case]
    make(tmp_path / name)
    before = dict(os.environ)
    with pytest.raises(InputError, match=part):
        list(read_frames(tmp_path / name))
    assert dict(os.environ) == before


def test_frames_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "MAX_PIXELS", 96 * 48 - 1)
    with pytest.raises(InputError, match="scale it down"):
        frame_count(write_video(tmp_path / "a.mkv"))
