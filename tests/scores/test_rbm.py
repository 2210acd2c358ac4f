"""The restricted Boltzmann machine against sums over all its hidden states."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from ignota.scores import rbm

V, H = 3, 4
GENERATOR = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(V, H, generator=GENERATOR, dtype=torch.float64)
A, B = (torch.randn(n, generator=GENERATOR, dtype=torch.float64) for n in (V, H))
DATA = torch.randn(6, V, generator=GENERATOR, dtype=torch.float64)
STATES = list(itertools.product([0.0, 1.0], repeat=H))


def energy(v: list[float], h: tuple[float, ...]) -> float:
    visible = sum((value - float(a)) ** 2 for value, a in zip(v, A, strict=True)) / 2
    bias = sum(float(b) * on for b, on in zip(B, h, strict=True))
    return visible - bias - sum(v[i] * float(WEIGHT[i, j]) * h[j] for i in range(V) for j in range(H))


@pytest.mark.parametrize("row", range(6))
def test_free_energy_and_hidden_probabilities_against_all_states(row: int) -> None:
    v = DATA[row].tolist()
    weights = {h: math.exp(-energy(v, h)) for h in STATES}
    total = sum(weights.values())
    assert float(rbm.free_energy(DATA, WEIGHT, A, B)[row]) == pytest.approx(-math.log(total))
    on = [sum(weight for h, weight in weights.items() if h[j]) / total for j in range(H)]
    assert rbm.hidden(DATA, WEIGHT, B)[row].tolist() == pytest.approx(on)
    back = [float(A[i]) + sum(float(WEIGHT[i, j]) * on[j] for j in range(H)) for i in range(V)]
    error = sum((x - y) ** 2 for x, y in zip(v, back, strict=True)) / V
    assert float(rbm.reconstruction_error(DATA, WEIGHT, A, B)[row]) == pytest.approx(error)


def test_the_mean_of_the_visible_units_is_where_the_energy_is_least() -> None:
    h = torch.tensor([STATES[5]], dtype=torch.float64)
    mean = rbm.visible(h, WEIGHT, A)[0].tolist()
    for i, step in itertools.product(range(V), (-0.1, 0.1)):
        moved = [value + step * (k == i) for k, value in enumerate(mean)]
        assert energy(moved, STATES[5]) == pytest.approx(energy(mean, STATES[5]) + 0.005)


def test_a_step_of_contrastive_divergence_against_its_correlations() -> None:
    """Δw_ij = <v_i h_j> of the data - <v_i h_j> of what is dreamt, and so on; the loss falls along it."""
    weight, a, b = (value.clone().requires_grad_() for value in (WEIGHT, A, B))
    rbm.contrastive_divergence(DATA, weight, a, b, torch.Generator().manual_seed(3)).backward()
    drawn = torch.bernoulli(rbm.hidden(DATA, WEIGHT, B), generator=torch.Generator().manual_seed(3))
    dreamt = drawn @ WEIGHT.T + A
    before, after = rbm.hidden(DATA, WEIGHT, B), rbm.hidden(dreamt, WEIGHT, B)
    for i, j in itertools.product(range(V), range(H)):
        kept = sum(float(DATA[n, i] * before[n, j]) for n in range(6)) / 6
        lost = sum(float(dreamt[n, i] * after[n, j]) for n in range(6)) / 6
        assert float(weight.grad[i, j]) == pytest.approx(lost - kept)
    torch.testing.assert_close(a.grad, dreamt.mean(0) - DATA.mean(0))
    torch.testing.assert_close(b.grad, after.mean(0) - before.mean(0))
