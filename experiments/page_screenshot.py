"""Takes the picture of the page that README.md and page.md show: a drawn street, something picked in it.

    python -m experiments.page_screenshot --world WORLD [--threshold 0.5] [--box L T R B] [--out docs/pictures/page.jpg]

Needs Chromium and playwright. The world is copied first, and the streets are synthetic, so that no picture of a data
set ends up in the documents.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from ignota.data.images import write_jpeg
from ignota.storage import bundle
from ignota.synthetic.streets import SyntheticStreets

SIZE = (1280, 800)
SLIDE = """(value) => {
    const slider = document.getElementById("threshold");
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
}"""


def streets(number: int, seed: int) -> list[dict[str, object]]:
    """Drawn streets as files that a browser opens."""
    drawn, files = SyntheticStreets("anomaly", number, (720, 1280), seed), []
    for i in range(number):
        stream = io.BytesIO()
        Image.fromarray(drawn[i].image).save(stream, "PNG")
        files.append({"name": f"street-{i + 1}.png", "mimeType": "image/png", "buffer": stream.getvalue()})
    return files


def shot(link: str, args: argparse.Namespace) -> bytes:
    """PNG of the page with one street open and a pick in it."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_default_timeout(300_000)
        page.goto(link)
        page.set_input_files("#files", streets(args.streets, args.seed))
        page.locator("#frames li[data-status=open]").nth(args.streets - 1).wait_for()
        page.evaluate(SLIDE, args.threshold)
        page.click(f'#frames [aria-label^="street-{args.street}.png,"]')
        page.wait_for_timeout(1000)
        box = page.locator("#picture").bounding_box()
        assert box is not None
        left, top, right, bottom = args.box
        page.mouse.move(box["x"] + left * box["width"], box["y"] + top * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + right * box["width"], box["y"] + bottom * box["height"], steps=4)
        page.mouse.up()
        page.locator("#naming").wait_for()
        page.keyboard.type(args.name)
        page.wait_for_timeout(1000)
        page.locator("#preview", has_text="covers").wait_for()
        page.mouse.move(2, 2)  # nothing is pointed at
        page.wait_for_timeout(300)
        picture = page.screenshot()
        browser.close()
        return picture


def main(words: Sequence[str] | None = None) -> Path:
    """Reads the command line, writes the picture, returns its path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/page.jpg"))
    parser.add_argument("--streets", type=int, default=6)
    parser.add_argument("--street", type=int, default=2, help="the one that is shown")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--box", type=float, nargs=4, default=(0.3, 0.42, 0.73, 0.88), help="shares of the picture")
    parser.add_argument("--name", default="cow")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        bundle.copy(args.world, Path(folder) / "my-world")
        command = [sys.executable, "-m", "ignota", "serve", "--world", f"{folder}/my-world", "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        link = re.findall(r"http://\S+", server.stdout.readline())[0]
        try:
            picture = Image.open(io.BytesIO(shot(link, args))).convert("RGB")
        finally:
            server.terminate()
            server.wait()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_jpeg(args.out, np.asarray(picture))
    return Path(args.out)


if __name__ == "__main__":
    main()
