"""The page on which groups of unknown regions are named: one self-contained HTML file."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from ignota.data.files import write_atomically
from ignota.reports.report import policy_hash


@dataclass(frozen=True)
class GroupCard:
    """What the page tells of a group. tiles: (number of the region, its JPEG). facts: (value, what it is)."""

    key: str
    title: str
    tiles: tuple[tuple[int, bytes], ...]
    facts: tuple[tuple[str, str], ...]
    nearest: str
    parts: tuple[GroupCard, ...] = ()


@dataclass(frozen=True)
class GroupsPage:
    """title, subtitle and the groups in order; state: what names.csv is to bear; names: classes there are already.

    note: what else is to be said, at the foot of the page. command: how the names are learnt.
    """

    title: str
    subtitle: str
    cards: tuple[GroupCard, ...]
    state: str
    names: tuple[str, ...]
    note: str
    command: str


def write_groups_page(path: Path, page: GroupsPage) -> None:
    """Writes the page atomically. Raises InputError where it cannot be written."""
    write_atomically(path, render_groups_page(page).encode())


def render_groups_page(page: GroupsPage) -> str:
    """The page as HTML. Every text in it is escaped, and its content policy forbids loading anything."""
    style = "".join(files("ignota.reports").joinpath(name).read_text("utf-8") for name in ("page.css", "groups.css"))
    script = files("ignota.reports").joinpath("groups.js").read_text("utf-8")
    policy = f"default-src 'none'; img-src data:; style-src {policy_hash(style)}; script-src {policy_hash(script)}"
    options = "".join(f'<option value="{escape(name)}">' for name in page.names)
    cards = "".join(_card(card) for card in page.cards)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(page.title)}</title>\n<style>{style}</style>\n</head>\n"
        f'<body data-state="{escape(page.state)}">\n'
        f'<header><h1>{escape(page.title)}</h1><p class="subtitle">{escape(page.subtitle)}</p></header>\n'
        '<div class="bar"><div><output id="summary" aria-live="polite"></output>'
        '<button id="export" type="button">Save names.csv</button></div></div>\n'
        f'<main>\n<p class="help">{_HELP}</p>\n<datalist id="names">{options}</datalist>\n{cards}'
        f'<section class="foot"><p>Then: <code>{escape(page.command)}</code></p><p class="note">{escape(page.note)}</p>'
        f"</section>\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


_HELP = (
    "Give a group a name and it becomes a class. Groups of the same name are merged. Split cuts a group in two; drop "
    "puts it aside. Click a picture that does not belong to its group to leave it out. The regions "
    "themselves are outlined."
)


def _card(card: GroupCard, part: bool = False) -> str:
    key = escape(card.key)
    tiles = "".join(_tile(number, picture) for number, picture in card.tiles)
    facts = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in card.facts)
    parts = "".join(_card(each, part=True) for each in card.parts)
    split = '<button type="button" class="split">Split</button>' if card.parts else ""
    drop = '<button type="button" class="drop" aria-pressed="false">Drop</button>'
    join = '<button type="button" class="join">Undo split</button>' if card.parts else ""
    return (
        f'<article class="group{" part" if part else ""}" data-key="{key}"{" hidden" if part else ""}>'
        f'<div class="head"><h2>{escape(card.title)}</h2>'
        f'<input list="names" maxlength="64" placeholder="what is it?" aria-label="Name of group {key}">'
        f'{split}{drop}</div><div class="body"><dl>{facts}</dl><p class="near">{escape(card.nearest)}</p>'
        f'<div class="tiles">{tiles}</div></div>'
        f"</article>\n"
    ) + (f'<div class="parts" hidden data-of="{key}">{join}{parts}</div>\n' if parts else "")


def _tile(number: int, picture: bytes) -> str:
    uri = base64.b64encode(picture).decode()
    return (
        f'<button type="button" class="tile" data-row="{number}" aria-pressed="false" title="region {number}">'
        f'<img alt="region {number}" loading="lazy" src="data:image/jpeg;base64,{uri}"></button>'
    )
