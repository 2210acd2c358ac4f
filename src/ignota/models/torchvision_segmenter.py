"""Segmentation models of torchvision: FCN, DeepLabV3 and LR-ASPP."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torchvision import models
from torchvision.models import segmentation

from ignota.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from ignota.models.tapped import TappedModule
from ignota.models.weights import load_strictly
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import nearest

NAMES = tuple(models.list_models(segmentation))
PREFIX = "torchvision:"
MARKS = ("backbone.",)
_HEADS = ("classifier.4.weight", "classifier.low_classifier.weight")


class TorchvisionSegmenter(TappedModule):
    """The network that torchvision calls `name`, without weights.

    config: {"name", "classes", "aux"}; aux: whether it has the second head that trains it, which is not read. Taps:
    `decoder`, what the last convolution reads, and `stageN` of the backbone. Raises InputError.
    """

    def __init__(self, config: Mapping[str, Any], preprocessing: Preprocessing | None = None) -> None:
        name, classes, aux = config.get("name"), config.get("classes"), config.get("aux", False)
        if not isinstance(name, str) or name not in NAMES:
            raise InputError(f"config.name: torchvision has no segmenter {name!r}{nearest(str(name), NAMES)}")
        if not isinstance(classes, int) or not 1 <= classes <= 1000:
            raise InputError(f"config.classes: expected a number of classes, not {classes!r}")
        second = {} if name.startswith("lraspp") else {"aux_loss": bool(aux)}
        network = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes, **second)
        layers, classifier = {"stage5": "backbone:out"}, None if name.startswith("lraspp") else "classifier.4"
        if "resnet" in name:
            layers |= {"stage2": "backbone.layer1", "stage3": "backbone.layer2", "stage4": "backbone.layer3"}
        if name.startswith("lraspp"):  # its logits are the sum of two convolutions
            layers = {"decoder": "classifier.cbr", "stage3": "backbone:low", "stage5": "backbone:high"}
        super().__init__(
            network, layers, classifier=classifier, encoder="backbone", origin=f"torchvision {name}",
            preprocessing=preprocessing or Preprocessing(IMAGENET_MEAN, IMAGENET_STD),
        )  # fmt: skip
        self.config = {"name": name, "classes": classes, "aux": bool(aux)}


def from_weights(weights: Mapping[str, Tensor], name: str, origin: str) -> TorchvisionSegmenter:
    """torchvision's network `name` with these tensors; raises InputError."""
    head = next((weights[key] for key in _HEADS if key in weights), None)
    if head is None or head.ndim != 4:
        raise InputError(f"{origin} has no {_HEADS[0]}: it is of another network than torchvision's {name}")
    aux = any(key.startswith("aux_classifier.") for key in weights)
    segmenter = TorchvisionSegmenter({"name": name, "classes": head.shape[0], "aux": aux})
    load_strictly(segmenter.module, weights, origin)
    return segmenter.eval()


def published(name: str, allow_download: bool) -> TorchvisionSegmenter:
    """torchvision's network with the weights that it publishes, which are read without running anything in them.

    They are asked for only if `allow_download`, and must have the hash in their name. Raises InputError.
    """
    if name not in NAMES:
        raise InputError(f"torchvision has no segmenter {name!r}{nearest(name, NAMES)}")
    if not allow_download:
        raise InputError(
            f"{PREFIX}{name} has weights on torchvision's server", "pass allow_download=True to ask for them"
        )
    chosen: Any = models.get_model_weights(name).DEFAULT
    try:
        weights = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"weights of {name} could not be downloaded ({type(error).__name__}): give a file") from None
    segmenter = from_weights(weights, name, f"{PREFIX}{name}")
    segmenter.class_names = tuple(chosen.meta["categories"])
    return segmenter
