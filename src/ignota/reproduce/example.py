"""Table D and Figure I: one image whose candidate regions are compared with every taught class."""

from __future__ import annotations

from typing import Any

import numpy as np

from ignota.data.images import resize_label
from ignota.functional.regions import region_majority
from ignota.perception.raml import RULES
from ignota.reproduce.cells import Variant
from ignota.reproduce.taught_worlds import Lesson, SeenImage, TaughtWorld, Teacher
from ignota.reproduce.workshop import Workshop

LETTERS = "efghijklmno"
"""The paper calls its candidate regions (e) to (i); (a) to (d) are the pictures before them."""
SPLIT, SHOTS, METHOD = "16+3", 5, "raml_paper"
NO_REGION = "the meta channels give no candidate region on any evaluation image"


def example_world(workshop: Workshop) -> TaughtWorld:
    """The main run's world, taught the novel classes of 16+3 from five shots; by NPM and all of RAML's methods."""
    methods = ("npm", "raml_urs", *RULES)
    return Teacher(workshop, SPLIT).taught(Lesson(SPLIT, SHOTS, None, Variant()), methods)


def measure_example(workshop: Workshop, taught: TaughtWorld) -> dict[str, Any]:
    """{"index", "key", "theta", "regions": [{"letter", "output", "truth", "similarity": {CLASS: cosine}}]}; a "reason"
    in their place where no image has a candidate region."""
    images, split = workshop.setting.evaluate(SPLIT), workshop.setting.ground.parsed(SPLIT)
    best: tuple[tuple[int, int], dict[str, Any]] | None = None
    with workshop.bar("candidate regions", len(images)) as bar:
        for index in range(len(images)):
            sample = images[index]
            seen = SeenImage(taught.world, sample.image)
            assert sample.label is not None
            label = resize_label(split.world_lut()[sample.label], seen.encoding.image.shape[:2])
            rows = _rows(taught, seen, label, split.world_taxonomy.names)
            true = {row["truth"] for row in rows} & set(taught.world.novel.names)
            worth = (len(true), len(rows))
            if rows and (best is None or worth > best[0]):
                best = worth, {"index": index, "key": sample.key, "regions": rows}
            bar.update()
    return {"theta": RULES[METHOD].theta, **(best[1] if best else {"reason": NO_REGION})}


def _rows(taught: TaughtWorld, seen: SeenImage, label: np.ndarray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The largest candidate regions, in the order of their size."""
    regions = taught.candidates(seen, METHOD)
    if regions.count == 0:
        return []
    similarity, novel = taught.similarities(seen, METHOD), taught.world.novel.names
    majority, _ = region_majority(label, regions, len(names))
    areas = np.bincount(regions.ids.ravel(), minlength=regions.count + 1)[1:]
    rows = []
    for letter, region in zip(LETTERS, np.argsort(-areas, kind="stable").tolist(), strict=False):
        best = int(similarity[region].argmax())
        truth = int(majority[region])
        rows.append(
            {
                "letter": f"({letter})",
                "region": region + 1,
                "output": novel[best] if similarity[region, best] > RULES[METHOD].theta else "none",
                "truth": names[truth] if truth < len(names) else "void",
                "similarity": dict(zip(novel, similarity[region].tolist(), strict=True)),
            }
        )
    return rows
