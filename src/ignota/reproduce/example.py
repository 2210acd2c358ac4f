"""Table D and Figure I: one image whose candidate regions are compared with every taught class."""

from __future__ import annotations

from typing import Any

import numpy as np

from ignota.data.images import resize_label
from ignota.functional.regions import region_majority
from ignota.reproduce.cells import Variant
from ignota.reproduce.pupils import Lesson, Pupil, School
from ignota.reproduce.workshop import Workshop
from ignota.structures import Encoding, RegionSet
from ignota.world.labelling import meta_regions, novel_similarities

LETTERS = "efghijklmno"
"""The paper calls its candidate regions (e) to (i); (a) to (d) are the pictures before them."""
SPLIT, SHOTS, PRESET = "16+3", 5, "released"


def example_pupil(workshop: Workshop) -> Pupil:
    """Taught the novel classes of 16+3 from five shots, by NPM as well."""
    return School(workshop, SPLIT).pupil(Lesson(SPLIT, SHOTS, None, Variant()), ("npm",))


def candidates(pupil: Pupil, encoding: Encoding) -> tuple[RegionSet, str]:
    """Regions of the meta channels, and where there are none those between edges, as in Section 3.2."""
    regions = meta_regions(pupil.world, encoding, PRESET)
    if regions.count:
        return regions, "meta channels"
    return pupil.world.known.recipe.urs(encoding.image, encoding.logits), "edges"


def measure_example(workshop: Workshop, pupil: Pupil) -> dict[str, Any]:
    """{"index", "key", "from", "theta", "regions": [{"letter", "output", "truth", "similarity": {CLASS: cosine}}]}."""
    images, split = workshop.setting.evaluate(SPLIT), workshop.setting.ground.parsed(SPLIT)
    best: tuple[tuple[int, int, int], dict[str, Any]] | None = None
    with workshop.bar("candidate regions", len(images)) as bar:
        for index in range(len(images)):
            sample = images[index]
            encoding = pupil.world.encode(sample.image)
            regions, source = candidates(pupil, encoding)
            assert sample.label is not None
            label = resize_label(split.world_lut()[sample.label], encoding.image.shape[:2])
            rows = _rows(pupil, encoding, regions, label, split.world_taxonomy.names)
            true = {row["truth"] for row in rows} & set(pupil.world.novel.names)
            worth = (int(source == "meta channels"), len(true), len(rows))
            if rows and (best is None or worth > best[0]):
                best = worth, {"index": index, "key": sample.key, "from": source, "regions": rows}
            bar.update()
    theta = pupil.world.known.recipe.theta
    return {"theta": theta, **(best[1] if best else {"reason": "no image has a candidate region"})}


def _rows(
    pupil: Pupil, encoding: Encoding, regions: RegionSet, label: np.ndarray, names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The largest regions, in the order of their size."""
    if regions.count == 0:
        return []
    similarity = novel_similarities(pupil.world, encoding, PRESET, regions).cpu()
    majority, _ = region_majority(label, regions, len(names))
    areas = np.bincount(regions.ids.ravel(), minlength=regions.count + 1)[1:]
    rows = []
    for letter, region in zip(LETTERS, np.argsort(-areas, kind="stable").tolist(), strict=False):
        best = int(similarity[region].argmax())
        named = float(similarity[region, best]) >= pupil.world.known.recipe.theta
        truth = int(majority[region])
        rows.append(
            {
                "letter": f"({letter})",
                "region": region + 1,
                "output": pupil.world.novel.names[best] if named else "none",
                "truth": names[truth] if truth < len(names) else "void",
                "similarity": dict(zip(pupil.world.novel.names, similarity[region].tolist(), strict=True)),
            }
        )
    return rows
