"""Networks that learn from a part of each batch."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import nn

from ignota.structures import InputError
from ignota.training import distributed
from ignota.training.distributed import ProcessGroup, loader_processes
from ignota.training.replicas import SharedDropout, replica

CPU = torch.device("cpu")


@pytest.fixture
def one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as the second of two."""
    monkeypatch.setattr(distributed, "_group", ProcessGroup(1, 2, 1, 2))


def test_the_part_of_a_batch_is_dropped_as_in_the_whole(one_of_two: None) -> None:
    whole = torch.rand(4, 3, 5, 5).to(memory_format=torch.channels_last)
    torch.manual_seed(3)
    expected = nn.Dropout(0.5)(whole)
    torch.manual_seed(3)
    torch.testing.assert_close(SharedDropout(nn.Dropout(0.5), 4)(whole[2:]), expected[2:])


def test_attention_reads_the_probability_of_a_dropout_that_does_nothing(one_of_two: None) -> None:
    network = replica(nn.Sequential(Block(8, 2)), 4, CPU).train()
    assert network(torch.rand(2, 5, 8)).shape == (2, 5, 8)


def test_rows_that_are_no_samples_are_refused(one_of_two: None) -> None:
    with pytest.raises(InputError, match="8 rows for 2 samples"):
        SharedDropout(nn.Dropout(0.5), 4)(torch.rand(8, 3))


def test_the_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    counts = []
    for local_size in (1, 4, 16):
        monkeypatch.setattr(distributed, "_group", ProcessGroup(0, 16, 0, local_size))
        counts.append(loader_processes(torch.device("cuda")))
    assert counts == [4, 2, 1]


def test_cpu_processes_that_train_together_load_for_themselves(one_of_two: None) -> None:
    assert loader_processes(torch.device("cpu")) == 0


def test_one_cpu_process_has_another_load_for_it() -> None:
    assert loader_processes(torch.device("cpu")) == 1
