"""region:A and fuse:A+B against loops over the maps that they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ignota.perception.hierarchy import image_hierarchy
from ignota.scores.score import LEVEL
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel


def test_region_means(world: OpenWorldModel, photos: list[NDArray[np.uint8]]) -> None:
    encoding = world.encode(photos[0])
    maps = world.scores(encoding, ("msp", "region:msp", "raml", "region:raml"))
    levels = image_hierarchy(encoding.image).levels
    assert levels[0].count > 1
    for name in ("msp", "raml"):
        total = maps[name].clone()
        for level in levels:
            for region in range(1, level.count + 1):
                inside = torch.from_numpy(level.ids == region)
                total[inside] += maps[name][inside].mean()
        torch.testing.assert_close(maps[f"region:{name}"], total / (1 + len(levels)), atol=1e-4, rtol=1e-4)
    assert not torch.equal(maps["msp"], maps["region:msp"])


def test_fusions(world: OpenWorldModel, photos: list[NDArray[np.uint8]]) -> None:
    encoding = world.encode(photos[0])
    names = ("fuse:energy+knn", "fuse:region:knn+vim", "region:fuse:energy+knn", "energy", "knn", "vim", "region:knn")
    maps = world.scores(encoding, names)
    states = world.known.states

    def z(name: str, state: str) -> torch.Tensor:
        centre, spread, _ = states[state][LEVEL].tolist()
        return (maps[name] - centre) / spread

    torch.testing.assert_close(maps["fuse:energy+knn"], z("energy", "energy") + z("knn", "knn"))
    torch.testing.assert_close(maps["fuse:region:knn+vim"], z("region:knn", "knn") + z("vim", "vim"))
    means = world.scores(encoding, ("region:energy", "region:knn"))
    levels = {name: states[name][LEVEL].tolist() for name in ("energy", "knn")}
    expected = sum((means[f"region:{n}"] - levels[n][0]) / levels[n][1] for n in levels)
    torch.testing.assert_close(maps["region:fuse:energy+knn"], expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("region:max_logits", "did you mean 'max_logit'"),
        ("fuse:msp", "fuses nothing"),
        ("fuse:msp+nonsense", "no score 'nonsense'"),
        ("fuse:msp+raml_paper", "'raml_paper' cannot be fused"),
        ("fuse:msp+", "no score ''"),
        ("region:", "no score ''"),
    ],
)
def test_what_cannot_be_composed(world: OpenWorldModel, photos: list[NDArray[np.uint8]], name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        world.scores(world.encode(photos[0]), [name])
