"""Images on disk: reads untrusted files into checked arrays; writes results atomically."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ignota.data.files import has_all_rows, one_line, write_atomically
from ignota.structures import InputError

MAX_PIXELS = 200_000_000
"""Larger pictures are refused from their header, before anything is decoded."""

# Recognised by content, never by suffix. Formats that run an interpreter (EPS, PDF) are excluded.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")

# What Pillow raises on broken files, plugin by plugin.
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, AttributeError, OverflowError,
    AssertionError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip

# Pillow spreads grey PNGs of 2 and 4 bits over 0..255; labels want the stored values back.
_GREY_SPREAD = {"L;2": 85, "L;4": 17}

_ORIENTATION_TAG = 0x0112


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """The picture as RGB, upright by its EXIF orientation.

    16-bit values are scaled to 8 bits (v / 257), transparent pixels are laid over black, of an animation the first
    frame is taken. Returns uint8 "H W 3". Raises InputError (what, where, how to fix it) for anything but a
    complete picture of at most `max_pixels` pixels.
    """
    with _open_file(Path(path)) as stream:
        return _decode_rgb(stream, str(path), max_pixels)


def decode_image(data: bytes, where: str = "upload", max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """`read_image` for bytes already in memory; `where` names them in errors."""
    return _decode_rgb(io.BytesIO(data), where, max_pixels)


def read_label(path: str | Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W"]:
    """The stored values of an indexed or grey label picture, with no palette applied.

    A colour picture whose channels are equal is read as grey. Returns uint8 "H W". Raises InputError for colour
    pictures, lossy JPEG, values over 255 and all that `read_image` refuses.
    """
    with _open_file(Path(path)) as stream:
        return _decode_label(stream, str(path), max_pixels)


def decode_label(data: bytes, where: str = "upload", max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W"]:
    """`read_label` for bytes already in memory; `where` names them in errors."""
    return _decode_label(io.BytesIO(data), where, max_pixels)


def image_size(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(H, W) from the header alone, as stored (EXIF rotation not applied); raises InputError as `read_image`."""
    with _open_file(Path(path)) as stream:
        width, height = _open_picture(stream, str(path), max_pixels).size
        return height, width


def write_indexed_png(path: Path, labels: UInt8[np.ndarray, "H W"], palette: UInt8[np.ndarray, "256 3"]) -> None:
    """Label values as an indexed PNG: the values stay what they are, the palette shows them in colour."""
    picture = Image.fromarray(np.ascontiguousarray(labels, np.uint8))
    picture.putpalette(palette.astype(np.uint8).tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    write_atomically(path, stream.getvalue())


def write_png16(path: Path, values: Float[np.ndarray, "H W"]) -> None:
    """A map of values in 0..1 as a 16-bit grey PNG, round(65535 v); values outside are clipped, NaN is refused."""
    if np.isnan(values).any():
        raise ValueError(f"{path}: a map to be stored holds NaN")
    scaled = np.rint(np.clip(values, 0.0, 1.0) * 65535.0).astype(np.uint16)
    write_atomically(path, cv2.imencode(".png", scaled)[1].tobytes())


def write_jpeg(path: Path, image: UInt8[np.ndarray, "H W 3"], quality: int = 90) -> None:
    """An RGB picture as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    write_atomically(path, stream.getvalue())


def fit_short_side(height: int, width: int, short: int, max_aspect: float = 8.0) -> tuple[int, int]:
    """(H, W) with the same aspect whose short side is `short`.

    The long side never exceeds `max_aspect`·`short`: a picture of 20,000×1 must not grow to gigapixels.
    """
    scale = min(short / min(height, width), max_aspect * short / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_image(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """To `size` (h, w): area means where it shrinks, bilinear where it grows."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=interpolation), np.uint8)


def resize_label(label: UInt8[np.ndarray, "H W"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """To `size` (h, w) by nearest neighbour on pixel centres, so that labels stay aligned with `resize_image`."""
    if label.shape[:2] == size:
        return label
    return np.asarray(cv2.resize(label, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _open_file(path: Path) -> IO[bytes]:
    try:
        if path.is_file():
            return path.open("rb")
        what = "this is a folder" if path.is_dir() else "this is no plain file" if path.exists() else "no such file"
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from error
    raise InputError(f"cannot read {one_line(path)}: {what}; name an image file")


def _open_picture(stream: IO[bytes], where: str, max_pixels: int) -> ImageFile.ImageFile:
    """Reads the header with the plugin that the content asks for, and refuses pictures that are too large.

    `Image.open` is not used: its own bomb check warns through global state, which no thread pool can silence.
    """
    Image.init()
    try:
        prefix = stream.read(16)
    except OSError as error:  # a disk or a network that fails
        raise _unreadable(where, error) from error
    if not prefix:
        raise InputError(f"{one_line(where)} is empty (0 bytes); copy the picture again")
    for name in _FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None or accept is None:
            continue
        try:
            if accept(prefix) in (False, None) or isinstance(accept(prefix), str):  # a text: the codec is not built in
                continue
            stream.seek(0)
            picture = factory(stream, "")
        except _BROKEN as error:
            raise _broken(where, error) from error
        width, height = picture.size
        if min(width, height) < 1:
            raise InputError(f"{one_line(where)} has no pixels ({width}×{height}); save it again")
        if width * height > max_pixels:
            raise InputError(
                f"{one_line(where)} has {width}×{height} pixels, more than {max_pixels:,}; scale it down first"
            )
        return picture
    raise InputError(f"{one_line(where)} is no picture that can be read; save it as PNG, JPEG or WebP")


def _decode_rgb(stream: IO[bytes], where: str, max_pixels: int) -> NDArray[np.uint8]:
    picture = _open_picture(stream, where, max_pixels)
    try:
        _load(picture, stream, where)
        pixels = _to_rgb(picture, where)
    except InputError:
        raise
    except (*_BROKEN, MemoryError) as error:
        raise _broken(where, error) from error
    return _upright(pixels, _orientation(picture))


def _load(picture: ImageFile.ImageFile, stream: IO[bytes], where: str) -> None:
    """Decodes the pixels; raises InputError for a PNG without its last rows."""
    picture.load()
    if picture.format != "PNG":
        return
    last_row = np.asarray(picture.crop((0, picture.height - 1, picture.width, picture.height)))
    if (picture.info.get("interlace") or not last_row.any()) and not has_all_rows(stream):
        raise _broken(where, "its last rows are missing")


def _to_rgb(picture: Image.Image, where: str) -> NDArray[np.uint8]:
    if picture.mode == "F":
        raise InputError(f"{one_line(where)} holds floating-point values, not colours; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        grey = _from_16_bits(np.asarray(picture), where)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))


def _from_16_bits(values: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise InputError(f"{one_line(where)} holds values outside 0..65535; save it with 8 or 16 bits")
    return ((wide + 128) // 257).astype(np.uint8)


def _decode_label(stream: IO[bytes], where: str, max_pixels: int) -> NDArray[np.uint8]:
    picture = _open_picture(stream, where, max_pixels)
    if picture.format in ("JPEG", "MPO"):
        raise InputError(f"{one_line(where)} is a JPEG, which blurs label values; save labels as PNG")
    try:
        spread = _GREY_SPREAD.get(str(picture.tile[0][3]), 1) if picture.tile else 1
        _load(picture, stream, where)
        values = np.asarray(picture)
    except InputError:
        raise
    except (*_BROKEN, MemoryError) as error:
        raise _broken(where, error) from error
    if values.ndim == 3:
        colour = values[:, :, : values.shape[2] - (picture.mode[-1] in "Aa")]
        if (colour != colour[:, :, :1]).any():
            mend = "save class ids as a single-channel PNG (indexed or grey)"
            raise InputError(f"{one_line(where)} is a colour picture ({picture.mode}), not label values; {mend}")
        values = colour[:, :, 0]
    if values.dtype != np.bool_ and (values.min() < 0 or values.max() > 255):
        raise InputError(f"{one_line(where)} holds label values outside 0..255; renumber its classes into a byte")
    return np.array(values, np.uint8) // np.uint8(spread)


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation 1..8; 1 (upright) where the tag is missing or its block is broken."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except _BROKEN:
        return 1
    return value if value in range(1, 9) else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undoes an EXIF orientation: 5..8 are stored transposed; which axes then run backwards is in the table."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _broken(where: str, error: BaseException | str) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:
        return _unreadable(where, error)
    reason = one_line(str(error) or type(error).__name__)
    return InputError(f"{one_line(where)} is damaged or cut short ({reason}); copy it again or save it again")


def _unreadable(where: str, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return InputError(f"cannot read {one_line(where)}: {reason}; check path and permissions")
