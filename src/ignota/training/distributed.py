"""The processes that share one training: their ranks, their sums and rows, and the distribution of work.

A process that trains alone is the only one of its group, and every function here then gives back what it was given, bit
for bit. A group is described by torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR,
MASTER_PORT), whoever started it.
"""

from __future__ import annotations

import datetime
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ignota.structures import InputError

Strategy = Literal["ddp", "fsdp"]
T = TypeVar("T")
MEETING = "IGNOTA_MEETING"
"""Names a file at which the processes of one machine meet; otherwise they meet at MASTER_ADDR and MASTER_PORT."""
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
TIMEOUT = datetime.timedelta(minutes=30)
"""How long a process waits for the others; one that dies is noticed at once."""


@dataclass(frozen=True)
class ProcessGroup:
    """rank: number of this process among `size`, `local_rank` among the `local_size` of this machine.

    strategy: whether every process holds the whole network (DDP) or a part of it (FSDP, for the closed set alone).
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    strategy: Strategy = "ddp"

    @property
    def nodes(self) -> int:
        return self.size // self.local_size


_group = ProcessGroup()


def group() -> ProcessGroup:
    """The processes that train together; this one alone outside `process_group`."""
    return _group


def is_rank_zero() -> bool:
    """Whether this process is the one that writes files and talks to people."""
    return _group.rank == 0


def loader_processes(device: torch.device) -> int:
    """How many processes may load data for this one on a machine that all of its group share.

    None for CPU processes that train together: they take the cores already, and a process that is forked while gloo's
    threads hold a lock would wait for it for ever.
    """
    if device.type != "cuda":
        return int(_group.size == 1)
    return max(1, min(4, (os.cpu_count() or 1) // _group.local_size))


@contextmanager
def process_group(device: torch.device, strategy: Strategy = "ddp") -> Iterator[ProcessGroup]:
    """This process as one of those that torchrun's variables describe, until the end of the block.

    Raises InputError where it has no GPU of its own.
    """
    global _group
    rank, size, local_rank, local_size = (int(os.environ[name]) for name in VARIABLES)
    found = ProcessGroup(rank, size, local_rank, local_size, strategy)
    if device.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise InputError(
                f"process {local_rank} of this machine has no GPU of its own, as it sees {torch.cuda.device_count()}: "
                "let each see all of them (SLURM: --gpus-per-node), and start one process a GPU"
            )
        torch.cuda.set_device(local_rank)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    place = os.environ.get(MEETING, "env://")
    dist.init_process_group(backend, place, rank=found.rank, world_size=found.size, timeout=TIMEOUT)
    try:
        _group = found
        yield found
        dist.destroy_process_group()  # after a failure it could wait for a process that is no more
    finally:
        _group = ProcessGroup()


def part(count: int) -> slice:
    """This process's part of `count` things that lie in a row."""
    return slice(_group.rank * count // _group.size, (_group.rank + 1) * count // _group.size)


def check_batch(name: str, batch: int) -> None:
    """Raises InputError for a batch with fewer samples than there are processes."""
    if batch < _group.size:
        raise InputError(
            f"{name} is {batch}, too few samples for {_group.size} devices: give a larger --{name} or fewer devices"
        )


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Total.forward(ctx, gradients[0])


def total(value: Tensor) -> Tensor:
    """The sum over all processes, element by element.

    Gradients flow to every process. A loss that is taken of totals is the loss of the whole batch, the same in every
    process, and the mean over processes of its parameters' gradients, as DDP and FSDP take it, is that of one process.
    """
    return value if _group.size == 1 else _Total.apply(value)


def gathered(rows: Tensor, count: int) -> Tensor:
    """The `count` rows of all processes, "N D", of which this one holds its `part`; gradients as of `total`."""
    if _group.size == 1:
        return rows
    mine = part(count)
    return total(F.pad(rows, (0, 0, mine.start, count - mine.stop)))


def gathered_rows(rows: Tensor) -> Tensor:
    """The rows of all processes one under the other, by rank, however many each holds; gradients as of `total`."""
    if _group.size == 1:
        return rows
    counts = torch.zeros(_group.size, dtype=torch.int64, device=rows.device)
    counts[_group.rank] = len(rows)
    counts = total(counts)
    before, after = int(counts[: _group.rank].sum()), int(counts[_group.rank + 1 :].sum())
    return total(F.pad(rows, [0, 0] * (rows.dim() - 1) + [before, after]))


def each(items: Sequence[int], read: Callable[[int], T], kinds: Sequence[type] = ()) -> Iterator[T]:
    """`read` of every item in order; the processes share the reading, and each is given all that was read.

    kinds: classes of our own among what `read` returns. It must be drawn to its end in every process.
    """
    if _group.size == 1:
        yield from map(read, items)
        return
    for start in range(0, len(items), _group.size):
        at = start + _group.rank
        mine = read(items[at]) if at < len(items) else None
        yield from _exchanged(mine, kinds)[: len(items) - start]


def broadcast(value: T) -> T:
    """What the first process holds; all wait for it."""
    return value if _group.size == 1 else _exchanged(value if is_rank_zero() else None)[0]


def _exchanged(value: Any, kinds: Sequence[type] = ()) -> list[Any]:
    """The values of all processes, by rank: tensors, arrays, `kinds` and plain values; nothing else is unpacked."""
    stream = io.BytesIO()
    torch.save(value, stream)
    data = torch.frombuffer(stream.getbuffer(), dtype=torch.uint8)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(_group.size)]
    dist.all_gather(sizes, torch.tensor([len(data)]))
    longest = max(int(size) for size in sizes)
    parcels = [torch.empty(longest, dtype=torch.uint8) for _ in range(_group.size)]
    dist.all_gather(parcels, F.pad(data, (0, longest - len(data))))
    return [_unpacked(parcel[: int(size)], kinds) for parcel, size in zip(parcels, sizes, strict=True)]


def _unpacked(parcel: Tensor, kinds: Sequence[type]) -> Any:
    safe: list[Any] = [
        np.ndarray,
        np.dtype,
        np.empty(0).__reduce__()[0],
        *(type(np.dtype(code)) for code in "?Bilqfd"),
        *kinds,
    ]
    with torch.serialization.safe_globals(safe):
        return torch.load(io.BytesIO(parcel.numpy().tobytes()), _here, weights_only=True)


def _here(storage: Any, location: str) -> Any:
    return storage.cuda() if location.startswith("cuda") else storage
