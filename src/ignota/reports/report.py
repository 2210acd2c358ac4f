"""The report: one self-contained HTML file, readable offline, on paper and in dark mode."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ignota.data.files import write_atomically
from ignota.data.images import resize_image
from ignota.reports.charts import Curve, curve_svg, series_class
from ignota.reports.tables import Table, best_cells, format_cell, is_number

MAX_WIDTH = 640
JPEG_QUALITY = 88

_PALETTE_COLOURS = 256


@dataclass(frozen=True)
class PictureRow:
    """Pictures side by side, "H W 3" uint8 RGB each, with a caption of their own."""

    caption: str
    cells: tuple[tuple[str, UInt8[np.ndarray, "_ _ 3"]], ...]


@dataclass(frozen=True)
class Legend:
    """Names and colours (R, G, B in 0..255) of the classes in the pictures around it."""

    entries: tuple[tuple[str, tuple[int, int, int]], ...]


@dataclass(frozen=True)
class Highlights:
    """A few figures that stand out: (figure, what it is)."""

    figures: tuple[tuple[str, str], ...]


Item = Table | Curve | PictureRow | Legend | Highlights


@dataclass(frozen=True)
class Section:
    """A heading, some text (blank lines part paragraphs) and what it shows."""

    title: str
    text: str = ""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole report. provenance: what it takes to make it again (command, configuration, seed, versions)."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> None:
    """Writes the report atomically as one HTML file. Raises InputError where it cannot be written."""
    write_atomically(path, render_report(report).encode())


def render_report(report: Report) -> str:
    """The report as HTML. Every text in it is escaped, and its content policy forbids loading anything."""
    return render_page("report.html", report, ("page.css",), "page.js")


def render_page(template: str, page: object, styles: Sequence[str], script: str) -> str:
    """`page` by a template of this folder, with its style sheets and script inline: HTML that loads nothing."""
    read = [files("ignota.reports").joinpath(name).read_text("utf-8") for name in (*styles, script)]
    style, code = Markup("".join(read[:-1])), Markup(read[-1])
    policy = f"default-src 'none'; img-src data:; style-src {_policy_hash(style)}; script-src {_policy_hash(code)}"
    found = _templates().get_template(template)
    return found.render(page=page, style=style, script=code, policy=Markup(policy)) + "\n"


@cache
def _templates() -> Environment:
    """Templates in which every text is escaped, and what they may call."""
    environment = Environment(
        loader=PackageLoader("ignota", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    asked = (best_cells, format_cell, is_number, curve_svg, series_class, picture_uri)
    environment.globals |= {function.__name__: function for function in asked}
    environment.globals |= {"as_text": _as_text, "base64": _base64, "by_kind": _by_kind, "class": _class}
    return environment


def _by_kind(items: Sequence[Item]) -> list[tuple[str, list[Item]]]:
    """Runs of items of one class, by its name."""
    return [(kind.__name__, list(group)) for kind, group in itertools.groupby(items, key=type)]


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _class(*names: str) -> Markup:
    """The attribute `class` with those of the names that a condition lets through."""
    held = " ".join(name for name in names if name)
    return Markup(' class="{}"').format(held) if held else Markup()


def _policy_hash(source: str) -> str:
    """The content policy's name for an inline style or script."""
    return f"'sha256-{_base64(hashlib.sha256(source.encode()).digest())}'"


def picture_uri(
    picture: UInt8[np.ndarray, "H W 3"], max_width: int = MAX_WIDTH, quality: int = JPEG_QUALITY
) -> tuple[str, tuple[int, int]]:
    """(data URI, (height, width)) of an RGB picture scaled down to at most `max_width`.

    Flat pictures, such as label maps, become indexed PNGs with crisp edges; all others JPEGs. A picture of few colours
    that is noise, which PNG cannot shrink, becomes a JPEG as well. Raises ValueError for anything but "H W 3" uint8.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
        raise ValueError(f"a picture in a report is 'H W 3' uint8 and not empty, not {picture.shape} {picture.dtype}")
    height, width = picture.shape[:2]
    size = (max(1, round(height * max_width / width)), max_width) if width > max_width else (height, width)
    photo = _jpeg(resize_image(picture, size), quality)
    flat = _indexed_png(picture, size)
    if flat is not None and len(flat) <= 2 * len(photo):
        return f"data:image/png;base64,{base64.b64encode(flat).decode()}", size
    return f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}", size


def _jpeg(picture: UInt8[np.ndarray, "H W 3"], quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _indexed_png(picture: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> bytes | None:
    """The picture scaled by nearest neighbour as an indexed PNG; None where it has more than 256 colours."""
    rows, columns = (
        (2 * np.arange(few) + 1) * many // (2 * few) for few, many in zip(size, picture.shape, strict=False)
    )
    small = picture[rows[:, None], columns].astype(np.int32)
    packed = (small[..., 0] << 16) | (small[..., 1] << 8) | small[..., 2]
    colours, index = np.unique(packed, return_inverse=True)
    if len(colours) > _PALETTE_COLOURS:
        return None
    flat = Image.fromarray(index.reshape(size).astype(np.uint8))
    flat.putpalette(np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8).tobytes())
    stream = io.BytesIO()
    flat.save(stream, "PNG", optimize=True)
    return stream.getvalue()
