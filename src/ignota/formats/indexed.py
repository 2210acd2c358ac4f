"""Indexed PNG: labels/KEY.png holds the stored values, its palette their colours, label_map.json the names and void."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ignota.data.images import read_label, write_indexed_png
from ignota.data.listing import pictures
from ignota.formats.documents import picture_path, wrong
from ignota.formats.labels import MAP_FILE, Labelling, LabelMap, LabelPicture, Tick, copy_image, counted, pieces


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """labels/KEY.png and images/KEY.*; by_region changes nothing."""
    folder = out / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    for picture in counted(labelling, tick):
        list(pieces(picture, labelling.labels))  # raises for values without a meaning
        write_indexed_png(folder / f"{picture.key}.png", picture.label, labelling.labels.palette())
        copy_image(picture, out / "images")


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """Pictures of labels/, or of `root` itself; raises InputError where there is no label map."""
    if labels is None:
        raise wrong(root, f"it has no {MAP_FILE}", "say --classes FILE with names and values")
    folder = root / "labels" if (root / "labels").is_dir() else root
    files = [path for path in pictures(folder) if path.suffix.lower() == ".png"]
    if not files:
        raise wrong(folder, "there is no PNG in it", "name the folder that holds labels/")

    def each() -> Iterator[LabelPicture]:
        for path in files:
            key, image = picture_path(path, path.name, (*images, root / "images"))
            picture = LabelPicture(key, read_label(path), image)
            list(pieces(picture, labels))
            yield picture

    return Labelling(labels, each(), len(files))
