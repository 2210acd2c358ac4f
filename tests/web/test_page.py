"""The whole story in a browser: open, see the unknown, click, name, see the next image labelled, forget, undo."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ignota.formats.rle import decode_rle
from ignota.world.scene import LEVELS, limit_of

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from tests.web.conftest import Served, Thing

pytestmark = pytest.mark.slow
WAIT = 30_000


@pytest.fixture
def page(browser: Any, folder: Path, serve: Callable[..., Served]) -> Iterator[Page]:
    """The page of the tiny world; every error in it fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    opened.set_default_timeout(WAIT)
    opened.goto(serve(folder).link)
    yield opened
    expected = [fault for fault in faults if "status of 409" not in fault]
    assert expected == []


def open_files(page: Page, **files: bytes) -> None:
    page.set_input_files("#files", [{"name": n, "mimeType": "image/png", "buffer": data} for n, data in files.items()])
    page.locator("#frames li[data-status=open]").nth(len(files) - 1).wait_for()


def show(page: Page, name: str) -> None:
    page.click(f'#frames [aria-label^="{name},"]')
    page.locator(f'#frames [aria-label^="{name},"][aria-current=true]').wait_for()


def click_pixel(page: Page, x: float, y: float, size: tuple[int, int]) -> None:
    box = page.locator("#picture").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + (x + 0.5) * box["width"] / size[1], box["y"] + (y + 0.5) * box["height"] / size[0])


READ = """async (name) => {
    const { current, pick } = (await import("/session.js")).session;
    const read = {
        labels: () => [...current.planes.labels],
        shown: () => [...current.planes.effective],
        pick: () => pick && [...pick.extent.mask],
        name: () => pick && pick.extent.name,
        extents: () => pick.extents.map((extent) => extent.name),
    };
    return read[name]();
}"""


def session(page: Page, name: str) -> Any:
    """A value of the page's own state, which tests may read and people may not see."""
    return page.evaluate(READ, name)


def slide(page: Page, threshold: float) -> None:
    """Moves the slider."""
    page.evaluate(
        "(value) => { const slider = document.getElementById('threshold'); slider.value = value;"
        " slider.dispatchEvent(new Event('input')); }", threshold,
    )  # fmt: skip


def set_threshold(page: Page, threshold: float) -> None:
    """A threshold between the steps of the slider."""
    page.evaluate(
        "async (value) => { const { session, tell } = await import('/session.js');"
        " session.threshold = value; tell('threshold'); }", threshold,
    )  # fmt: skip


def taught(page: Page) -> list[str]:
    return page.locator("#taught strong").all_text_contents()


def pick_region(page: Page, thing: Thing) -> None:
    """Clicks the thing and goes down to the region between edges."""
    click_pixel(page, thing.x, thing.y, thing.mask.shape)
    page.locator("#naming").wait_for()
    for _ in range(4):
        if session(page, "name") == "region":
            break
        page.keyboard.press("-" if session(page, "extents").index("region") == 0 else "+")
    assert session(page, "name") == "region"


@pytest.mark.parametrize("thing", ["drawn", "photographed"], indirect=True)
def test_the_whole_story(page: Page, thing: Thing, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("IGNOTA_SCREENSHOTS", tmp_path))
    open_files(page, **{"a.png": thing.photo, "b.png": thing.twin})
    show(page, "a.png")
    before = session(page, "labels")
    pick_region(page, thing)
    np.testing.assert_array_equal(np.reshape(session(page, "pick"), thing.mask.shape) > 0, thing.mask)
    page.screenshot(path=pictures / "picked.png")
    page.keyboard.type("moose")
    page.keyboard.press("Enter")
    page.locator("#taught strong, #doubts:not([hidden])").wait_for()
    if page.locator("#doubts").is_visible():  # the tiny world knows too little to tell things apart
        page.keyboard.press("Enter")
    page.locator("#naming").wait_for(state="hidden")
    assert taught(page) == ["moose"]
    assert 16 in session(page, "labels") and 16 not in before
    show(page, "b.png")
    assert 16 in session(page, "labels")
    page.screenshot(path=pictures / "recognised.png")
    assert page.locator("#taught small").inner_text() == "1 example"
    src = page.locator("#taught img").get_attribute("src")
    assert src is not None and src.startswith("data:image/jpeg")
    page.click('[aria-label="Forget moose"]')
    page.locator("#taught-note").wait_for()
    assert 16 not in session(page, "labels")
    page.keyboard.press("Control+z")
    page.locator("#taught strong").wait_for()
    assert 16 in session(page, "labels")
    page.click("#taught .row")
    page.fill("#edit-name", "elk")
    page.click("#edit button[value=save]")
    page.locator("#taught strong", has_text="elk").wait_for()
    show(page, "a.png")
    page.click("#undo")
    page.locator("#taught strong", has_text="moose").wait_for()


def test_the_page_picks_what_the_server_picks(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo})
    values = np.unique(session(page, "shown"))
    rng = np.random.default_rng(0)
    height, width = thing.mask.shape
    seen = set()
    for part in np.linspace(0.1, 0.8, 12):  # thresholds on a value of the plane, and a little beside it
        value = float(values[int(part * len(values))]) + float(rng.choice([-0.4, 0, 0, 0.4]))
        set_threshold(page, value / 65535)
        x, y = int(rng.integers(width)), int(rng.integers(height))
        page.evaluate(
            "async (at) => { const { pick } = await import('/stage.js');"
            " const { session } = await import('/session.js'); pick(session.current, at); }", y * width + x,
        )  # fmt: skip
        told = page.evaluate(
            "async () => { const { session } = await import('/session.js'); const { post } = await import('/api.js');"
            " const { pick } = session; return Promise.all(pick.extents.map(async (extent) => [extent.name,"
            " [...extent.mask], (await post('api/select', pick.mark(extent))).rle])); }"
        )
        for name, mask, rle in told:
            np.testing.assert_array_equal(np.reshape(mask, (height, width)) > 0, decode_rle(rle))
            seen.add(name)
    assert {"region", "unknown"} <= seen


def test_the_threshold_acts_at_once_and_asks_nobody(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    levels = np.array(session(page, "shown"))
    for value in (0.1, 0.3, 0.7, 0.9):
        slide(page, value)
        pixels = page.evaluate(
            "() => { const c = document.getElementById('overlay');"
            " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"
        )
        painted = np.reshape(pixels, (-1, 4))
        pink = (painted[:, 0] > 250) & (painted[:, 1] < 70) & (painted[:, 2] > 150) & (painted[:, 2] < 170)
        np.testing.assert_array_equal(pink, levels > limit_of(value))
        page.wait_for_function(f"document.querySelector('#frames li b').textContent === '{100 * pink.mean():.1f} %'")
    assert requests == []


def test_page_and_server_turn_a_threshold_into_the_same_integer(page: Page) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, 500)
    exact = levels / 65535
    thresholds = [
        *np.linspace(0, 1, 201),
        *exact,
        *np.nextafter(exact, 0),
        *np.nextafter(exact, 1),
        *(levels - 0.5) / 65535,
    ]
    thresholds = [float(value) for value in thresholds if 0 <= value <= 1]
    found = page.evaluate(
        "async (values) => { const { FULL, limitOf } = await import('/planes.js');"
        " return [FULL, ...values.map(limitOf)]; }",
        thresholds,
    )
    assert found == [LEVELS, *map(limit_of, thresholds)]


def test_by_keyboard_alone(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo})
    slide(page, float(np.median(session(page, "shown"))) / 65535)
    page.locator("#unknowns li").first.wait_for()
    page.locator("#picture").focus()
    page.keyboard.press("u")
    page.locator("#hover-lines[d]:not([d=''])").wait_for(state="attached")  # drawn with the next frame
    page.keyboard.press("Enter")
    page.locator("#naming").wait_for()
    assert page.evaluate("document.activeElement.id") == "name"
    page.keyboard.press("Escape")
    page.locator("#naming").wait_for(state="hidden")
    for key, pressed in (("h", "view-heat"), ("l", "view-labels"), ("r", "view-regions")):
        page.keyboard.press(key)
        assert page.locator(f"#{pressed}").get_attribute("aria-pressed") == "true"
    assert page.locator("#region-lines").get_attribute("d")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()


def test_a_refused_lesson_says_what_it_would_steal_and_can_be_forced(page: Page, thing: Thing) -> None:
    lesson = {"name": "it", "examples": 1, "pixels": 9, "recognised": 1, "stolen": {"road": 0.4}, "stolen_held": {}}
    refusal = {"error": "no", "lesson": {**lesson, "doubts": ["40 % of 'road' on these images"]}}

    def answer(route: Any) -> None:
        if json.loads(route.request.post_data)["force"]:
            route.continue_()
        else:
            route.fulfill(status=409, body=json.dumps(refusal))

    page.route("**/api/learn", answer)
    open_files(page, **{"a.png": thing.photo})
    pick_region(page, thing)
    page.fill("#name", "it")
    page.keyboard.press("Enter")
    page.locator("#doubts").wait_for()
    assert "40 % of 'road' on these images" in page.locator("#doubts").inner_text()
    assert taught(page) == []
    page.click("#force")
    page.locator("#taught strong").wait_for()
    assert taught(page) == ["it"]


def test_a_box_is_drawn_and_the_results_are_saved(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo})
    box = page.locator("#picture").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=5)
    page.mouse.up()
    page.locator("#naming").wait_for()
    mask = np.reshape(session(page, "pick"), thing.mask.shape) > 0
    assert mask.any() and not mask[:, : int(0.18 * 96)].any() and not mask[:, int(0.63 * 96) :].any()
    page.keyboard.press("Escape")
    with page.expect_download() as caught:
        page.click("#export")
    archive = zipfile.ZipFile(io.BytesIO(Path(caught.value.path()).read_bytes()))
    assert sorted(archive.namelist()) == ["a.json", "a_anomaly.png", "a_labels.png", "classes.json"]


def test_themes_differ_and_the_choice_lasts(page: Page) -> None:
    shade = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(shade)
    page.click("#theme")
    dark = page.evaluate(shade)
    assert dark != light
    page.reload()
    assert page.evaluate(shade) == dark


def test_without_a_token_the_page_says_where_it_is(browser: Any, folder: Path, serve: Callable[..., Served]) -> None:
    served = serve(folder, "--host", "0.0.0.0")
    stranger = browser.new_page()
    stranger.goto(served.link.partition("#")[0])
    stranger.locator(".toast", has_text="it bears the token").wait_for()
    guest = browser.new_page()
    guest.goto(served.link)
    guest.locator("#known li").first.wait_for()
    assert "token" not in guest.url
