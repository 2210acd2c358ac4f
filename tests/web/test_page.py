"""The whole story in a browser: open, see the unknown, click, name, see the next image labelled, forget, undo."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from ignota.cli import main
from ignota.formats.rle import decode_rle
from ignota.perception.scene import LEVELS, limit_of
from ignota.storage import bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Page
    from tests.web.conftest import Served, Thing

pytestmark = pytest.mark.slow
WAIT = 30_000


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Page]:
    """The page of the tiny world; every error in it fails the test, except what the server refuses."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    opened.set_default_timeout(WAIT)
    opened.goto(served.link)
    yield opened
    opened.context.close()
    for label in asked(served, "classes")["classes"]:
        if label["taught"]:
            asked(served, "forget", {"name": label["name"]})
    assert [fault for fault in faults if not re.search("status of 4(00|04|09)", fault)] == []


def asked(served: Served, path: str, body: Any = None) -> Any:
    """What the server answers to a program."""
    headers = {"content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"http://127.0.0.1:{served.port}/api/{path}", data, headers), timeout=60) as answer:
        return json.load(answer)


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
    const { opened, session: { current, pick } } = await import("/session.js");
    const read = {
        labels: () => [...current.planes.labels],
        shown: () => [...current.planes.effective],
        pick: () => pick && [...pick.extent.mask],
        name: () => pick && pick.extent.name,
        extents: () => pick.extents.map((extent) => extent.name),
        view: () => current.view,
        preview: () => current.preview && [...current.preview.ids],
        names: () => opened().map((item) => item.name),
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
        page.keyboard.press("," if session(page, "extents").index("region") == 0 else ".")
    assert session(page, "name") == "region"


def objects(page: Page, thing: Thing) -> NDArray[np.int64]:
    """The plane of whole unknown objects."""
    found = page.evaluate("async () => [...(await import('/session.js')).session.current.planes.objects]")
    return np.reshape(found, thing.mask.shape)


def hover_pixel(page: Page, x: float, y: float, size: tuple[int, int]) -> None:
    box = page.locator("#picture").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + (x + 0.5) * box["width"] / size[1], box["y"] + (y + 0.5) * box["height"] / size[0])


def learn_typed(page: Page) -> None:
    """Enter, once more where the tiny world knows too little to tell things apart."""
    page.keyboard.press("Enter")
    page.locator("#naming[hidden], #doubts:not([hidden])").wait_for(state="attached")
    if page.locator("#doubts").is_visible():
        page.keyboard.press("Enter")
    page.locator("#naming").wait_for(state="hidden")


@pytest.mark.parametrize("thing", ["drawn", "photographed"], indirect=True)
def test_the_whole_walk(page: Page, thing: Thing, tmp_path: Path) -> None:
    """Open, hover, click, preview, minus click, brush, Enter, next image, reload, undo."""
    pictures = Path(os.environ.get("IGNOTA_SCREENSHOTS", tmp_path))
    open_files(page, **{"a.png": thing.photo, "b.png": thing.twin})
    show(page, "a.png")
    before = session(page, "labels")
    whole = objects(page, thing) == 1
    y, x = np.argwhere(whole)[whole.sum() // 2].tolist()
    hover_pixel(page, x, y, thing.mask.shape)
    page.wait_for_function(LIT, arg=int(whole.sum()))  # all of the object
    page.screenshot(path=pictures / "1-hover.png")
    pick_region(page, thing)
    np.testing.assert_array_equal(picked(page, thing), thing.mask)
    page.keyboard.type("moose")
    page.locator("#preview", has_text="covers").wait_for()
    page.screenshot(path=pictures / "2-preview.png")
    move_card(page)
    far = np.argwhere(~thing.mask[:24])
    row, column = far[np.abs(far - (thing.y, thing.x)).sum(1).argmax()].tolist()
    page.keyboard.down("Alt")
    click_pixel(page, column, row, thing.mask.shape)
    page.keyboard.up("Alt")
    np.testing.assert_array_equal(picked(page, thing), thing.mask)  # what is not the class lies beside it
    page.locator("#picture").focus()
    page.keyboard.press("b")
    click_pixel(page, thing.x, thing.y, thing.mask.shape)
    painted = picked(page, thing)
    assert painted[thing.mask].all()
    page.screenshot(path=pictures / "3-brushed.png")
    page.locator("#name").focus()
    with page.expect_request("**/api/learn") as asked_for:
        learn_typed(page)
    sent = json.loads(asked_for.value.post_data or "")
    np.testing.assert_array_equal(decode_rle(sent["examples"][0]["rle"]), painted)
    assert decode_rle(sent["against"][0]["rle"])[row, column]
    assert taught(page) == ["moose"] and 16 in session(page, "labels") and 16 not in before
    show(page, "b.png")
    assert 16 in session(page, "labels")
    page.screenshot(path=pictures / "4-next.png")
    page.reload()
    page.locator("#frames li[data-status=open]").nth(1).wait_for()
    page.locator('#frames [aria-label^="b.png,"][aria-current=true]').wait_for()
    assert taught(page) == ["moose"] and 16 in session(page, "labels")
    page.locator("#picture").focus()
    page.keyboard.press("Control+z")
    page.locator("#taught-note").wait_for()
    assert taught(page) == [] and 16 not in session(page, "labels")


def test_a_taught_class_is_forgotten_renamed_and_had_back(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo, "b.png": thing.twin})
    show(page, "a.png")
    pick_region(page, thing)
    page.keyboard.type("moose")
    learn_typed(page)
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
    show(page, "b.png")
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
            "async (at) => { const { pick } = await import('/picking.js');"
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


def test_a_click_at_the_world_s_threshold_picks_a_whole_object(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo})
    height, width = thing.mask.shape
    whole = objects(page, thing) == 1
    at = int(np.flatnonzero(whole)[0])
    found = page.evaluate(
        "async (at) => { const { pick } = await import('/picking.js'); const { post } = await import('/api.js');"
        " const { session } = await import('/session.js'); pick(session.current, at);"
        " const { extent, mark } = session.pick; const { rle } = await post('api/select', mark(extent));"
        " return [extent.name, [...extent.mask], rle]; }", at,
    )  # fmt: skip
    assert found[0] == "object"
    np.testing.assert_array_equal(np.reshape(found[1], (height, width)) > 0, whole)
    np.testing.assert_array_equal(decode_rle(found[2]), whole)
    with page.expect_response("**/api/select") as told:  # a further click asks for a coarser or finer object
        page.evaluate(
            "async (at) => { const { pick } = await import('/picking.js');"
            " const { session } = await import('/session.js'); pick(session.current, at, 'minus'); }",
            int(np.flatnonzero(whole)[-1]),
        )
    click = json.loads(told.value.request.post_data or "")["click"]
    assert len(click["minus"]) == 1 and not click["plus"] and told.value.ok
    page.locator("#extent-name", has_text="what the clicks mean").wait_for()
    np.testing.assert_array_equal(picked(page, thing), decode_rle(told.value.json()["rle"]))
    page.keyboard.press("Escape")


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
        page.locator("#frames li b", has_text=f"{100 * pink.mean():.1f} %").first.wait_for()
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


def picked(page: Page, thing: Thing) -> NDArray[np.bool_]:
    return np.reshape(session(page, "pick"), thing.mask.shape) > 0


def drag(page: Page, first: tuple[float, float], last: tuple[float, float], button: Any = "left") -> None:
    """From one place to another, in shares of the window that the picture lies in."""
    box = page.locator("#view").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + first[0] * box["width"], box["y"] + first[1] * box["height"])
    page.mouse.down(button=button)
    page.mouse.move(box["x"] + last[0] * box["width"], box["y"] + last[1] * box["height"], steps=6)
    page.mouse.up(button=button)


def move_card(page: Page) -> None:
    """Pulls the card to the lower left corner by its edge."""
    box, view = page.locator("#naming").bounding_box(), page.locator("#view").bounding_box()
    assert box is not None and view is not None
    page.mouse.move(box["x"] + 6, box["y"] + 6)
    page.mouse.down()
    page.mouse.move(view["x"], view["y"] + view["height"], steps=3)
    page.mouse.up()
    moved = page.locator("#naming").bounding_box()
    assert moved is not None and moved["x"] < view["x"] + 20
    assert view["y"] + view["height"] - 20 < moved["y"] + moved["height"] < view["y"] + view["height"]


def test_a_mask_is_mended_by_hand(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo})
    pick_region(page, thing)
    move_card(page)
    page.locator("#picture").focus()
    page.keyboard.press("b")
    assert page.locator("#tool-brush").get_attribute("aria-pressed") == "true"
    drag(page, (0.1, 0.3), (0.4, 0.3))
    painted = picked(page, thing)
    assert painted[thing.mask].all() and painted.sum() > thing.mask.sum()
    page.keyboard.press("]")
    page.keyboard.press("e")
    drag(page, (0.1, 0.3), (0.3, 0.3))
    erased = picked(page, thing)
    assert erased.sum() < painted.sum() and not (erased & ~painted).any()
    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(picked(page, thing), painted)
    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(picked(page, thing), thing.mask)
    page.keyboard.press("Control+Shift+z")
    np.testing.assert_array_equal(picked(page, thing), painted)
    assert taught(page) == []  # nothing of the world was taken back
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    box = page.locator("#picture").bounding_box()
    assert box is not None
    for x, y in ((0.1, 0.1), (0.3, 0.1), (0.3, 0.3)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.keyboard.press("Enter")
    corner = picked(page, thing)  # half of the rectangle of the three corners
    assert (
        corner.sum() == pytest.approx(0.5 * 0.2 * 0.2 * corner.size, rel=0.15) and not corner[:, : int(0.09 * 96)].any()
    )


def test_clicks_add_and_take_away(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo})
    pick_region(page, thing)
    page.keyboard.type("moose")
    move_card(page)
    outside = np.argwhere(~thing.mask[:24])
    row, column = outside[np.abs(outside - (thing.y, thing.x)).sum(1).argmax()].tolist()

    def click(key: str) -> NDArray[np.bool_]:
        page.keyboard.down(key)
        click_pixel(page, column, row, thing.mask.shape)
        page.keyboard.up(key)
        return picked(page, thing)

    both = click("Shift")
    assert both[thing.mask].all() and both[row, column] and page.input_value("#name") == "moose"
    left = click("Alt")
    assert left.any() and not left[row, column]
    np.testing.assert_array_equal(click("Alt"), left)  # outside the pick: what is not the class
    page.locator("#name").focus()
    with page.expect_request("**/api/learn") as asked:
        page.keyboard.press("Enter")
    sent = json.loads(asked.value.post_data or "")
    (against,) = sent["against"]
    assert decode_rle(against["rle"])[row, column]
    np.testing.assert_array_equal(decode_rle(sent["examples"][0]["rle"]), left)


LIT = """(wanted) => {
    const canvas = document.getElementById("light");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value > 0).length === wanted;
}"""
LARGEST = """async () => {
    const { partsOf } = await import("/picking.js");
    return partsOf((await import("/session.js")).session.current).kept[0].area;
}"""


def test_the_pointer_lights_up_the_whole_unknown_region(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo})
    slide(page, float(np.median(session(page, "shown"))) / 65535)
    page.locator("#unknowns li").first.hover()
    largest = page.evaluate(LARGEST)
    assert largest > 0
    page.wait_for_function(LIT, arg=largest)


def test_zoom_pan_and_all_that_is_there_after_a_reload_and_a_restart(
    page: Page, thing: Thing, folder: Path, serve: Callable[..., Served]
) -> None:
    first = serve(folder)
    page.goto(first.link)
    open_files(page, **{"a.png": thing.photo, "b.png": thing.twin})
    show(page, "b.png")
    pick_region(page, thing)
    page.keyboard.type("moo")
    move_card(page)
    box = page.locator("#picture").bounding_box()
    assert box is not None
    spot = box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"]
    page.mouse.move(*spot)
    page.mouse.wheel(0, -600)
    page.wait_for_function("(wide) => document.getElementById('picture').clientWidth > 1.5 * wide", arg=box["width"])
    grown = page.locator("#picture").bounding_box()
    assert grown is not None
    assert (spot[0] - grown["x"]) / grown["width"] == pytest.approx(0.6, abs=0.02)
    drag(page, (0.8, 0.3), (0.7, 0.25), button="middle")
    moved = page.locator("#picture").bounding_box()
    assert moved is not None and moved["x"] < grown["x"] - 20 and moved["width"] == pytest.approx(grown["width"])
    np.testing.assert_array_equal(picked(page, thing), thing.mask)  # pulling picks nothing
    page.locator("#picture").focus()
    page.keyboard.press("h")
    slide(page, 0.3)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    def is_there() -> None:
        page.locator("#frames li[data-status=open]").nth(1).wait_for()
        assert page.locator('#frames [aria-label^="b.png,"]').get_attribute("aria-current") == "true"
        assert sorted(session(page, "names")) == ["a.png", "b.png"]
        np.testing.assert_array_equal(picked(page, thing), thing.mask)
        assert page.input_value("#name") == "moo"
        assert page.locator("#view-heat").get_attribute("aria-pressed") == "true"
        assert page.input_value("#threshold") == "0.3"
        assert page.locator("#picture").bounding_box() == pytest.approx(moved, abs=1)

    page.reload()
    is_there()
    assert not any("/api/segment" in url for url in requests)  # the server had them still
    page.goto("about:blank")
    first.stop()
    page.goto(serve(folder, "--port", str(first.port)).link)
    is_there()
    assert sum("/api/segment" in url for url in requests) == 2
    page.locator("#picture").focus()
    page.keyboard.press("0")
    assert page.locator("#picture").bounding_box() == pytest.approx(box, abs=1)
    for name in ("a.png", "b.png"):
        page.locator(f'#frames li:has([aria-label^="{name},"])').hover()
        page.click(f'[aria-label="Close {name}"]')
    page.reload()
    page.locator("#known li").first.wait_for()
    assert page.locator("#empty").is_visible() and page.locator("#frames li").count() == 0


def test_a_preview_is_drawn_before_anything_is_learnt(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo, "b.png": thing.twin})
    show(page, "a.png")
    pick_region(page, thing)
    page.locator("#preview", has_text="covers").wait_for()
    assert re.search(r"covers .+ % of your mark, .+ % outside", page.inner_text("#preview"))
    seen = np.array(session(page, "preview"))
    assert seen.any() and taught(page) == []
    page.keyboard.type(page.locator("#known li").first.inner_text().split()[0])
    page.locator("#preview", has_text="is a known class").wait_for()
    page.fill("#name", "moose")
    page.locator("#preview", has_text="covers").wait_for()
    learn_typed(page)
    np.testing.assert_array_equal(np.array(session(page, "labels")) == 16, seen > 0)
    assert session(page, "preview") is None


def test_what_is_no_picture_is_named(page: Page, thing: Thing) -> None:
    page.set_input_files("#files", [{"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"}])
    page.locator(".toast.bad", has_text="notes.txt is no picture").wait_for()
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": thing.photo[:99]}
    page.route("**/api/segment*", lambda route: route.fulfill(status=400, body=json.dumps({"error": "no picture"})))
    page.set_input_files("#files", [broken])
    page.locator(".toast.bad", has_text="broken.png: no picture").wait_for()
    assert page.locator("#frames li").count() == 0 and page.locator("#empty").is_visible()


CUT = """() => {
    const all = document.querySelectorAll("header *, .status *, .tools *, .naming *, .toasts *, .empty *");
    const cut = (one) => {
        const box = one.getBoundingClientRect();
        const within = one.matches("button") && one.scrollWidth > one.clientWidth + 1;
        return within || box.left < 0 || box.right > innerWidth + 1;
    };
    return [...all].filter((one) => one.checkVisibility() && cut(one)).map((one) => one.id || one.tagName);
}"""
SMALL = """() => [...document.querySelectorAll("button, input, select")].filter((one) => one.checkVisibility()).filter(
    (one) => Math.min(one.getBoundingClientRect().width, one.getBoundingClientRect().height) < 24).map((one) =>
    one.id || one.className)"""
COVERED = """() => {
    const boxes = ["header", ".view", ".tools", ".status", ".toasts", ".strip"].map((name) => [name,
        document.querySelector(name).getBoundingClientRect()]).filter(([, box]) => box.width * box.height > 0);
    return boxes.flatMap(([a, one], i) => boxes.slice(i + 1).filter(([, other]) =>
        Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
        Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1).map(([b]) => `${a} ${b}`));
}"""


@pytest.mark.parametrize("size", [(1280, 800), (420, 860)])
def test_nothing_is_cut_and_messages_cover_nothing(page: Page, thing: Thing, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.set_input_files("#files", [{"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"}])
    page.locator(".toast").wait_for()
    assert page.evaluate(CUT) == []
    open_files(page, **{"a.png": thing.photo})
    pick_region(page, thing)
    page.locator("#preview", has_text="covers").wait_for()
    assert page.locator(".toast").is_visible()
    assert page.evaluate(CUT) == [] and page.evaluate(COVERED) == []
    assert page.evaluate(SMALL) == []  # WCAG 2.2, 2.5.8


def test_pieces_of_a_class_are_accepted_and_rejected(page: Page, thing: Thing) -> None:
    open_files(page, **{"a.png": thing.photo, "b.png": thing.twin})
    show(page, "a.png")
    pick_region(page, thing)
    page.keyboard.type("moose")
    learn_typed(page)
    page.locator("#taught .row").click()
    page.click("#edit-review")
    page.locator("#review-list li").first.wait_for()
    number = page.locator("#review-list li").count()
    assert 1 <= number <= 12
    page.click("#review-none")
    page.click('#review-list li:first-child [data-verdict="accepted"]')
    with page.expect_request("**/api/learn") as asked:
        page.click("#review-learn")
    sent = json.loads(asked.value.post_data or "")
    assert (sent["name"], len(sent["examples"]), len(sent["against"])) == ("moose", 1, number - 1)
    page.locator(".toast", has_text="Learnt moose from 1 example").wait_for()
    assert page.locator("#taught small").inner_text() == "2 examples"


def test_a_folder_is_browsed_and_a_group_named(
    page: Page, folder: Path, serve: Callable[..., Served], files: list[bytes], tmp_path: Path
) -> None:
    photos, found = tmp_path / "photos", tmp_path / "found"
    photos.mkdir()
    for number in range(70):
        (photos / f"p{number}.png").write_bytes(files[number % 3] if number < 3 else files[0])
    (photos / "<b>q.png").write_bytes(b"words")
    some = [str(photos / f"p{number}.png") for number in range(3)]
    assert main(["discover", *some, "--world", str(folder), "--out", str(found), "--smallest", "2", "--quiet"]) == 0
    page.goto(serve(folder, "--images", str(photos), "--results", str(found)).link)
    page.click("#browse-first")
    page.locator(".cell img[src]").nth(9).wait_for()
    assert page.locator("#page-place").inner_text() == "1 to 60 of 71"
    page.click("#page-on")
    page.locator("#page-place", has_text="61 to 71 of 71").wait_for()
    page.select_option("#folder-least", "0.005")
    page.locator("#page-place", has_text="of 3").wait_for()
    page.click(".cell:not(.busy)")
    page.locator("#frames li[data-status=open]").wait_for()
    assert not page.locator("#gallery").is_visible() and page.locator("#picture").is_visible()
    (name,) = session(page, "names")
    page.click("#browse")
    page.locator(f'.cell[title="{name}"]').click()  # which is open already
    page.locator("#gallery").wait_for(state="hidden")
    assert session(page, "names") == [name]
    page.click("#browse")
    page.click("#list-groups")
    page.locator(".tiles img[src]").first.wait_for()
    page.click(".group:first-child .tiles button:first-child")
    page.fill(".group:first-child input", "thing")
    with page.expect_request("**/api/groups/learn") as asked_for:
        page.keyboard.press("Enter")
    assert len(json.loads(asked_for.value.post_data or "")["without"]) == 1
    row = page.locator(".group:first-child")
    row.get_by_text(re.compile("Taught as thing|is not taught")).wait_for()
    if row.get_by_role("button", name="Teach it anyway").is_visible():
        row.get_by_role("button", name="Teach it anyway").click()
        row.get_by_text("Taught as thing").wait_for()
    row.get_by_role("button", name="Undo").click()
    row.get_by_text("regions in").wait_for()
    page.keyboard.press("Escape")
    assert taught(page) == []


def test_a_calibration_is_shown_and_undone(
    browser: Any, folder: Path, serve: Callable[..., Served], photos: list[NDArray[np.uint8]]
) -> None:
    world = bundle.load(folder, writable=True)
    world.calibrate(photos, target_fpr=0.1)
    world.store.close()
    guest = browser.new_page()
    guest.goto(serve(folder).link)
    shown = guest.locator("#calibration")
    shown.filter(has_text="Calibrated: 3 images, target FPR 10 %").wait_for()
    guest.click("#undo")
    guest.locator("#calibration:empty").wait_for(state="attached")
    assert shown.text_content() == ""
    guest.close()


def test_there_are_examples_to_begin_with(page: Page) -> None:
    page.click("#examples")
    page.locator("#frames li[data-status=open]").nth(3).wait_for()
    assert sorted(session(page, "names")) == [f"example-{n}.jpg" for n in range(1, 5)]


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
    stranger.locator(".toast", has_text="it contains the token").wait_for()
    guest = browser.new_page()
    guest.goto(served.link)
    guest.locator("#known li").first.wait_for()
    assert "token" not in guest.url
