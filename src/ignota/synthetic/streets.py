"""The synthetic world as a data set."""

from __future__ import annotations

from ignota.structures import InputError, Sample
from ignota.synthetic.scene import draw_scene
from ignota.taxonomy import CITYSCAPES, Taxonomy

_SPLITS = {"train": 0, "val": 1, "anomaly": 2}


class SyntheticStreets:
    """`length` scenes of a split, drawn when asked for; splits never share a scene's seed.

    "train" and "val" hold the nineteen Cityscapes classes (labels: train ids, 255 void) and nothing unknown;
    "anomaly" holds one to three unknown things a scene (labels: 0 normal, 1 anomaly, 255 void).
    Raises InputError for another split, a negative length or seed, or a size below 16 pixels.
    """

    name = "synthetic"

    def __init__(self, split: str, length: int, size: tuple[int, int] = (256, 512), seed: int = 0) -> None:
        if split not in _SPLITS:
            raise InputError(f"synthetic: no split {split!r}; there are: {', '.join(_SPLITS)}")
        if length < 0:
            raise InputError(f"synthetic: length {length} is negative; give the number of scenes")
        if min(size) < 16:
            raise InputError(f"synthetic: size {size[0]}x{size[1]} is too small; give at least 16x16")
        if seed < 0:
            raise InputError(f"synthetic: seed {seed} is negative; give 0 or more")
        self.split = split
        self.length = length
        self.size = size
        self.seed = seed

    @property
    def taxonomy(self) -> Taxonomy | None:
        """Cityscapes; None for the anomaly split, whose labels are 0, 1 and 255."""
        return None if self.split == "anomaly" else CITYSCAPES

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the scenes, in order."""
        return tuple(f"{self.split}_{i:06d}" for i in range(self.length))

    def __len__(self) -> int:
        return self.length

    def scene_seed(self, index: int) -> int:
        """The seed that `draw_scene` gets for this sample; no two splits, indices or data set seeds share one."""
        return ((self.seed * len(_SPLITS) + _SPLITS[self.split]) << 32) + index

    def __getitem__(self, index: int) -> Sample:
        if not -self.length <= index < self.length:
            raise IndexError(f"synthetic {self.split}: no scene {index}; there are {self.length}")
        index %= self.length
        unknown = self.split == "anomaly"
        scene = draw_scene(self.scene_seed(index), *self.size, anomalies=None if unknown else 0)
        label = scene.anomaly if unknown else scene.label
        return Sample(f"{self.split}_{index:06d}", scene.image, label)
