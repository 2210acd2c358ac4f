"""A process alone changes nothing; parts, dropout and work that is dealt out come together to the whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec
from ignota.structures import InputError
from ignota.training import distributed, replicas
from ignota.training.configuration import ExperimentConfig
from ignota.training.distributed import ProcessGroup

Be = Callable[[int, int], None]


@pytest.fixture
def be(monkeypatch: pytest.MonkeyPatch) -> Be:
    """Makes this process look like one of a group that nobody else has joined."""
    return lambda rank, size: monkeypatch.setattr(distributed, "_group", ProcessGroup(rank, size, rank, size))


def test_alone_everything_stays_what_it_is() -> None:
    value = torch.ones(3, 2, requires_grad=True)
    assert (
        distributed.total(value) is value
        and distributed.gathered(value, 3) is value
        and distributed.broadcast(value) is value
    )
    assert list(distributed.each([3, 1, 2], lambda i: 10 * i)) == [30, 10, 20]
    assert distributed.is_rank_zero() and distributed.part(7) == slice(0, 7)
    network = nn.Dropout()
    assert replicas.replica(network, 4, torch.device("cpu")) is network


def test_alone_what_is_dealt_out_is_read_when_it_is_drawn() -> None:
    read: list[int] = []
    drawn = distributed.each([1, 2, 3], lambda i: read.append(i))
    next(drawn)
    assert read == [1]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
def test_parts_cover_the_batch(be: Be, size: int) -> None:
    seen: list[int] = []
    for rank in range(size):
        be(rank, size)
        seen += range(16)[distributed.part(16)]
    assert seen == list(range(16))


def test_a_process_without_a_gpu_of_its_own_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(distributed.VARIABLES, "3434", strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(
            InputError, match=r"process 3 of this machine has no GPU of its own, as it sees 1: .*--gpus-per-node"
        ),
        distributed.process_group(torch.device("cuda")),
    ):
        pass


def test_a_batch_of_fewer_samples_than_processes_is_refused(be: Be) -> None:
    be(0, 4)
    distributed.check_batch("closed_set.batch", 4)
    with pytest.raises(InputError, match=r"closed_set\.batch is 3, too few samples for 4 devices"):
        distributed.check_batch("closed_set.batch", 3)


@pytest.mark.parametrize("dropout", [nn.Dropout(0.5), nn.Dropout2d(0.5), DropPath(0.5)], ids=lambda d: type(d).__name__)
def test_dropout_of_all_parts_is_that_of_the_whole_batch(be: Be, dropout: nn.Module) -> None:
    x = torch.randn(5, 4, 6, 8).to(memory_format=torch.channels_last)

    def dropped(module: nn.Module, value: Tensor) -> Tensor:
        torch.manual_seed(3)
        return module.train()(value)

    expected, parts = dropped(dropout, x), []
    for rank in range(2):
        be(rank, 2)
        shared = replicas.replica(nn.Sequential(dropout), 5, torch.device("cpu"))
        assert isinstance(shared[0], replicas.SharedDropout)
        mine = x[distributed.part(5)]
        parts.append(dropped(shared, mine))
        assert torch.equal(dropped(shared, mine.contiguous()), parts[-1])  # as it comes out of a network under FSDP
        assert torch.equal(shared.eval()(x), x)
    assert (expected == 0).any() and torch.equal(torch.cat(parts), expected)


def test_a_replica_bears_the_same_names(be: Be) -> None:
    segmenter = SmpSegmenter(SmpSpec(3, decoder_channels=16, detail=8))
    be(1, 2)
    copy = replicas.replica(segmenter, 2, torch.device("cpu"))
    on_gpu = replicas.replica(segmenter, 2, torch.device("cuda"))
    for found in (copy, on_gpu):
        assert list(found.state_dict()) == list(segmenter.state_dict())
    shared = [module for module in copy.modules() if isinstance(module, replicas.SharedDropout)]
    assert len(shared) == sum(isinstance(module, nn.Dropout) for module in copy.modules()) > 0
    kinds = {type(module).__name__ for module in on_gpu.modules()}
    assert "SyncBatchNormAct" in kinds and not {"BatchNorm2d", "BatchNormAct2d"} & kinds


def test_frozen_statistics_stay_and_weights_learn() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    replicas.freeze_statistics(network)
    before = network[1].running_mean.clone()
    network(torch.randn(4, 1, 3, 3)).sum().backward()
    assert torch.equal(network[1].running_mean, before) and network[1].weight.grad is not None
    assert network[0].training


def test_cpu_processes_freeze_statistics_and_gpus_do_not(be: Be) -> None:
    config = ExperimentConfig()
    assert replicas.fit_for_group(config, torch.device("cpu")) is config
    be(0, 2)
    assert replicas.fit_for_group(config, torch.device("cpu")).closed_set.frozen_norm
    assert not replicas.fit_for_group(config, torch.device("cuda")).closed_set.frozen_norm
