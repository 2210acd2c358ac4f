"""A data set of your own, from its files to a ranking of scores on it.

python examples/new_dataset.py ROOT WORLD
"""

from __future__ import annotations

import sys
from pathlib import Path

from ignota.cli import main as ignota
from ignota.data.datasets import DATASETS
from ignota.data.listing import Layout, Listing, Pair, pictures, value_table


def splits(root: Path) -> tuple[str, ...]:
    """Which splits lie in a folder; none: it is not of this form."""
    return ("val",) if (root / "pictures").is_dir() else ()


def listing(root: Path, split: str) -> Listing:
    """Pairs of files, and what the stored label values mean: 0 normal, 255 anomaly, 128 void, others are refused."""
    pairs = tuple(
        Pair(path.stem, path, root / "truth" / f"{path.stem}_mask.png") for path in pictures(root / "pictures")
    )
    return Listing(pairs, value_table({0: 0, 255: 1}, void=(128,)), taxonomy=None)


DATASETS["gravel"] = Layout(splits, listing, "pictures/ID.jpg|png with truth/ID_mask.png")


def main(root: str, world: str) -> int:
    """Looks the data set through, then ranks every score of the world on it; returns the exit code."""
    return ignota(["data", "check", "gravel", root]) or ignota(["compare", "gravel", "--data", root, "--world", world])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
