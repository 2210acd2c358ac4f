"""Cut regions are described as whole ones are."""

from __future__ import annotations

import numpy as np
import torch

from ignota.discovery.cut_regions import cut_region_rows
from ignota.perception.features import FeatureSpace
from ignota.perception.hierarchy import Hierarchy
from ignota.perception.reading import RegionReading
from ignota.perception.scene import Scene, Tables, no_taught, region_vectors
from ignota.structures import Encoding, RegionSet
from ignota.taxonomy import ClassLabel, Taxonomy
from ignota.world.region_rows import region_rows


def thin_scene() -> Scene:
    """A ring thinner than the working grid, round none of its own pixels, and a blob, on an image 16 times as large."""
    score = torch.zeros(12, 16)
    score[2, 2:7] = score[6, 2:7] = score[2:7, 2] = score[2:7, 6] = 1
    score[8:11, 10:14] = torch.tensor([[0.9, 1.5, 1.5, 0.9], [2.0, 2.0, 2.0, 1.0], [0.9, 2.0, 0.9, 0.9]])
    features = torch.from_numpy(np.random.default_rng(3).normal(size=(5, 12, 16)).astype(np.float32))
    encoding = Encoding(np.full((12, 16, 3), 90, np.uint8), (192, 256), torch.zeros(1, 3, 4), {"decoder": features})
    whole = RegionSet(np.ones((12, 16), np.int32), 1)
    tables = Tables(
        (192, 256), np.zeros((12, 16), np.uint8), score,
        RegionReading(Hierarchy((whole,)), torch.zeros(1, 5), torch.zeros(1, 1)),
    )  # fmt: skip
    space = FeatureSpace(
        ("decoder",), torch.zeros(5), torch.ones(5), torch.zeros(1, 5), torch.zeros(1, dtype=torch.uint8), 1
    )
    taxonomy = Taxonomy("t", (ClassLabel(0, "road", (0, 0, 0)),))
    return Scene(encoding, taxonomy, 1, tables, no_taught(whole, torch.device("cpu")), 0.85, 0.5, space)


def test_a_thin_region_has_one_vector_wherever_it_is_asked_for() -> None:
    scene = thin_scene()
    alone = {region.box: region.embedding for region in scene.unknown}
    rows = {tuple(row["box"]): row["embedding"] for row in region_rows(scene)}
    cut = {tuple(row["box"]): row["embedding"] for row in cut_region_rows(scene)}
    assert len(alone) == 2 and alone.keys() == rows.keys() == cut.keys()
    for box, vector in alone.items():
        np.testing.assert_allclose(rows[box], vector, atol=1e-6)
        np.testing.assert_allclose(cut[box], vector, atol=1e-6)


def test_masks_that_share_a_cell_do_not_touch_each_other_s_vectors() -> None:
    scene = thin_scene()
    masks = np.zeros((4, 192, 256), bool)
    masks[0, :90, :100] = masks[1, 60:150, 40:200] = masks[2, 100, 100] = masks[3, 101, 100] = True
    together = region_vectors(scene.encoding, scene.space, masks)
    for mask, vector in zip(masks, together, strict=True):
        np.testing.assert_allclose(region_vectors(scene.encoding, scene.space, [mask])[0], vector, atol=1e-6)
    assert region_vectors(scene.encoding, scene.space, []).shape == (0, 5)
