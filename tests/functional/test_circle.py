import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional.circle import anchor_circle_loss, batch_circle_loss, circle_loss, self_paced_circle_loss

GAMMA, MARGIN = 8.0, 0.25
LABELS = torch.tensor([0, 1, 0, 2, 1, 0])


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def slow_circle(sp: list[float], sn: list[float], self_paced: bool) -> float:
    """Eq. 16's double sum, pair by pair."""
    total = 0.0
    for p, n in itertools.product(sp, sn):
        if self_paced:
            a_p, a_n = max(1 + MARGIN - p, 0), max(n + MARGIN, 0)
            total += math.exp(GAMMA * (a_n * (n - MARGIN) - a_p * (p - (1 - MARGIN))))
        else:
            total += math.exp(GAMMA * (n - p + MARGIN))
    return math.log(1 + total)


def cosines(embeddings: torch.Tensor) -> torch.Tensor:
    rows = embeddings.double()
    rows = rows / rows.norm(dim=1, keepdim=True)
    return rows @ rows.T


def slow_batch(embeddings: torch.Tensor, labels: torch.Tensor, self_paced: bool) -> float:
    s = cosines(embeddings)
    pairs = list(itertools.combinations(range(len(labels)), 2))
    sp = [s[i, j].item() for i, j in pairs if labels[i] == labels[j]]
    sn = [s[i, j].item() for i, j in pairs if labels[i] != labels[j]]
    return slow_circle(sp, sn, self_paced)


def slow_anchor(embeddings: torch.Tensor, labels: torch.Tensor, self_paced: bool) -> float:
    s, losses, n = cosines(embeddings), [], len(labels)
    for i in range(n):
        sp = [s[i, j].item() for j in range(n) if j != i and labels[i] == labels[j]]
        sn = [s[i, j].item() for j in range(n) if labels[i] != labels[j]]
        if sp and sn:
            losses.append(slow_circle(sp, sn, self_paced))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_anchor_equals_the_loops(dtype):
    sp, sn = draw(4, dtype=dtype).tanh(), draw(7, seed=1, dtype=dtype).tanh()
    assert circle_loss(sp, sn).item() == pytest.approx(slow_circle(sp.tolist(), sn.tolist(), False), rel=1e-5)
    assert self_paced_circle_loss(sp, sn).item() == pytest.approx(slow_circle(sp.tolist(), sn.tolist(), True), rel=1e-5)


@pytest.mark.parametrize("self_paced", [True, False])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 1e-5)])
def test_batches_equal_the_loops(dtype, rel, self_paced):
    embeddings = draw(6, 4, dtype=dtype) * 3
    out = batch_circle_loss(embeddings, LABELS, GAMMA, MARGIN, self_paced=self_paced)
    assert out.item() == pytest.approx(slow_batch(embeddings, LABELS, self_paced), rel=rel)
    out = anchor_circle_loss(embeddings, LABELS, GAMMA, MARGIN, self_paced=self_paced)
    assert out.item() == pytest.approx(slow_anchor(embeddings, LABELS, self_paced), rel=rel)


def test_huge_scales_stay_finite():
    sp, sn = torch.full((3,), -1.0, requires_grad=True), torch.ones(5, requires_grad=True)
    loss = circle_loss(sp, sn, gamma=1e4)
    loss.backward()
    assert loss.item() == pytest.approx(2.25e4, rel=1e-3)
    assert sp.grad.isfinite().all()
    assert circle_loss(-sp, -sn, gamma=1e4).item() == 0


def test_gradients():
    sp, sn = draw(3).tanh().requires_grad_(), draw(4, seed=1).tanh().requires_grad_()
    assert torch.autograd.gradcheck(circle_loss, (sp, sn))
    embeddings = draw(6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: batch_circle_loss(e, LABELS), embeddings)
    assert torch.autograd.gradcheck(lambda e: anchor_circle_loss(e, LABELS), embeddings)


def test_self_paced_weights_carry_no_gradient():
    sp, sn = torch.tensor([0.3], requires_grad=True), torch.tensor([0.6], requires_grad=True)
    self_paced_circle_loss(sp, sn).backward()
    z = GAMMA * (0.85 * (0.6 - 0.25) - 0.95 * (0.3 - 0.75))
    slope = 1 / (1 + math.exp(-z))
    assert sn.grad.item() == pytest.approx(slope * GAMMA * 0.85, rel=1e-5)
    assert sp.grad.item() == pytest.approx(-slope * GAMMA * 0.95, rel=1e-5)


@pytest.mark.parametrize("self_paced", [True, False])
@pytest.mark.parametrize("loss", [batch_circle_loss, anchor_circle_loss])
@pytest.mark.parametrize("labels", [[], [0], [0, 0, 0], [0, 1, 2]], ids=str)
def test_nothing_to_compare_gives_a_zero_with_a_graph(loss, labels, self_paced):
    embeddings = draw(len(labels), 3).requires_grad_()
    out = loss(embeddings, torch.tensor(labels, dtype=torch.int64), self_paced=self_paced)
    out.backward()
    assert out.item() == 0
    assert embeddings.grad is not None
    assert not embeddings.grad.any()


@pytest.mark.parametrize("loss", [circle_loss, self_paced_circle_loss])
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_an_anchor_without_pairs_gives_a_zero_with_a_graph(loss, sizes):
    sp, sn = (torch.ones(n, requires_grad=True) for n in sizes)
    out = loss(sp, sn)
    out.backward()
    assert out.item() == 0
    assert sp.grad is not None


def test_an_anchor_alone_in_its_class_does_not_count():
    embeddings, labels = draw(4, 3), torch.tensor([0, 0, 1, 2])
    expected = slow_anchor(embeddings, labels, False)
    assert anchor_circle_loss(embeddings, labels).item() == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)), st.permutations(range(3)), st.booleans())
def test_order_and_names_of_classes_do_not_matter(order, names, self_paced):
    embeddings = draw(6, 4)
    renamed = torch.tensor(names)[LABELS]
    for loss in (batch_circle_loss, anchor_circle_loss):
        before = loss(embeddings, LABELS, self_paced=self_paced)
        after = loss(embeddings[list(order)], renamed[list(order)], self_paced=self_paced)
        torch.testing.assert_close(after, before)


def test_descending_separates_the_classes():
    embeddings = draw(6, 4).requires_grad_()
    for _ in range(60):
        (gradient,) = torch.autograd.grad(anchor_circle_loss(embeddings, LABELS, self_paced=True), embeddings)
        embeddings = (embeddings - 0.1 * gradient).detach().requires_grad_()
    s = cosines(embeddings.detach())
    same = LABELS[:, None] == LABELS[None]
    assert s[same].min() > s[~same].max()
