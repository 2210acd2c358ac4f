"""Folded networks answer as before, and what cannot be folded is left alone."""

from __future__ import annotations

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.inference import FixedSame, folded, has_bfloat16, in_bfloat16, with_fixed_padding
from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec

PROBE = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def _norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_segmenter_folded_answers_as_before() -> None:
    torch.manual_seed(0)
    network = SmpSegmenter(SmpSpec(5, decoder_channels=32, detail=8)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training, where they are not the identity
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    quick = folded(network, PROBE)
    assert _norms(quick) < _norms(network) / 5
    images = torch.randn(1, 3, 80, 112)
    with torch.no_grad():
        before, after = network(images), quick(images)
    scale = before.logits.abs().max()
    assert (before.logits - after.logits).abs().max() < 1e-4 * scale
    assert _norms(network) > 0  # the original is as it was


def test_a_frozen_encoder_folds_whole() -> None:
    network = FrozenEncoder(taps=("frozen/16", "frozen/32"))
    quick = folded(network, PROBE)
    assert _norms(quick) == 0
    for name, grid in network(PROBE).items():
        assert torch.allclose(grid, quick(PROBE)[name], atol=1e-3)


class _Reversed(nn.Module):
    """Stands in its parent in another order than it runs, so that folding by place would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.norm.running_mean.fill_(2.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(self.norm(x).relu())


def test_a_wrong_guess_is_taken_back() -> None:
    network = _Reversed().eval()
    quick = folded(network, PROBE)
    assert _norms(quick) == 1
    with torch.no_grad():
        assert torch.equal(quick(PROBE), network(PROBE))


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 2, 1), (5, 1, 2)])
def test_fixed_padding_is_that_of_whole_strides(kernel: int, stride: int, dilation: int) -> None:
    same = Conv2dSame(4, 4, kernel, stride=stride, dilation=dilation, groups=4)
    fixed = with_fixed_padding(nn.Sequential(same))[0]
    assert isinstance(fixed, FixedSame)
    x = torch.randn(1, 4, 12, 20)
    assert torch.allclose(same(x), fixed(x), atol=1e-6)


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
