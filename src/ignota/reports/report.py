"""The report: one self-contained HTML file, readable offline, on paper and in dark mode."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ignota.data.files import write_atomically
from ignota.reports.charts import Curve, curve_svg, series_class
from ignota.reports.embedding import picture_uri
from ignota.reports.tables import Table, best_cells, format_cell, is_number


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


_BESIDE: dict[type, str] = {Table: "tables", Curve: "curves"}
"""What stands side by side where there is room, in a box of this class."""

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
    style, script = (files("ignota.reports").joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; img-src data:; style-src {policy_hash(style)}; script-src {policy_hash(script)}"
    sections = "".join(_section(number, section) for number, section in enumerate(report.sections, start=1))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(report.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(report.title)}</h1><p class="subtitle">{escape(report.subtitle)}</p>'
        f"{_contents(report)}</header>\n<main>\n{sections}{_provenance(report.provenance)}</main>\n"
        '<dialog aria-label="Picture"><img alt=""><p></p></dialog>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _contents(report: Report) -> str:
    if len(report.sections) < 3:
        return ""
    links = (f'<a href="#s{n}">{escape(section.title)}</a>' for n, section in enumerate(report.sections, start=1))
    return f'<nav aria-label="Contents">{"".join(links)}</nav>'


def _section(number: int, section: Section) -> str:
    paragraphs = (part.strip() for part in section.text.split("\n\n"))
    text = "".join(f"<p>{escape(part)}</p>" for part in paragraphs if part)
    items = ""
    for kind, group in itertools.groupby(section.items, key=type):
        shown = "".join(_item(item) for item in group)
        beside = _BESIDE.get(kind)
        items += f'<div class="{beside}">{shown}</div>' if beside else shown
    return f'<section id="s{number}"><h2>{escape(section.title)}</h2>{text}{items}</section>\n'


def _item(item: Item) -> str:
    match item:
        case Table():
            return _table(item)
        case Curve():
            return _curve(item)
        case PictureRow():
            return _pictures(item)
        case Legend():
            return _legend(item)
        case Highlights():
            figures = "".join(f"<div><dd>{escape(f)}</dd><dt>{escape(what)}</dt></div>" for f, what in item.figures)
            return f'<dl class="highlights">{figures}</dl>'


def _table(table: Table) -> str:
    best = best_cells(table)
    numeric = [bool(table.rows) and all(is_number(row[i]) for row in table.rows) for i in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{_class("number" if right else "")}>{escape(column)}</th>'
        for column, right in zip(table.columns, numeric, strict=True)
    )
    body = ""
    for index, row in enumerate(table.rows):
        cells = ""
        for i, cell in enumerate(row):
            kind = " ".join(word for word, on in (("number", is_number(cell)), ("best", (index, i) in best)) if on)
            tag = 'th scope="row"' if i == 0 and not is_number(cell) else "td"
            cells += f"<{tag}{_class(kind)}>{escape(format_cell(cell))}</{tag[:2]}>"
        body += f"<tr>{cells}</tr>"
    return (
        f'<figure class="table"><figcaption>{escape(table.title)}</figcaption><div class="scroll" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{_note(table.note)}</figure>"
    )


def _curve(curve: Curve) -> str:
    keys = "".join(
        f'<li><svg class="key" viewBox="0 0 18 8"><path class="line {series_class(n)}" d="M1 4H17"/></svg>'
        f"{escape(name)}</li>"
        for n, name in enumerate(curve.series)
    )
    return (
        f'<figure class="curve"><figcaption>{escape(curve.title)}</figcaption><ul class="keys">{keys}</ul>'
        f"{curve_svg(curve)}{_note(curve.note)}</figure>"
    )


def _pictures(row: PictureRow) -> str:
    cells = ""
    for caption, picture in row.cells:
        uri, (height, width) = picture_uri(picture)
        name, whole = escape(caption), escape(f"{row.caption} · {caption}" if row.caption else caption)
        cells += (
            f'<figure><button class="zoom" type="button" aria-label="Enlarge {whole}" data-caption="{whole}">'
            f'<img src="{uri}" width="{width}" height="{height}" alt="{whole}" decoding="async"></button>'
            f"<figcaption>{name}</figcaption></figure>"
        )
    title = f"<figcaption>{escape(row.caption)}</figcaption>" if row.caption else ""
    return f'<figure class="pictures">{title}<div class="row n{min(len(row.cells), 6)}">{cells}</div></figure>'


def _legend(legend: Legend) -> str:
    entries = "".join(
        f'<li><svg class="chip" viewBox="0 0 10 10"><rect width="10" height="10" rx="2" '
        f'fill="rgb({int(r)},{int(g)},{int(b)})"/></svg>{escape(name)}</li>'
        for name, (r, g, b) in legend.entries
    )
    return f'<ul class="keys legend">{entries}</ul>'


def _provenance(provenance: Mapping[str, Any]) -> str:
    if not provenance:
        return ""
    rows = "".join(
        f"<dt>{escape(str(key))}</dt><dd>{escape(_as_text(value))}</dd>" for key, value in provenance.items()
    )
    return f'<section class="provenance" id="provenance"><h2>How this was made</h2><dl>{rows}</dl></section>\n'


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _note(note: str) -> str:
    return f'<p class="note">{escape(note)}</p>' if note else ""


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def policy_hash(source: str) -> str:
    """The content policy's name for an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
