"""A calibration: reference vectors of one camera's known regions, and the threshold for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import safetensors.torch
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from torch import Tensor

from ignota.structures import InputError

LARGEST_NUMBER = 1e6


@dataclass(frozen=True)
class Calibration:
    """A row of the store, made of unlabelled images of one camera.

    recipe: whose score it is of. images: how many. target_fpr: share of known pixels above the threshold. threshold,
    scale: as of a recipe. unknown: the estimated share of unknown pixels in the images. vectors: "N F" unit vectors of
    confident known regions in the world's own space, half precision; owner: "N" their classes. at: time in UTC. key:
    of the row.
    """

    recipe: str
    images: int
    target_fpr: float
    threshold: float
    scale: float
    unknown: float
    vectors: Float[Tensor, "N F"]
    owner: UInt8[Tensor, " N"]
    author: str = ""
    at: str = ""
    key: int = 0

    def __post_init__(self) -> None:
        """Raises InputError for numbers that no calibration gives."""
        shares = 0 < self.target_fpr < 1 and 0 <= self.unknown <= 1
        numbers = math.isfinite(self.threshold) and abs(self.threshold) <= LARGEST_NUMBER
        positive = 1e-9 <= self.scale <= LARGEST_NUMBER and self.images >= 1
        rows = self.vectors.ndim == 2 and self.vectors.is_floating_point() and self.owner.dtype == torch.uint8
        if not (shares and numbers and positive and rows and tuple(self.owner.shape) == tuple(self.vectors.shape[:1])):
            raise InputError("a calibration of this world is damaged: `ignota undo` takes it back")

    def __str__(self) -> str:
        images = f"{self.images} image{'' if self.images == 1 else 's'}"
        return f"{images}, target FPR {100 * self.target_fpr:g} %, unknown {100 * self.unknown:.1f} %"

    @property
    def card(self) -> dict[str, str | int | float]:
        """Its fields without the tensors."""
        names = ("recipe", "images", "target_fpr", "threshold", "unknown", "author", "at")
        return {**{name: getattr(self, name) for name in names}, "reference": len(self.owner)}

    def on(self, device: torch.device) -> tuple[Float[Tensor, "N F"], UInt8[Tensor, " N"]]:
        """Vectors in single precision, and classes."""
        return self.vectors.to(device).float(), self.owner.to(device)


def pack_calibration(calibration: Calibration) -> bytes:
    """What the column `reference` holds: vectors, their classes and the share of unknowns."""
    unknown = torch.tensor(calibration.unknown, dtype=torch.float64)
    tensors = {"vectors": calibration.vectors.half(), "owner": calibration.owner, "unknown": unknown}
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def unpack_calibration(
    recipe: str,
    images: int,
    target_fpr: float,
    threshold: float,
    scale: float,
    reference: bytes | None,
    author: str,
    at: str,
    key: int,
) -> Calibration:
    """The inverse of `pack_calibration` with the row's other cells; raises InputError for damaged ones."""
    try:
        tensors = safetensors.torch.load(reference or b"")
        vectors, owner, unknown = tensors["vectors"], tensors["owner"], float(tensors["unknown"])
        if not bool(vectors.isfinite().all()):
            raise ValueError("not finite")
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"a calibration of this world is damaged ({type(error).__name__}): `ignota undo` takes it back"
        ) from None
    return Calibration(recipe, images, target_fpr, threshold, scale, unknown, vectors, owner, author, at, key)
