"""Losses that shape meta channels (RAML, Eq. 6-9) and the choice and union of channels at inference (Eq. 13-15).

Channels are C "B M H W" in 0..1, here with M = known classes first, then meta channels. Where paper and released code
differ, `form` chooses; `PAPER` and `RELEASED` collect the choices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Integer, Num
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ignota.functional.numbers import widened

Form = Literal["paper", "released"]
Total = Callable[[Tensor], Tensor]
"""The sum of a term over all parts of a batch that several processes share, so that losses are those of the whole."""

_FLOOR = 1e-4
"""Below this share of its target a meta channel's split loss goes on as a straight line, so that 0 stays finite."""


@dataclass(frozen=True)
class MetaChannelLossConfig:
    """How meta channels are activated and trained; override single items with `dataclasses.replace`.

    segmentation: what L_seg is taken over: "channels", all N+K outputs, as the softmax of Section 3.3 has them, or
    "logits", the closed set's N logits below the meta channels, as in the released code.
    segmentation_per_batch: the mean cross entropy is divided by the batch size, as the released code does.
    """

    activation: Literal["softmax", "sigmoid"]
    segmentation: Literal["channels", "logits"]
    overlap: Form
    split: Form
    reconstruction: Form
    weight_overlap: float = 0.1
    weight_split: float = 0.1
    weight_reconstruction: float = 0.01
    weight_channels: float = 0.0
    eta: float = 0.02
    segmentation_per_batch: bool = False


PAPER = MetaChannelLossConfig("softmax", "channels", overlap="paper", split="paper", reconstruction="paper")
"""As printed. With softmax over all channels ΣC = 1, so the reconstruction loss has neither value nor gradient."""

RELEASED = MetaChannelLossConfig(
    "sigmoid",
    "logits",
    overlap="released",
    split="released",
    reconstruction="released",
    weight_channels=0.1,
    segmentation_per_batch=True,
)

PRESETS = {"paper": PAPER, "released": RELEASED}


def activate(logits: Float[Tensor, "B M H W"], config: MetaChannelLossConfig) -> Float[Tensor, "B M H W"]:
    """Channels C in 0..1: a softmax over all of them (paper) or a sigmoid each (released)."""
    return logits.softmax(1) if config.activation == "softmax" else logits.sigmoid()


def whole(term: Tensor) -> Tensor:
    """The total of a batch that lies in one place."""
    return term


def _count(like: Tensor, number: int, total: Total) -> Tensor:
    return total(like.new_tensor(float(max(number, 1))))


def _mean(mean: Tensor, number: int, total: Total) -> Tensor:
    """The mean over the whole batch, of the mean of `number` values of a part."""
    return mean if total is whole else total(mean * number) / _count(mean, number, total)


class _Moments(torch.autograd.Function):
    """All that the losses ask of channels C, "B M P" over P pixels: C·Cᵀ, the sum of each channel and of each pixel.

    One product each way: the gradient is (G + Gᵀ)·C plus what the sums' gradients add, written a single time.
    """

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(flat)
        ctx.set_materialize_grads(False)
        with torch.autocast(flat.device.type, enabled=False):
            return flat @ flat.mT, flat.sum(2), flat.sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gram: Tensor | None, channel: Tensor | None, pixel: Tensor | None) -> Tensor:
        (flat,) = ctx.saved_tensors
        rows = torch.zeros_like(flat[:, :, :1]) if channel is None else channel[:, :, None]
        constant = rows.expand_as(flat) if pixel is None else rows + pixel[:, None]
        if gram is None:
            return constant
        if channel is None and pixel is None:
            return torch.bmm(gram + gram.mT, flat)
        constant = constant.contiguous()
        return torch.baddbmm(constant, gram + gram.mT, flat, out=constant)


def _moments(channels: Tensor) -> tuple[Float[Tensor, "B M M"], Float[Tensor, "B M"], Float[Tensor, "B P"]]:
    gram, channel, pixel = _Moments.apply(widened(channels).flatten(2))
    return gram, channel, pixel


def overlap_loss(channels: Float[Tensor, "B M H W"], form: Form = "paper", total: Total = whole) -> Float[Tensor, ""]:
    """How much pairs of channels overlap (RAML, Eq. 7), per image, then the mean over the batch.

    L_inter = Σ_{i<j} (1 - ℓ_dice(C_i, C_j)), all inner products from one Gram matrix per image.
    paper: ℓ_dice = 1 - (2Σpq + 1) / (Σp + Σq + 1), the sum over pairs i < j.
    released: ℓ_dice = 1 - (Σpq + 1) / (Σp² + Σq² + 1), the mean over ordered pairs i ≠ j. Zero for a single channel.
    """
    gram, channel, _ = _moments(channels)
    return _overlap(gram, channel, form, total)


def _overlap(gram: Tensor, channel: Tensor, form: Form, total: Total) -> Tensor:
    size = (gram.diagonal(dim1=1, dim2=2) if form == "released" else channel)[:, :, None]
    factor = 1 if form == "released" else 2
    dice = (factor * gram + 1) / (size + size.mT + 1)
    pairs = dice.triu(1).sum((1, 2))
    count = gram.shape[1] * (gram.shape[1] - 1) // 2
    if form == "released":
        pairs = pairs / max(count, 1)
    return total(pairs.sum()) / _count(pairs, len(gram), total)


def split_loss(
    channels: Float[Tensor, "B M H W"], known: int, eta: float = 0.02, form: Form = "paper", total: Total = whole
) -> Float[Tensor, ""]:
    """Keeps meta channels from staying empty (RAML, Eq. 8); known: number of leading known channels.

    paper, as printed: Σ_i -log(max(η ΣC_i, 1)), the mean over the batch. It has no lower bound, so it always wants
    larger channels, and an empty one (η ΣC_i < 1) gets no gradient at all: bounded on the wrong side.
    released: the mean over meta channels of -log(clamp(s, 0, 1)) with s = mean(C_i) / η over the whole batch, zero
    once a channel covers the share η. Below s = 1e-4 it goes on along its tangent, so that an exactly empty channel
    has a finite loss and a gradient that fills it.
    """
    return _split(widened(channels).sum((2, 3)), known, channels.shape[2] * channels.shape[3], eta, form, total)


def _split(channel: Tensor, known: int, pixels: int, eta: float, form: Form, total: Total) -> Tensor:
    meta = channel[:, known:]
    if meta.numel() == 0 or pixels == 0:
        return meta.sum()
    if form == "paper":
        logs = (eta * meta).clamp_min(1).log()
        return -total(logs.sum()) / _count(logs, len(meta), total)
    share = (_mean(meta.mean(0) / pixels, len(meta) * pixels, total) / eta).clamp_max(1)
    log = share.clamp_min(_FLOOR).log()
    tangent = (share - _FLOOR) / _FLOOR
    return -torch.where(share < _FLOOR, log + tangent, log).mean()


def reconstruction_loss(
    channels: Float[Tensor, "B M H W"], image: Float[Tensor, "B 3 H W"], form: Form = "paper", total: Total = whole
) -> Float[Tensor, ""]:
    """How far the channels are from covering every pixel once: ‖X ⊙ (ΣC - 1)‖² (RAML, Eq. 9).

    image: as the network sees it, normalised. paper: the squared norm, a sum over pixels and colours, the mean over
    the batch. released: the mean squared error of ΣC·X against X. Computed as X²·(ΣC - 1)², never per channel.
    """
    return _reconstruction(widened(channels).sum(1).flatten(1), image, form, total)


def _reconstruction(pixel: Tensor, image: Tensor, form: Form, total: Total) -> Tensor:
    uncovered = ((pixel - 1).square() * widened(image).square().sum(1).flatten(1)).sum()
    return total(uncovered) / _count(uncovered, image.numel() if form == "released" else len(image), total)


def channel_supervision_loss(
    channels: Float[Tensor, "B M H W"], labels: Integer[Tensor, "B H W"], known: int, total: Total = whole
) -> Float[Tensor, ""]:
    """Dice plus binary cross entropy of each known channel against its class (released code; not in the paper).

    The mean over the `known` leading channels of 1 - (Σpt + 1) / (Σp² + Σt² + 1), per image, and of the pixel-mean
    cross entropy. Every pixel of another label, void and novel ones too, is a negative: this leaves them to the meta
    channels.
    """
    p = widened(channels[:, :known])
    if p.numel() == 0:
        return p.sum()
    t = (labels[:, None] == torch.arange(known, device=labels.device)[:, None, None]).to(p.dtype)
    dice = 1 - ((p * t).sum((2, 3)) + 1) / ((p * p).sum((2, 3)) + t.sum((2, 3)) + 1)
    with torch.autocast(p.device.type, enabled=False):  # half precision would overflow the logarithms
        entropy = F.binary_cross_entropy(p, t)
    return _mean(dice.mean(), dice.numel(), total) + _mean(entropy, p.numel(), total)


def overall_loss(
    segmentation: Float[Tensor, ""],
    channels: Float[Tensor, "B M H W"],
    image: Float[Tensor, "B 3 H W"],
    labels: Integer[Tensor, "B H W"],
    known: int,
    config: MetaChannelLossConfig,
    total: Total = whole,
) -> dict[str, Tensor]:
    """L = L_seg + λ_inter L_inter + λ_split L_split + λ_rec L_rec (RAML, Eq. 6), plus the released channel loss.

    segmentation: mean cross entropy of the closed set (Eq. 1), of the whole batch. total: sums over the parts of a
    batch that is shared, of which the arguments are one. Returns the unweighted terms "segmentation", "overlap",
    "split", "reconstruction" and "channels", and their weighted sum "total". A term of weight 0 reads 0.
    """
    zero = segmentation.new_zeros(())
    gram, channel, pixel = _moments(channels)
    pixels = channels.shape[2] * channels.shape[3]
    terms = {
        "segmentation": segmentation,
        "overlap": _overlap(gram, channel, config.overlap, total) if config.weight_overlap else zero,
        "split": _split(channel, known, pixels, config.eta, config.split, total) if config.weight_split else zero,
        "reconstruction": _reconstruction(pixel, image, config.reconstruction, total)
        if config.weight_reconstruction
        else zero,
        "channels": channel_supervision_loss(channels, labels, known, total) if config.weight_channels else zero,
    }
    weighted = (
        segmentation / (_count(segmentation, len(channels), total) if config.segmentation_per_batch else 1)
        + config.weight_overlap * terms["overlap"]
        + config.weight_split * terms["split"]
        + config.weight_reconstruction * terms["reconstruction"]
        + config.weight_channels * terms["channels"]
    )
    return {"total": weighted, **terms}


def channel_shares(
    channels: Num[Tensor, "N K H W"] | Bool[Tensor, "N K H W"],
    masks: Bool[Tensor, "N H W"],
    masked: bool = False,
    threshold: float = 0.5,
) -> Float[Tensor, "N K"]:
    """Σ c_j / Σ y of each exemplar and meta channel (the ratio in RAML, Eq. 13), c_j being the channel ≥ threshold.

    masked: count c_j only inside the mask, as the released code does. An exemplar with an empty mask gives 0.
    """
    active = channels >= threshold
    if masked:
        active = active & masks[:, None]
    area = masks.sum((1, 2))[:, None]
    # One by one: torch counts a whole tensor several times faster than along some of its axes.
    count = [channel.count_nonzero() for channel in active.flatten(0, 1)]
    number = (
        torch.stack(count).view(active.shape[:2]) if count else active.new_zeros(active.shape[:2], dtype=area.dtype)
    )
    return torch.where(area > 0, number / area.clamp_min(1), 0.0)


def select_channels(
    channels: Num[Tensor, "N K H W"] | Bool[Tensor, "N K H W"],
    masks: Bool[Tensor, "N H W"],
    kappa: float = 0.1,
    masked: bool = False,
    threshold: float = 0.5,
) -> Bool[Tensor, " K"]:
    """The meta channels that a new class uses in any of its exemplars (RAML, Eq. 13-14).

    Channel j counts if its share (see `channel_shares`) exceeds κ in some exemplar: 0.1 as printed, where a channel
    that is large anywhere is selected; 0.15 with `masked` in the released code.
    """
    return (channel_shares(channels, masks, masked, threshold) > kappa).any(0)


def aggregate(
    channels: Num[Tensor, "K H W"] | Bool[Tensor, "K H W"], selected: Bool[Tensor, " K"], threshold: float = 0.5
) -> Bool[Tensor, "H W"]:
    """Union of the selected channels: 1 - Π (1 - c_j) (RAML, Eq. 15), c_j being the channel ≥ threshold.

    The paper calls it an exclusive disjunction, but its product is an inclusive one. No channel selected: all False.
    """
    return (channels[selected] >= threshold).any(0)
