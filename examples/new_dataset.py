"""A data set of your own in every command, by one file.

ignota data check gravel ROOT --plugin examples/new_dataset.py
ignota compare gravel --data ROOT --plugin examples/new_dataset.py --world WORLD
"""

from __future__ import annotations

from pathlib import Path

from ignota.plugins import DATASETS, Layout, Listing, Pair, pictures, value_table


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
