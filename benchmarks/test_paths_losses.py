"""Meta-channel losses and the choice of channels against loops over channels and pairs; `make bench`."""

from __future__ import annotations

import torch
from benchmarks.racing import OURS, Bar
from benchmarks.references import losses_by_loops, overlap_by_pairs, select_by_loops

from ignota.functional.meta_channels import PAPER, RELEASED, aggregate, overall_loss, overlap_loss, select_channels

SHAPE = (4, 20, 512, 512)
KNOWN = 16
COPY = "one read and one write of the tensor"
WARM = "the same into memory already mapped"


def drawn(device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    channels = torch.rand(*SHAPE, generator=random).to(device)
    image = torch.randn(SHAPE[0], 3, *SHAPE[2:], generator=random).to(device)
    return channels, image, torch.randint(0, KNOWN, (SHAPE[0], *SHAPE[2:]), generator=random).to(device)


def test_losses_forward_and_backward(race, device: str) -> None:
    channels, image, labels = drawn(device)
    zero, target = torch.zeros((), device=device), torch.empty_like(channels)

    def gradient(loss) -> torch.Tensor:
        leaf = channels.detach().requires_grad_()
        (found,) = torch.autograd.grad(loss(leaf), leaf)
        return found

    def ours(config=PAPER) -> torch.Tensor:
        return gradient(lambda c: overall_loss(zero, c, image, labels, KNOWN, config)["total"])

    def loops() -> torch.Tensor:
        return gradient(lambda c: losses_by_loops(c, image, KNOWN))

    def bare() -> torch.Tensor:
        flat = channels.flatten(2)
        return torch.bmm(flat @ flat.mT, flat)

    torch.testing.assert_close(ours(), loops(), rtol=1e-3, atol=1e-6)
    race(
        "losses",
        "meta-channel losses of 4×20×512×512, Eq. 7 to 9, forward and backward",
        {
            OURS: ours,
            COPY: channels.clone,
            WARM: lambda: target.copy_(channels),
            "the two products of the pairs alone": bare,
            "ours, Eq. 7 alone": lambda: gradient(overlap_loss),
            "pairwise loops, Eq. 7 alone": lambda: gradient(overlap_by_pairs),
            "loops, Eq. 7 to 9": loops,
            "ours as released, with supervision of channels": lambda: ours(RELEASED),
        },
        [Bar("pairwise loops, Eq. 7 alone", "ours, Eq. 7 alone", least=40), Bar(OURS, COPY, most=6)],
        device,
        COPY,
        rounds=5,
    )


def test_selection_and_aggregation(race, device: str) -> None:
    channels, _, _ = drawn(device)
    masks = channels[:, 0] > 0.7
    assert select_channels(channels, masks).equal(select_by_loops(channels, masks, 0.1))

    def ours() -> torch.Tensor:
        return aggregate(channels[0], select_channels(channels, masks))

    def loops() -> torch.Tensor:
        union = torch.zeros(SHAPE[2:], dtype=torch.bool, device=device)
        for channel, chosen in zip(channels[0], select_by_loops(channels, masks, 0.1), strict=True):
            if chosen:
                union = union | (channel >= 0.5)
        return union

    assert ours().equal(loops())
    race(
        "selection",
        "selection of 20 channels by 4 exemplars and their union, Eq. 13 to 15, at 512×512",
        {OURS: ours, "reading the channels once": channels.sum, "loops over channels": loops},
        [],
        device,
        "reading the channels once",
    )
