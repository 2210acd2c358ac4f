"""The page on which groups are named: what it says, what it lets in, and what a browser makes of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ignota.discovery.groups import Group
from ignota.discovery.naming import read_names
from ignota.reports.groups_page import (
    TILE,
    GroupCard,
    GroupsPage,
    contact_sheet,
    missing_tile,
    region_tile,
    render_groups_page,
    write_groups_page,
)

NASTY = "</script><img src=x onerror=alert(1)>\"'&"


def tile(grey: int, size: tuple[int, int] = (96, 60)) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((*size, 3), grey, np.uint8))[1])


def card(key: str, rows: tuple[int, ...], parts: tuple[GroupCard, ...] = ()) -> GroupCard:
    tiles = tuple((row, tile(20 * row)) for row in rows)
    return GroupCard(key, f"Group {key}", tiles, ((str(len(rows)), "regions"),), "nearest: road", parts)


def page(*cards: GroupCard, title: str = "Unknown", state: str = "abc123") -> GroupsPage:
    return GroupsPage(title, "4 regions", cards, state, ("moose", NASTY), "that is all", "ignota discover …")


CARDS = (card("1", (1, 2, 3, 4), (card("1a", (1, 2)), card("1b", (3, 4)))), card("2", (5, 6)), card("3", (7,)))
GROUPS = tuple(
    Group(each.key, tuple(row for row, _ in each.tiles), 1, 1.0, 1.0, 1.0, (), 1,
          tuple(Group(p.key, tuple(row for row, _ in p.tiles), 1, 1.0, 1.0, 1.0, (), 1) for p in each.parts))
    for each in CARDS
)  # fmt: skip


def test_texts_are_escaped_and_nothing_is_loaded() -> None:
    html = render_groups_page(page(*CARDS, title=NASTY, state=NASTY))
    assert "<img src=x" not in html
    assert html.count("<script>") == html.count("</script>") == 1
    assert re.search(r"default-src 'none'; img-src data:; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'\"", html)
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert not re.search(r" on\w+=", html.replace("onerror=alert", ""))


def test_sheets_hold_each_tile_once() -> None:
    sheet = contact_sheet([tile(250 - 10 * i) for i in range(10)], columns=4)
    assert sheet.shape == (3 * (TILE + 4) + 4, 4 * (TILE + 4) + 4, 3)
    for i in range(10):
        y, x = 4 + i // 4 * (TILE + 4) + TILE // 2, 4 + i % 4 * (TILE + 4) + TILE // 2
        assert abs(int(sheet[y, x, 0]) - (250 - 10 * i)) <= 2
    assert (sheet[-10, -10] == 244).all()
    assert contact_sheet([missing_tile()]).shape == (TILE + 8, TILE + 8, 3)
    with pytest.raises(ValueError, match="one tile at least"):
        contact_sheet([])


@pytest.mark.parametrize("place", [(0, 0), (20, 70), (56, 92)])
def test_a_tile_shows_its_region_outlined_wherever_it_lies(place: tuple[int, int]) -> None:
    mask = np.zeros((60, 100), bool)
    mask[place[0] : place[0] + 4, place[1] : place[1] + 8] = True
    image = np.full((60, 100, 3), 60, np.uint8)
    image[mask] = 200
    shown = cv2.imdecode(np.frombuffer(region_tile(image, mask), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None and shown.shape == (TILE, TILE, 3)
    yellow = (shown[..., 2] > 200) & (shown[..., 0] < 120)
    bright = (shown.min(2) > 150) & ~yellow
    assert yellow.sum() > 20 and bright.sum() > 50
    assert 0.4 < (shown.max(2) < 100).mean() < 0.98  # what surrounds it
    with pytest.raises(ValueError, match="empty"):
        region_tile(image, np.zeros((60, 100), bool))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """The page in Chromium; without one the test is skipped."""
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        pytest.skip("no browser: `apt-get install chromium` brings one")
    from playwright.sync_api import sync_playwright

    write_groups_page(tmp_path / "groups.html", page(*CARDS))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(accept_downloads=True)
        faults: list[str] = []
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        tab.goto((tmp_path / "groups.html").as_uri())
        yield tab
        assert faults == []
        browser.close()


def test_names_splits_and_drops_come_out_as_a_file_that_is_understood(opened: Any, tmp_path: Path) -> None:
    assert opened.locator("#export").is_disabled()
    opened.locator('article[data-key="1"] .split').click()
    assert opened.locator('article[data-key="1"]').is_hidden()
    opened.locator('article[data-key="1a"] input').fill('a "big", cow')
    opened.locator('article[data-key="1b"] input').fill("dropped soon")
    opened.locator('article[data-key="1b"] .drop').click()
    opened.locator('article[data-key="2"] input').fill(' a "big", cow ')
    opened.locator('article[data-key="2"] .tile[data-row="6"]').click()
    assert opened.locator("#summary").inner_text() == '1 class: a "big", cow (groups 1a, 2)'
    opened.reload()  # what was typed is kept
    with opened.expect_download() as download:
        opened.locator("#export").click()
    assert download.value.suggested_filename == "names.csv"
    download.value.save_as(tmp_path / "names.csv")
    (cow,) = read_names(tmp_path / "names.csv", GROUPS, "abc123")
    assert (cow.name, cow.keys, cow.rows) == ('a "big", cow', ("1a", "2"), (1, 5, 2))
    opened.locator(".join").click()  # the split undone: the parts and their names count no more
    assert opened.locator('article[data-key="1a"]').is_hidden()
    assert opened.locator("#summary").inner_text() == '1 class: a "big", cow'
