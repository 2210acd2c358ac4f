"""DMLNet's five-scale protocol: every image is read at five sizes; logits are averaged at the label's size.

Cen et al., ICCV 2021, after Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings" (code
anomaly-seg). The measures of the protocol are in `ignota.metrics.anomaly`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ignota.data.images import resize_image
from ignota.evaluation.component_reading import to_size
from ignota.functional.one_hot_metric import metric_logits
from ignota.incremental.metric_methods import at_size
from ignota.perception.branch import MetricNetwork
from ignota.perception.networks import Networks
from ignota.scores.dml import metric_maps
from ignota.scores.logit_scores import LOGIT_SCORES
from ignota.structures import Encoding

SHORT_SIDES = (300, 375, 450, 525, 600)
LONGEST, MULTIPLE = 1000, 8

Maps = dict[str, NDArray[np.float32]]
Read = Callable[[Encoding, Sequence[str]], dict[str, Tensor]]
"""The named scores of an encoding on its working grid, as `OpenWorldModel.scores`."""


def scaled_size(height: int, width: int, short: int) -> tuple[int, int]:
    """(h, w) of an image whose short side is to be `short`, the long side at most 1000; each side is cut to a whole
    number and then rounded up to a multiple of 8."""
    factor = min(short / min(height, width), LONGEST / max(height, width))
    rows, columns = (-(-max(1, int(side * factor)) // MULTIPLE) * MULTIPLE for side in (height, width))
    return rows, columns


def scaled_images(image: UInt8[np.ndarray, "H W 3"]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The image at each of the five sizes."""
    for short in SHORT_SIDES:
        yield resize_image(image, scaled_size(image.shape[0], image.shape[1], short))


@dataclass(frozen=True)
class FiveScales:
    """An image at the five sizes, and as the mean of its logits at the size (H, W) of its label."""

    scales: tuple[Encoding, ...]
    mean: Encoding

    @classmethod
    def of(cls, networks: Networks, image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> FiveScales:
        """Runs the networks at every scale."""
        scales = tuple(networks.encode(scaled, min(scaled.shape[:2])) for scaled in scaled_images(image))
        logits = mean_at_size((encoding.logits for encoding in scales), size)
        return cls(scales, Encoding(resize_image(image, size), size, logits, {}))

    def maps(self, names: Sequence[str], read: Read) -> Maps:
        """The named scores at the label's size; read: of one encoding.

        Scores of the logits alone are read from the mean logits. The protocol says nothing of scores that need
        features or regions: these are read at each scale, and their maps are resized and averaged.
        """
        by_logits = [name for name in names if name in LOGIT_SCORES]
        others = [name for name in names if name not in LOGIT_SCORES]
        found = {name: value.cpu().numpy() for name, value in read(self.mean, by_logits).items()}
        sums = {name: np.zeros(self.mean.size, np.float32) for name in others}
        for encoding in self.scales if others else ():
            for name, value in read(encoding, others).items():
                sums[name] += to_size(value.cpu().numpy(), self.mean.size)
        return found | {name: value / len(self.scales) for name, value in sums.items()}


@torch.inference_mode()
def five_scale_metric_maps(
    network: MetricNetwork, image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], names: Sequence[str]
) -> Maps:
    """Scores of DMLNet's network by the protocol: metric logits -‖f - 3 e_c‖² at `size`, averaged, then read."""
    embeddings = (network.encode(scaled, min(scaled.shape[:2])).embedding for scaled in scaled_images(image))
    logits = mean_at_size((metric_logits(at_size(f, size), dim=0) for f in embeddings), size)
    return {name: value.cpu().numpy() for name, value in metric_maps(logits, names).items()}


def mean_at_size(grids: Iterable[Float[Tensor, "C _h _w"]], size: tuple[int, int]) -> Float[Tensor, "C H W"]:
    """The mean of some grids, each resized to `size` before; one at a time is held."""
    total, count = torch.zeros(()), 0
    for grid in grids:
        total, count = total.to(grid.device) + at_size(grid, size), count + 1
    return total / count
