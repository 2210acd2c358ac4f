import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional.meta_channels import (
    PAPER,
    RELEASED,
    activate,
    aggregate,
    channel_supervision_loss,
    overall_loss,
    overlap_loss,
    reconstruction_loss,
    select_channels,
    split_loss,
)

KNOWN = 3
FORMS = ["paper", "released"]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def some_labels(batch: int = 2) -> torch.Tensor:
    labels = torch.randint(0, KNOWN + 1, (batch, 4, 5), generator=torch.Generator().manual_seed(1))
    labels[:, 0, 0] = 255
    return labels


def slow_overlap(channels: torch.Tensor, form: str) -> float:
    images = []
    for image in channels.double():
        terms = []
        for i in range(len(image)):
            for j in range(len(image)):
                p, q = image[i], image[j]
                if form == "paper" and i < j:
                    dice_loss = 1 - (2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1)
                    terms.append(1 - dice_loss)
                if form == "released" and i != j:
                    dice_loss = 1 - ((p * q).sum() + 1) / ((p**2).sum() + (q**2).sum() + 1)
                    terms.append(1 - dice_loss)
        images.append(float(sum(terms)) / (len(terms) if form == "released" else 1))
    return sum(images) / len(images)


def slow_split(channels: torch.Tensor, eta: float, form: str) -> float:
    meta = channels.double()[:, KNOWN:]
    if form == "paper":
        return sum(-math.log(max(eta * float(c.sum()), 1)) for image in meta for c in image) / len(meta)
    shares = [min(float(meta[:, i].mean()) / eta, 1) for i in range(meta.shape[1])]
    return sum(-math.log(s) for s in shares) / len(shares)


def slow_reconstruction(channels: torch.Tensor, image: torch.Tensor, form: str) -> float:
    channels, image = channels.double(), image.double()
    if form == "released":
        copies = torch.stack([channels[:, i : i + 1] * image for i in range(channels.shape[1])]).sum(0)
        return float(((copies - image) ** 2).mean())
    return sum(float(((x * (c.sum(0) - 1)) ** 2).sum()) for x, c in zip(image, channels, strict=True)) / len(image)


def slow_supervision(channels: torch.Tensor, labels: torch.Tensor) -> float:
    dice, entropy = [], []
    for image, label in zip(channels.double(), labels, strict=True):
        for c in range(KNOWN):
            p, t = image[c], (label == c).double()
            dice.append(1 - ((p * t).sum() + 1) / ((p**2).sum() + (t**2).sum() + 1))
            entropy.append(-(t * p.log() + (1 - t) * (1 - p).log()).mean())
    return float(sum(dice)) / len(dice) + float(sum(entropy)) / len(entropy)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-4)])
def test_losses_equal_the_loops(form, dtype, rtol):
    channels = (draw(2, 5, 4, 5) * 0.98 + 0.01).to(dtype)
    image, labels = draw(2, 3, 4, 5, seed=2, dtype=dtype) - 0.5, some_labels()
    assert overlap_loss(channels, form).item() == pytest.approx(slow_overlap(channels, form), rel=rtol)
    for eta in (0.2, 2.0):
        assert split_loss(channels, KNOWN, eta, form).item() == pytest.approx(
            slow_split(channels, eta, form), rel=rtol, abs=1e-9
        )
    expected = slow_reconstruction(channels, image, form)
    assert reconstruction_loss(channels, image, form).item() == pytest.approx(expected, rel=rtol)
    expected = slow_supervision(channels, labels)
    assert channel_supervision_loss(channels, labels, KNOWN).item() == pytest.approx(expected, rel=rtol)


@pytest.mark.parametrize("form", FORMS)
def test_gradients(form):
    channels = (draw(2, 5, 2, 3) * 0.8 + 0.1).requires_grad_()
    image, labels = draw(2, 3, 2, 3, seed=2), some_labels()[:, :2, :3]
    assert torch.autograd.gradcheck(lambda c: overlap_loss(c, form), channels)
    assert torch.autograd.gradcheck(lambda c: split_loss(c, KNOWN, 2.0, form), channels)
    assert torch.autograd.gradcheck(lambda c: reconstruction_loss(c, image, form), channels)
    assert torch.autograd.gradcheck(lambda c: channel_supervision_loss(c, labels, KNOWN), channels)


def test_an_empty_meta_channel_is_pushed_up():
    channels = torch.zeros(1, KNOWN + 2, 4, 4)
    channels[:, KNOWN] = 1
    channels.requires_grad_()
    loss = split_loss(channels, KNOWN, form="released")
    loss.backward()
    assert loss.isfinite()
    assert loss.item() > -math.log(1e-4) / 2
    assert (channels.grad[:, KNOWN + 1] < 0).all()
    assert channels.grad.isfinite().all()
    assert not channels.grad[:, : KNOWN + 1].any()


def test_split_loss_is_smooth_where_the_tangent_begins():
    below, above = (
        split_loss(torch.full((1, 1, 1, 1), s * 0.02, dtype=torch.float64), 0, form="released").item()
        for s in (1e-4 * 0.9999, 1e-4 * 1.0001)
    )
    assert below > above
    assert below - above == pytest.approx(2e-4, rel=1e-2)


def test_the_printed_split_loss_leaves_an_empty_channel_alone():
    channels = torch.zeros(1, KNOWN + 1, 4, 4, requires_grad=True)
    split_loss(channels, KNOWN, form="paper").backward()
    assert not channels.grad.any()


def test_printed_reconstruction_has_no_gradient_under_softmax():
    logits = draw(1, 5, 4, 5).requires_grad_()
    image = draw(1, 3, 4, 5, seed=1)
    reconstruction_loss(activate(logits, PAPER), image).backward()
    assert logits.grad.abs().max() < 1e-12
    logits.grad = None
    reconstruction_loss(activate(logits, RELEASED), image).backward()
    assert logits.grad.abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_disjoint_channels_overlap_less_than_equal_ones(form):
    disjoint = torch.zeros(1, 2, 4, 4)
    disjoint[:, 0, :2] = disjoint[:, 1, 2:] = 1
    equal = disjoint[:, [0, 0]]
    assert overlap_loss(disjoint, form) < overlap_loss(equal, form)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(5)), st.sampled_from(FORMS), st.integers(0, 9))
def test_overlap_ignores_the_order_of_channels(order, form, seed):
    channels = draw(2, 5, 3, 3, seed=seed)
    torch.testing.assert_close(overlap_loss(channels[:, list(order)], form), overlap_loss(channels, form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(0, 5, 4, 4), (2, 0, 4, 4), (2, 5, 0, 0)])
def test_empty_inputs_give_finite_losses_with_a_graph(form, shape):
    channels = torch.zeros(shape, requires_grad=True)
    image = torch.zeros(shape[0], 3, *shape[2:])
    labels = torch.zeros(shape[0], *shape[2:], dtype=torch.int64)
    total = (
        overlap_loss(channels, form)
        + split_loss(channels, KNOWN, form=form)
        + reconstruction_loss(channels, image, form)
        + channel_supervision_loss(channels, labels, KNOWN)
    )
    total.backward()
    assert total.isfinite()


def test_supervision_counts_void_and_novel_as_negatives():
    channels = torch.full((1, 1, 1, 2), 0.5)
    negative = torch.tensor([[[255, 7]]])
    expected = 1 - 1 / (0.5 + 1) + math.log(2)
    assert channel_supervision_loss(channels, negative, 1).item() == pytest.approx(expected)


def test_saturated_channels_stay_finite():
    channels = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).requires_grad_()
    loss = channel_supervision_loss(channels, torch.tensor([[[0, 255]]]), 1)
    loss.backward()
    assert loss.isfinite()
    assert channels.grad.isfinite().all()


def test_autocast_changes_nothing():
    channels, labels = draw(2, 5, 4, 5, dtype=torch.float32), some_labels()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = overlap_loss(channels), channel_supervision_loss(channels, labels, KNOWN)
    torch.testing.assert_close(mixed, (overlap_loss(channels), channel_supervision_loss(channels, labels, KNOWN)))


@pytest.mark.parametrize("config", [PAPER, RELEASED, replace(PAPER, activation="sigmoid", weight_overlap=0.0)])
def test_overall_loss_is_the_weighted_sum(config):
    channels, image, labels = draw(2, 5, 4, 5), draw(2, 3, 4, 5, seed=3), some_labels()
    terms = overall_loss(torch.tensor(1.5, dtype=torch.float64), channels, image, labels, KNOWN, config)
    expected = (
        1.5 / (2 if config.segmentation_per_batch else 1)
        + config.weight_overlap * overlap_loss(channels, config.overlap)
        + 0.1 * split_loss(channels, KNOWN, 0.02, config.split)
        + 0.01 * reconstruction_loss(channels, image, config.reconstruction)
        + config.weight_channels * channel_supervision_loss(channels, labels, KNOWN)
    )
    torch.testing.assert_close(terms["total"], expected)
    assert set(terms) == {"total", "segmentation", "overlap", "split", "reconstruction", "channels"}
    assert (terms["channels"] == 0) == (config.weight_channels == 0)


def test_presets():
    assert PAPER.activation == "softmax"
    assert PAPER.weight_channels == 0
    assert RELEASED.activation == "sigmoid"
    assert RELEASED.weight_channels == 0.1
    for preset in (PAPER, RELEASED):
        weights = preset.weight_overlap, preset.weight_split, preset.weight_reconstruction, preset.eta
        assert weights == (0.1, 0.1, 0.01, 0.02)
    logits = draw(1, 4, 2, 2)
    torch.testing.assert_close(activate(logits, PAPER).sum(1), torch.ones(1, 2, 2, dtype=torch.float64))
    torch.testing.assert_close(activate(logits, RELEASED), 1 / (1 + (-logits).exp()))


# --- Eq. 13-15


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_selection_equals_the_loops(masked, seed):
    channels, masks = draw(3, 4, 5, 6, seed=seed) * 0.7, draw(3, 5, 6, seed=seed + 50) > 0.7
    masks[2] = False
    expected = [False] * 4
    for image, mask in zip(channels, masks, strict=True):
        for j, c in enumerate(image):
            active = (c >= 0.5) & (mask if masked else True)
            if mask.any() and active.sum() / mask.sum() > 0.35:
                expected[j] = True
    assert select_channels(channels, masks, 0.35, masked).tolist() == expected


def test_selection_edge_cases():
    masks = torch.zeros(1, 4, 5, dtype=torch.bool)
    masks[0, :2] = True
    channels = torch.zeros(1, 2, 4, 5, dtype=torch.bool)
    channels[0, 0, 0, 0] = True  # exactly a tenth of the mask: Eq. 13 wants more
    channels[0, 1, 3] = True  # large, but outside the mask
    assert select_channels(channels, masks, 0.1).tolist() == [False, True]
    assert select_channels(channels, masks, 0.1, masked=True).tolist() == [False, False]
    assert select_channels(channels, masks, 0.05, masked=True).tolist() == [True, False]
    assert select_channels(channels[:0], masks[:0]).tolist() == [False, False]
    assert select_channels(channels, ~masks & masks).tolist() == [False, False]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=4, max_size=4), st.integers(0, 50))
def test_aggregation_is_the_product_of_equation_15(selected, seed):
    channels = draw(4, 3, 5, seed=seed)
    product = torch.ones(3, 5)
    for channel, chosen in zip(channels, selected, strict=True):
        if chosen:
            product = product * (1 - (channel >= 0.5).float())
    assert aggregate(channels, torch.tensor(selected)).equal(1 - product > 0)


@pytest.mark.parametrize("config", [PAPER, RELEASED], ids=["paper", "released"])
def test_the_gradient_of_all_losses_together_is_that_of_each(config):
    channels, image, labels = draw(2, 5, 4, 5).requires_grad_(), draw(2, 3, 4, 5, seed=1), some_labels()
    zero = torch.zeros((), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda c: overall_loss(zero, c, image, labels, KNOWN, config)["total"], channels, nondet_tol=0
    )
    (together,) = torch.autograd.grad(overall_loss(zero, channels, image, labels, KNOWN, config)["total"], channels)
    apart = (
        config.weight_overlap * overlap_loss(channels, config.overlap)
        + config.weight_split * split_loss(channels, KNOWN, config.eta, config.split)
        + config.weight_reconstruction * reconstruction_loss(channels, image, config.reconstruction)
        + config.weight_channels * channel_supervision_loss(channels, labels, KNOWN)
    )
    torch.testing.assert_close(together, torch.autograd.grad(apart, channels)[0])
