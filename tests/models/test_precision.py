"""bfloat16 twins keep their first layers, and their answer is nearly that of float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.precision import has_bfloat16, in_bfloat16


@pytest.fixture(scope="module")
def encoders() -> tuple[FrozenEncoder, FrozenEncoder]:
    plain = FrozenEncoder(taps=("frozen/16", "frozen/32"))
    return plain, in_bfloat16(plain, torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))


def test_first_layers_stay_in_float32(encoders: tuple[FrozenEncoder, FrozenEncoder]) -> None:
    types = [m.weight.dtype for m in encoders[1].modules() if isinstance(m, nn.Conv2d)]
    early = types.index(torch.bfloat16)
    assert 4 <= early < len(types) / 3
    assert all(dtype == torch.bfloat16 for dtype in types[early:])
    assert all(p.dtype == torch.float32 for p in encoders[0].parameters())


def test_answers_nearly_as_float32(encoders: tuple[FrozenEncoder, FrozenEncoder]) -> None:
    plain, quick = encoders
    images = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    for name, grid in plain(images).items():
        error = (quick(images)[name].float() - grid).abs().mean() / grid.abs().mean()
        assert 0 < error < 0.1, f"{name} is off by {error:.3f} of its mean size"


def test_a_machine_without_bfloat16_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not has_bfloat16(torch.device("cpu"))
