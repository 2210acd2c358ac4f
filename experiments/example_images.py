"""Draws the pictures that the page offers to whoever has none: streets with something unknown in each.

    python -m experiments.example_images [--out src/ignota/web/static]

Everything in them is drawn by `ignota.synthetic`. The first two show the same kind of thing, so that what is
taught on one is found on the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ignota.synthetic.streets import SyntheticStreets

SIZE = (540, 960)
SEED = 7
CHOSEN = (7, 8, 35, 38)


def main(words: Sequence[str] | None = None) -> list[Path]:
    """Reads the command line, writes the pictures, returns their paths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("src/ignota/web/static"))
    args = parser.parse_args(words)
    streets = SyntheticStreets("anomaly", max(CHOSEN) + 1, SIZE, SEED)
    paths = [args.out / f"example-{n}.jpg" for n in range(1, len(CHOSEN) + 1)]
    for path, index in zip(paths, CHOSEN, strict=True):
        Image.fromarray(streets[index].image).save(path, quality=72, optimize=True, progressive=True)
    return paths


if __name__ == "__main__":
    main()
