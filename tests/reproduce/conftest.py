"""A reproduction so small that all of it is trained and measured in seconds, and figures that nobody measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ignota.reproduce.cells import Cell, ClosedCell
from ignota.reproduce.fidelity import Fidelity
from ignota.reproduce.grounds import GROUNDS, Setting
from ignota.scores import duir, heads, rbm, windows
from ignota.scores.trained import Tick, descend
from ignota.training.configuration import ExperimentConfig

CPU = torch.device("cpu")


@contextmanager
def quickly() -> Iterator[None]:
    """Baseline scores learn in four steps, on objects of two scenes; DMLNet's five scales are small."""

    def few(parameters: Sequence[Tensor], loss: Callable[[], Tensor], steps: int, lr: float, tick: Tick) -> None:
        descend(parameters, loss, min(steps, 4), lr, tick)

    with pytest.MonkeyPatch.context() as patch:
        for room in (duir, heads, rbm, windows):
            patch.setattr(room, "descend", few)
        patch.setattr("ignota.training.score_states._SCENES", 2)
        patch.setattr("ignota.evaluation.five_scales.SHORT_SIDES", (48, 56, 64, 72, 80))
        yield


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """What a test measures again is measured as the whole reproduction was."""
    with quickly():
        yield


@pytest.fixture(scope="session")
def setting(tiny: ExperimentConfig) -> Setting:
    """Two seeds on two tiny drawn streets; anomalies are the novel classes alone, so that one network serves all."""
    ground = GROUNDS["synthetic"]
    ground = dataclasses.replace(ground, anomaly_sets=ground.anomaly_sets[1:])
    tiny = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, train_length=12))
    return Setting(ground, Fidelity("tiny", 2, 2, 2, {}), {ground.preset: tiny}, None)


@pytest.fixture(scope="session")
def asked() -> tuple[str, ...]:
    """What the whole one is asked for: every kind of cell and picture that one network can serve."""
    return ("table-1", "table-e", "table-d", "figure-2", "figure-5", "figure-6", "figure-i")


@pytest.fixture(scope="session")
def whole(setting: Setting, asked: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reproduction that ran once; never changed by a test."""
    from ignota.reproduce.publishing import reproduce

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("reproduce")
    with quickly():
        reproduce(asked, setting, out, CPU, quiet=True)
    return out


@pytest.fixture
def invented() -> Callable[[Cell], Mapping[str, Any]]:
    """Figures for any cell: seeds and draws differ by a point, so that means and spreads are known."""

    def lookup(cell: Cell) -> Mapping[str, Any]:
        if isinstance(cell, ClosedCell):
            return {"miou": {"all": 0.7}, "iou": {"road": 0.9}}
        variant = getattr(cell, "variant", None)
        seed = variant.seed + variant.branch_seed if variant else 0
        step = 0.01 * (getattr(cell, "draw", None) or seed)
        miou = dict.fromkeys(("all", "novel", "old", "harmonic"), 0.5 + step)
        scores = dict.fromkeys(("aupr", "auroc", "fpr95"), 0.5 + step)
        return {"miou": miou, "iou": {"road": 0.9}, "dmlnet": scores, "pooled": scores}

    return lookup
