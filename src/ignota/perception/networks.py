"""The networks of a world, and the single pass of an image through them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from ignota.data.images import fit_short_side, read_image, resize_image
from ignota.models.build import describe
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.objectness import Objectness, SaliencyFile
from ignota.models.segmenter import ClosedSetSegmenter, Tap
from ignota.structures import Encoding, InputError, Preprocessing

_RESIZED = 128
"""Channels that OpenCV resizes at a time."""
ImageLike = str | Path | Image.Image | np.ndarray | Tensor

Answer = tuple[Tensor, dict[str, Tensor]]
"""What the networks say of one image: logits "C h w" and features {tap: "F h w"}, in any floating type."""

Runner = Callable[["Networks", np.ndarray, np.ndarray | None], Answer]
"""Runs the large networks on a working image and on the same as the frozen encoder sees it, both "H W 3" uint8, the
latter None where nobody reads it: the one step that a backend replaces."""


def run_eagerly(
    networks: Networks,
    image: UInt8[np.ndarray, "H W 3"],
    close: UInt8[np.ndarray, "Hc Wc 3"] | None = None,
    segmenter: Callable[..., Any] | None = None,
    frozen: Callable[..., Any] | None = None,
) -> Answer:
    """The networks as they are, in float32, or twins of them: what they say of an image as each sees it."""
    own, device = networks.segmenter, networks.device
    output = (own if segmenter is None else segmenter)(network_input(image, own.preprocessing, device))
    features = dict(output.features)
    if close is not None and networks.frozen is not None:
        pixels = network_input(close, networks.frozen.preprocessing, device)
        features |= (networks.frozen if frozen is None else frozen)(pixels)
    return output.logits[0], {tap: grid[0] for tap, grid in features.items()}


@dataclass(frozen=True)
class Networks:
    """The closed-set segmenter and the frozen encoder beside it.

    size: short side of the working image. taps: those that are kept of each image. runner: how segmenter and encoder
    are run, backend: what that is called, with all of it that changes the answer, see `ignota.backends.choosing`.
    objectness: the network of the recipe `full`, which runs in float32 on every backend but torch-bf16; its blocks are
    taps, too.
    """

    segmenter: ClosedSetSegmenter
    frozen: FrozenEncoder | None
    size: int
    taps: tuple[str, ...]
    device: torch.device
    runner: Runner = run_eagerly
    backend: str = "torch"
    objectness: Objectness | None = None

    @property
    def reads_frozen(self) -> bool:
        """Whether any tap that is kept is the frozen encoder's."""
        own = {"decoder": self.stand_in}
        return self.frozen is not None and any(own.get(tap, tap) in self.frozen.taps for tap in self.taps)

    @property
    def stand_in(self) -> str | None:
        """The frozen encoder's tap that is read as `decoder` where the segmenter has none; None where it has one."""
        if "decoder" in self.segmenter.taps or self.frozen is None:
            return None
        return next(iter(self.frozen.taps))

    @property
    def offered(self) -> dict[str, Tap]:
        """Every tap that the networks have."""
        found = dict(self.segmenter.taps) | (self.frozen.taps if self.frozen else {})
        found |= {} if self.stand_in is None else {"decoder": found[self.stand_in]}
        return found | (self.objectness.taps if self.objectness else {})

    @property
    def frozen_size(self) -> int:
        """Short side of what the frozen encoder sees: its own, or the segmenter's where it has none."""
        return self.size if self.frozen is None or self.frozen.size is None else self.frozen.size

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides what they answer to a working image, but for the runner; made once.

        That is how they are built (strides, preprocessing, layers), every weight, and the taps that are kept.
        """
        found = hashlib.sha256()
        feed(found, _structure(self.segmenter))
        feed(found, dict(self.segmenter.state_dict()))
        if self.frozen is not None:
            encoder = self.frozen
            feed(found, (encoder.encoder_name, encoder.size, encoder.levels, encoder.preprocessing, encoder.taps))
            feed(found, dict(encoder.state_dict()))
        feed(found, self.taps)
        if self.objectness is not None:
            feed(found, (self.objectness.size, self.objectness.sha256))  # the taps are among those that are kept
        if isinstance(self.objectness, SaliencyFile):
            feed(found, self.objectness.preprocessing)
        return found.hexdigest()

    @torch.inference_mode()
    def encode(self, image: ImageLike, size: int | None = None) -> Encoding:
        """Runs the networks on one image; size: what the segmenter sees of it, if not the world's own."""
        pixels = as_pixels(image)
        original = (pixels.shape[0], pixels.shape[1])
        working, close = self.views(pixels, size)
        logits, features = self.runner(self, working, close)
        objects = None
        if self.objectness is not None:
            objects, more = seen_objects(self.objectness, pixels, self.device)
            features = features | more
        if self.stand_in is not None and self.stand_in in features:
            features = features | {"decoder": features[self.stand_in]}
        missing = [tap for tap in self.taps if tap not in features]
        if missing:
            raise InputError(f"the networks have no tap {missing[0]!r}; there are {', '.join(features)}")
        taps = {tap: features[tap].float() for tap in self.taps}
        source = Path(image).name if isinstance(image, str | Path) else ""
        # now and not when it is read: 2 ms of 1280×720, and later it would take the original
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
        return Encoding(working, original, logits.float(), taps, digest, source, objects)

    def views(
        self, pixels: UInt8[np.ndarray, "H W 3"], size: int | None = None
    ) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "hc wc 3"] | None]:
        """An image as the segmenter sees it and as the frozen encoder does, None if that is not read.

        Each is brought to its own size from the original, so that neither sees what the other's size has blurred.
        """
        original = (pixels.shape[0], pixels.shape[1])
        working = resize_image(pixels, fit_short_side(*original, size or self.size))
        if self.frozen is None or not self.reads_frozen:
            return working, None
        own = fit_short_side(*original, self.frozen_size)
        return working, working if own == working.shape[:2] else resize_image(pixels, own)


def seen_objects(
    network: Objectness, pixels: UInt8[np.ndarray, "H W 3"], device: torch.device
) -> tuple[Float[Tensor, "h w"], dict[str, Float[Tensor, "F h w"]]]:
    """The objectness of an image in 0..1 and features of the same pass, from its original at the network's own size."""
    view = resize_image(pixels, network.view_size(pixels.shape[0], pixels.shape[1]))
    found, features = network(network_input(view, network.preprocessing, device))
    return found.float(), features


def largest_class(logits: Float[Tensor, "C h w"], size: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
    """Arg-max over classes of the logits resized to `size`, bilinear."""
    height, width = size
    if logits.device.type == "cpu" and len(logits) <= _RESIZED:  # channel beside channel: three times as fast
        cells = np.ascontiguousarray(logits.permute(1, 2, 0).numpy())
        resized = cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
        return resized.argmax(2).astype(np.uint8)
    grid = torch.nn.functional.interpolate(logits[None], size=size, mode="bilinear")[0]
    # torch's `max` along the channels is several times faster than its `argmax`, and says the same.
    return np.asarray(grid.max(0).indices.to(torch.uint8).cpu().numpy())


def network_input(
    image: UInt8[np.ndarray, "H W 3"], preprocessing: Preprocessing, device: torch.device
) -> Float[Tensor, "1 3 H W"]:
    """A working image as a network takes it."""
    pixels = torch.from_numpy(image).to(device)[None].float()
    mean, std = (torch.tensor(v, device=device) * 255 for v in (preprocessing.mean, preprocessing.std))
    return ((pixels - mean) / std).permute(0, 3, 1, 2)  # a view: channels last in memory


def as_pixels(image: ImageLike) -> UInt8[np.ndarray, "H W 3"]:
    """Any image that people pass: a path, PIL, "H W 3" uint8 array, or "3 H W" tensor (uint8, or float in 0..1)."""
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return np.array(image.convert("RGB"))
    if isinstance(image, Tensor):
        values = image.detach().cpu()
        values = (values * 255).round() if values.is_floating_point() else values
        image = values.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy() if values.ndim == 3 else values.numpy()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"an image is 'H W 3' uint8 (or a '3 H W' tensor), not {image.shape} {image.dtype}")
    return np.require(image, None, ("C", "W"))  # torch warns of what cannot be written to, as PIL gives it


def _structure(segmenter: ClosedSetSegmenter) -> object:
    """The description that rebuilds the segmenter, or, for one in memory alone, what is known of it."""
    try:
        return describe(segmenter)[0].to_json()
    except InputError:
        kept = ("preprocessing", "taps", "multiple", "fixed_size", "logits_stride")
        return [str(segmenter), *(getattr(segmenter, name, None) for name in kept)]


def feed(digest: Any, value: Any) -> None:
    """Every tensor, number and text below `value` into a hash of hashlib, each with its kind and length."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"tensor {plain.dtype} {tuple(plain.shape)};".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    elif dataclasses.is_dataclass(value):
        feed(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, dict):
        feed(digest, [part for item in value.items() for part in item])
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for part in value:
            feed(digest, part)
    else:
        text = repr(value).encode()
        digest.update(f"{type(value).__name__} {len(text)};".encode() + text)
