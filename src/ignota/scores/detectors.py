"""Detectors of other libraries as scores: any object with the methods of a pytorch-ood detector.

Kirchheim et al., "PyTorch-OOD: A Library for Out-of-Distribution Detection", CVPR Workshops 2022.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ignota.data.images import resize_label
from ignota.functional.numbers import evenly_spaced
from ignota.scores.score import AnomalyScore, State, bounded, spread_over_classes, stacked
from ignota.structures import Encoding, InputError

LOGITS = "logits"
_PREDICT = ("predict_logits", "predict_features", "predict")
_FIT = ("fit_logits", "fit_features")
_AT_ONCE = 1 << 16


def from_pytorch_ood(
    detector: Any, reads: str = LOGITS, per_image: int = 200, most: int = 20_000, citation: str = ""
) -> AnomalyScore:
    """A detector of vectors as a score of pixels: each pixel's logits, or features of a tap, are one vector "N F".

    detector: has `predict_logits`, `predict_features`, `predict` or is called, the first of these that there is: "N F"
    -> "N", higher = more anomalous. One that is to be fitted has `fit_logits` or `fit_features` ("N F", class ids "N")
    and no `requires_fit = False`. reads: "logits" or the name of a tap, such as "decoder". per_image, most: how many
    training pixels of each image and in all it is fitted on; a world holds these rather than what it learnt, as that
    may be anything, and it is fitted on them once a process. It runs on the CPU. Raises InputError for what has no
    such method.
    """
    if not (callable(detector) or _method(detector, _names(_PREDICT, reads))):
        raise InputError(f"{type(detector).__name__} is no detector: it has none of {', '.join(_PREDICT)}")
    return DetectorScore(detector, reads, per_image, most, citation or type(detector).__name__)


class DetectorScore(AnomalyScore):
    """See `from_pytorch_ood`."""

    def __init__(self, detector: Any, reads: str, per_image: int, most: int, citation: str) -> None:
        self.detector, self.reads, self.per_image, self.most = detector, reads, per_image, most
        self.citation = citation
        self._fit = _method(detector, _names(_FIT, reads))
        self._fitted: tuple[Tensor, Any] | None = None

    @property
    def ready(self) -> bool:
        return self._fit is None or not getattr(self.detector, "requires_fit", True)

    def settings(self) -> dict[str, Any]:
        own = getattr(self.detector, "__dict__", {})
        plain = {name: value for name, value in own.items() if isinstance(value, str | int | float | bool)}
        pixels = (self.reads, self.per_image, self.most)
        return {"detector": type(self.detector).__qualname__, "own": plain, "pixels": pixels}

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        if self.ready:
            return {}
        grid = self.grid(encoding)
        flat = resize_label(label, (grid.shape[1], grid.shape[2])).ravel()
        chosen = spread_over_classes(flat, self.per_image, rng)
        at = torch.from_numpy(chosen).to(grid.device)
        found = {"units": grid.flatten(1).T[at].cpu()}
        return found | {"label": torch.from_numpy(flat[chosen].astype(np.int64))}

    def state(self, observations: Sequence[State]) -> State:
        if self.ready:
            return {}
        units, label = stacked(observations, "units"), stacked(observations, "label")
        kept = torch.from_numpy(evenly_spaced(len(label), self.most))
        if not len(kept):
            raise InputError("no labelled pixel in the training images: check the labels and the split")
        return {"units": units[kept], "label": label[kept]}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        grid = self.grid(encoding)
        predict = _method(self._ready(state), _names(_PREDICT, self.reads)) or self.detector
        vectors = grid.flatten(1).T.cpu().contiguous()
        values = torch.cat([torch.as_tensor(predict(part)).flatten().float() for part in vectors.split(_AT_ONCE)])
        if len(values) != len(vectors):
            raise InputError(
                f"the detector {type(self.detector).__name__} gave {len(values)} values for {len(vectors)} pixels: "
                "it must give one for each row"
            )
        size = encoding.logits.shape[-2:]
        shaped = values.to(encoding.logits.device).reshape(1, 1, *grid.shape[1:])
        return F.interpolate(shaped, size=size, mode="bilinear")[0, 0] if shaped.shape[-2:] != size else shaped[0, 0]

    def grid(self, encoding: Encoding) -> Float[Tensor, "F h w"]:
        """What the detector sees of an image; raises InputError for a tap that the world has not."""
        if self.reads == LOGITS:
            return encoding.logits.float()
        if self.reads not in encoding.features:
            taps = ", ".join((LOGITS, *encoding.features))
            raise InputError(f"a detector reads {self.reads!r}, but this world gives {taps}")
        return bounded(encoding.features[self.reads].float())

    def _ready(self, state: State) -> Any:
        """The detector, fitted on the training pixels of `state`."""
        if self.ready:
            return self.detector
        if "units" not in state:
            raise InputError(f"the detector {type(self.detector).__name__} is not fitted", "add it by `ignota fit`")
        if self._fitted is None or self._fitted[0] is not state["units"]:
            detector = copy.deepcopy(self.detector)
            units, label = state["units"].cpu(), state["label"].cpu()
            if self.reads != LOGITS:  # many detectors of features want every class from 0 on to be there
                label = label.unique(return_inverse=True)[1]
            with torch.inference_mode(False), torch.enable_grad():
                fit = _method(detector, _names(_FIT, self.reads))
                assert fit is not None
                fit(units.clone(), label.clone())
            self._fitted = state["units"], detector
        return self._fitted[1]


def _names(methods: tuple[str, ...], reads: str) -> tuple[str, ...]:
    """The methods that may take what is read: those for logits take nothing else."""
    return methods if reads == LOGITS else tuple(name for name in methods if not name.endswith(LOGITS))


def _method(detector: Any, names: tuple[str, ...]) -> Callable[..., Any] | None:
    return next((getattr(detector, name) for name in names if callable(getattr(detector, name, None))), None)
