"""The two class numberings of Cityscapes: label ids in the published files, train ids in networks and here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ignota.taxonomy import IGNORE_INDEX

CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Train id (the position) → label id, in the order of `taxonomy.CITYSCAPES`."""


def cityscapes_label_id_lut() -> NDArray[np.uint8]:
    """Label id → train id, "256" uint8; label ids that are never trained on become void (255)."""
    lut = np.full(256, IGNORE_INDEX, np.uint8)
    lut[list(CITYSCAPES_LABEL_IDS)] = np.arange(len(CITYSCAPES_LABEL_IDS), dtype=np.uint8)
    return lut


def cityscapes_train_id_lut() -> NDArray[np.uint8]:
    """Train id → label id, "256" uint8; everything else, void among it, becomes label id 0 (unlabelled)."""
    lut = np.zeros(256, np.uint8)
    lut[: len(CITYSCAPES_LABEL_IDS)] = CITYSCAPES_LABEL_IDS
    return lut
