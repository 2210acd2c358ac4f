"""One world and its open images; a single thread does all the work on them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, UInt16

from ignota.data.images import decode_image
from ignota.heap import resident_memory, return_freed_memory
from ignota.perception.known import KnownEvidence
from ignota.perception.scene import Scene, Tables, levels, working_objects
from ignota.structures import Encoding, InputError
from ignota.web.limits import Busy, Limits, Missing
from ignota.world.model import OpenWorldModel

T = TypeVar("T")
KEY = r"^[0-9a-f]{24}$"
_PATCHING = 1.0
"""Seconds that the patches of one answer may take; other requests wait meanwhile."""


@dataclass(frozen=True)
class OpenImage:
    """An image as it was sent, what the world knows of it, and its features while there is room for them.

    bare: the encoding without its features, which is enough to label the image again. known: what the tables were read
    by.
    """

    key: str
    name: str
    data: bytes
    tables: Tables
    bits: UInt16[np.ndarray, "h w"]
    bare: Encoding
    encoding: Encoding | None
    known: KnownEvidence

    @property
    def lasting(self) -> int:
        """Bytes that stay when the features are dropped."""
        return len(self.data) + _weight(self.bare) + self.bits.nbytes + self.tables.nbytes

    @property
    def weight(self) -> int:
        """Bytes of file, working image, tables and features."""
        return self.lasting + (0 if self.encoding is None else _weight(self.encoding) - self.bare.image.nbytes)


class Session:
    """Every method but `run` is called in its thread, by jobs given to `run`.

    watch: hears of every image that is labelled, with its key.
    """

    def __init__(self, world: OpenWorldModel, limits: Limits) -> None:
        self.world, self.limits = world, limits
        self.images: OrderedDict[str, OpenImage] = OrderedDict()
        self.watch: Callable[[str, Scene], object] = lambda key, scene: None
        self.waiting = 0
        self._pool = ThreadPoolExecutor(1, "ignota-session")

    async def run(self, job: Callable[[], T]) -> T:
        """Queues a job; raises Busy where the queue is full, or the job is not done in time."""
        if self.waiting >= self.limits.queue:
            raise Busy("too much to do: try again in a second")
        self.waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._guarded, job)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.limits.seconds)
        except TimeoutError:
            raise Busy(f"no answer within {self.limits.seconds:g} seconds: try again later") from None

    def _guarded(self, job: Callable[[], T]) -> T:
        """Raises Busy for what is no fault of the request or the program: a store that fails, a world that changed."""
        state = None
        try:
            state = self.world.store.state()
            return job()
        except (InputError, Missing, Busy):
            raise
        except (sqlite3.Error, OSError, MemoryError) as error:
            raise Busy(f"the server cannot do this now ({error or 'out of memory'}): try again later") from error
        except Exception as error:  # whatever the reader of a world that changes under it comes across
            if state is None or self.world.store.state() == state:
                raise
            raise Busy("the world was changed meanwhile: try again") from error
        finally:
            self._shrink()

    def close(self) -> None:
        """Finishes what was accepted."""
        self._pool.shutdown(wait=True)
        self.world.store.close()

    def open(self, data: bytes, name: str) -> OpenImage:
        """Decodes and encodes an image, once for the same bytes; raises InputError for what is no fit picture."""
        key = key_of(data)
        if key in self.images:
            image = self.image(key)
            return self._keep(replace(image, name=name or image.name))
        return self._read(key, data, name)

    def _read(self, key: str, data: bytes, name: str) -> OpenImage:
        encoding = self._encode(data, name)
        tables, bits = self.world.tables(encoding), self.world.channel_bits(encoding)
        return self._keep(OpenImage(key, name, data, tables, bits, encoding.bare, encoding, self.world.known))

    def image(self, key: str) -> OpenImage:
        """An open image, read again where the world was calibrated meanwhile; raises Missing."""
        if key not in self.images:
            raise Missing(key)
        self.images.move_to_end(key)
        image = self.images[key]
        return image if image.known is self.world.known else self._read(key, image.data, image.name)

    def scene(self, image: OpenImage) -> tuple[OpenImage, Scene]:
        """The scene of an open image, encoded again where its features were dropped."""
        encoding = image.encoding
        if encoding is None:
            encoding = self._encode(image.data, image.name)
            image = self._keep(replace(image, encoding=encoding))
        return image, self.world.scene(encoding, image.tables)

    def patches(self, keys: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """Of each open image what taught classes have changed in it, as `patch`, and the keys of those that are left.

        As many as fit into one answer and one second; one at least.
        """
        listed = [key for key in dict.fromkeys(keys) if key in self.images]
        found: dict[str, str] = {}
        size, end = 0, time.monotonic() + _PATCHING
        for key in listed:
            if found and (size >= self.limits.answer or time.monotonic() >= end):
                break
            found[key] = self.patch(self.image(key))
            size += len(found[key])
        return found, listed[len(found) :]

    def patch(self, image: OpenImage) -> str:
        """Where an image is labelled or scored otherwise than before anything was taught, in base64, little-endian.

        uint32 number of runs along the rows of the working grid, uint32 first pixel of each, uint32 length of each;
        then for each pixel of the runs uint16 anomaly × 65535 that is left, and for each uint8 class id.
        """
        scene = self.world.scene(image.bare, image.tables)
        self.watch(image.key, scene)
        if not scene.learnt_something:
            return base64.b64encode(bytes(4)).decode()
        labels, score = scene.working_labels, scene.score.cpu().numpy()
        changed = ((labels != image.tables.closed) | (score != image.tables.score.cpu().numpy())).ravel()
        left = scene.working_levels.ravel()[changed]
        body = left.astype("<u2").tobytes() + labels.ravel()[changed].astype(np.uint8).tobytes()
        return base64.b64encode(_runs(changed) + body).decode()

    def runs(self, mask: Bool[np.ndarray, "h w"]) -> str:
        """A mask on the working grid as the head of a patch: number, first pixels and lengths of its runs."""
        return base64.b64encode(_runs(mask.ravel())).decode()

    def layers(self, image: OpenImage) -> bytes:
        """What a page needs to draw the image at any threshold, on the working grid, little-endian, row by row.

        uint16 anomaly × 65535 before anything was taught, uint16 region ids, uint16 meta-channel bits, uint8 labels of
        the closed set, uint16 unknown objects from 1.
        """
        tables, recipe = image.tables, self.world.known.recipe
        size = tables.closed.shape
        anomaly = levels(tables.score.cpu().numpy(), recipe.threshold, recipe.scale)
        rows = np.arange(size[0]) * image.bits.shape[0] // size[0]
        columns = np.arange(size[1]) * image.bits.shape[1] // size[1]
        objects = np.zeros(size, np.uint16)
        if recipe.cutoff is not None:
            objects = working_objects(tables.score, image.bare.image, recipe.threshold, recipe.scale, recipe.cutoff)
        planes = (anomaly, tables.regions.ids, image.bits[rows[:, None], columns])
        wide = b"".join(np.ascontiguousarray(plane, "<u2").tobytes() for plane in planes)
        return wide + np.ascontiguousarray(tables.closed, np.uint8).tobytes() + objects.astype("<u2").tobytes()

    def _encode(self, data: bytes, name: str) -> Encoding:
        encoding = self.world.encode(decode_image(data, "the image", self.limits.pixels))
        return replace(encoding, source=name)

    def _keep(self, image: OpenImage) -> OpenImage:
        self.images[image.key] = image
        self.images.move_to_end(image.key)
        while len(self.images) > self.limits.images:
            self.images.popitem(last=False)
        weight = sum(kept.weight for kept in self.images.values())
        for key in list(self.images)[:-1]:  # features first, the oldest first
            if weight <= self.limits.memory:
                break
            weight -= self._drop_features(key)
        while weight > self.limits.memory and len(self.images) > 1:
            weight -= self.images.popitem(last=False)[1].weight
        return image

    def _drop_features(self, key: str) -> int:
        """Returns the bytes that are gained."""
        kept = self.images[key]
        self.images[key] = replace(kept, encoding=None)
        return kept.weight - kept.lasting

    def _shrink(self) -> None:
        """Drops features, then images, the oldest first, while the process takes more than it may."""
        most = self.limits.process
        if most is None or not _beyond(most):
            return
        return_freed_memory()
        with_features = [key for key, kept in self.images.items() if kept.encoding is not None]
        while _beyond(most) and (with_features or len(self.images) > 1):
            if with_features:
                self._drop_features(with_features.pop(0))
            else:
                self.images.popitem(last=False)
            return_freed_memory()

    def _done(self, future: asyncio.Future[T]) -> None:
        self.waiting -= 1
        if not future.cancelled():
            future.exception()  # looked at, so that a job that nobody waited for to the end is not complained of


def key_of(data: bytes) -> str:
    """What an image is called between page and server, by its bytes."""
    return hashlib.sha256(data).hexdigest()[:24]


def _runs(flat: Bool[np.ndarray, " P"]) -> bytes:
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))
    first, last = edges[::2], edges[1::2]
    return np.concatenate([[len(first)], first, last - first]).astype("<u4").tobytes()


def _beyond(most: int) -> bool:
    resident = resident_memory()
    return resident is not None and resident > most


def _weight(encoding: Encoding) -> int:
    tensors = (encoding.logits, *encoding.features.values())
    return encoding.image.nbytes + sum(tensor.numel() * tensor.element_size() for tensor in tensors)
