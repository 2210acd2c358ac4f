"""Frames of a video, one at a time: only a local file in one format, never a play list or a network address.

OpenCV reads them, not PyAV: it is a dependency already, turns frames upright by their metadata, and skips unwanted
frames without converting them. PyAV would bring a second FFmpeg of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from ignota.data.files import one_line
from ignota.data.images import MAX_PIXELS
from ignota.structures import InputError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")

# Play lists and concatenations, which may name other files, are in none of these.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegvideo,mpegts,asf,flv,ogg"
_OPTIONS = f"protocol_whitelist;file|format_whitelist;{_CONTAINERS}"
_LOST = 0.05
"""Containers tell their number of frames roughly; a video that ends sooner than this share before it is cut short."""


def is_video(path: Path) -> bool:
    """By its suffix, because the contents of a folder are classified without opening them."""
    return path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class VideoFrame:
    """One frame that was asked for. index: its number in the video, from 0. image: None where it was not wanted."""

    index: int
    image: UInt8[np.ndarray, "H W 3"] | None


def frame_count(path: Path, every: int = 1) -> int:
    """About how many frames `read_frames` gives, as the container says; raises InputError as it does."""
    with _opened(path) as video:
        return -(-max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))) // every)


def read_frames(path: Path, every: int = 1, wanted: Callable[[int], bool] = lambda _: True) -> Iterator[VideoFrame]:
    """Frames 0, `every`, 2·`every`, … in RGB, upright; those not wanted without their image, one in memory at a time.

    Raises InputError for what is no video, for frames of more than `MAX_PIXELS`, and at the end of one cut short.
    """
    with _opened(path) as video:
        index = 0
        while video.grab():
            if index % every == 0:
                yield VideoFrame(index, _picture(video, path, index) if wanted(index) else None)
            index += 1
        expected = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    if index == 0:
        raise InputError(f"{one_line(path)} holds no frame that can be read; save it again, as MP4 for instance")
    if index < expected * (1 - _LOST) - 1:
        raise InputError(f"{one_line(path)} ends after {index} of {expected} frames: it is cut short; copy it again")


def _picture(video: cv2.VideoCapture, path: Path, index: int) -> UInt8[np.ndarray, "H W 3"]:
    whole, picture = video.retrieve()
    if not whole or picture is None or picture.size == 0:
        raise InputError(f"{one_line(path)} is damaged at frame {index}; copy it again")
    if picture.ndim == 2:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


@contextmanager
def _readable(path: Path) -> Iterator[str]:
    """The path, or a link to it where its name is no UTF-8, of which OpenCV would end the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="ignota-video-") as folder:
            link = Path(folder) / "video"
            link.symlink_to(path)
            yield str(link)
        return
    yield str(path)


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise InputError(f"cannot read {one_line(path)}: no such file; name a video file")
    with _ffmpeg_bounds(), _readable(path.absolute()) as name:
        # the API is named: others read file name patterns and network addresses
        video = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise InputError(f"{one_line(path)} is no video that can be read; save it as MP4, for instance")
        width, height = (int(video.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            raise InputError(f"{one_line(path)} has frames of {width}×{height} pixels; scale it down first")
        yield video
    finally:
        video.release()


@contextmanager
def _ffmpeg_bounds() -> Iterator[None]:
    """OpenCV hears of FFmpeg's options by the environment alone; its own complaints would be a second line of ours."""
    bounds = {"OPENCV_FFMPEG_CAPTURE_OPTIONS": _OPTIONS, "OPENCV_FFMPEG_LOGLEVEL": "-8"}
    before = {key: os.environ.get(key) for key in bounds}
    level = cv2.utils.logging.getLogLevel()
    os.environ.update(bounds)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
