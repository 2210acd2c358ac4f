from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional import scores
from ignota.functional.scores import (
    _softplus,
    knn_dissimilarity,
    mutual_information,
    normalise,
    predictive_entropy,
    smooth,
    standardized_max_logits,
    suppress_boundaries,
    uncertainty_intensity,
)
from ignota.structures import InputError, RegionSet

MEAN, STD = [0.5, -1.0, 2.0, 0.0], [1.0, 2.0, 0.5, 3.0]
LOGITS = torch.randn(4, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3


def slow_sml(u: list[float]) -> float:
    winner = u.index(max(u))
    return -(max(u) - MEAN[winner]) / STD[winner]


def slow_softmax(u: list[float]) -> list[float]:
    powers = [math.exp(x - max(u)) for x in u]
    return [x / sum(powers) for x in powers]


ORACLES = {
    "msp": lambda u: 1 - max(slow_softmax(u)),
    "max_logit": lambda u: -max(u),
    "entropy": lambda u: -sum(p * math.log(p) for p in slow_softmax(u)) / math.log(len(u)),
    "energy": lambda u: -math.log(sum(math.exp(x) for x in u)),
    "sum_logits": lambda u: -sum(u),
    "rba": lambda u: -sum(math.tanh(x) for x in u),
    "standardized_max_logits": slow_sml,
}


def call(name: str, logits: torch.Tensor) -> torch.Tensor:
    if name == "standardized_max_logits":
        return standardized_max_logits(logits, torch.tensor(MEAN), torch.tensor(STD))
    return getattr(scores, name)(logits)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 1e-5)])
def test_logit_scores_equal_the_formula(name, dtype, atol):
    logits = (torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)
    out = call(name, logits)
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    rows = logits.double().permute(0, 2, 3, 1).reshape(-1, 4).tolist()
    expected = torch.tensor([ORACLES[name](row) for row in rows], dtype=torch.float64)
    torch.testing.assert_close(out.double().flatten(), expected, rtol=1e-6, atol=atol)


@pytest.mark.parametrize("name", [n for n in ORACLES if n != "standardized_max_logits"])
def test_a_confident_pixel_is_less_anomalous_than_an_unsure_one(name):
    logits = torch.tensor([[9.0, 0.1], [0.0, 0.1]]).view(1, 2, 1, 2)  # first column sure, second not
    sure, unsure = call(name, logits).flatten().tolist()
    assert sure < unsure


@pytest.mark.parametrize("name", ORACLES)
def test_scores_of_no_image(name):
    assert call(name, torch.zeros(0, 4, 2, 3)).shape == (0, 2, 3)


def test_entropy_of_extremes():
    logits = torch.tensor([[0.0, 1e4], [0.0, -1e4]]).view(1, 2, 1, 2)
    assert scores.entropy(logits).flatten().tolist() == pytest.approx([1.0, 0.0])
    assert scores.entropy(torch.zeros(1, 1, 1, 1)).item() == 0


def test_energy_temperature():
    logits = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)
    expected = -3 * math.log(math.exp(1 / 3) + math.exp(2 / 3))
    assert scores.energy(logits, temperature=3.0).item() == pytest.approx(expected, rel=1e-6)


def test_sml_survives_a_class_without_spread():
    out = standardized_max_logits(torch.ones(1, 1, 1, 1), torch.zeros(1), torch.zeros(1))
    assert out.item() == pytest.approx(-1e6)


# --- Eq. 5

REGIONS = RegionSet(np.array([[1, 1, 0], [2, 0, 2]], np.int32), 2)


@pytest.mark.parametrize("sign", ["printed", "safe"])
@pytest.mark.parametrize("outside", [None, 0.25])
def test_intensity_equals_the_loops(sign, outside):
    logit = torch.tensor([[3.0, -1.0, 0.5], [2.0, 4.0, -6.0]], dtype=torch.float64)
    similarity = torch.tensor([0.9, -0.4], dtype=torch.float64)
    rest = (2 * 0.9 + 2 * -0.4) / 4 if outside is None else outside
    out = uncertainty_intensity(logit, similarity, REGIONS, outside, sign)
    for y, x in np.ndindex(2, 3):
        p = [rest, 0.9, -0.4][REGIONS.ids[y, x]]
        u = logit[y, x].item()
        expected = -u * p if sign == "printed" else -math.log1p(math.exp(u)) * (1 + p) / 2
        assert out[y, x].item() == pytest.approx(expected)


@pytest.mark.parametrize("sign", ["printed", "safe"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_intensity_in_every_precision(sign, dtype):
    logit = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    similarity = torch.tensor([0.75, -0.25], dtype=dtype)
    out = uncertainty_intensity(logit, similarity, REGIONS, sign=sign)
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = uncertainty_intensity(logit.double(), similarity.double(), REGIONS, sign=sign)
    torch.testing.assert_close(out.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sign", ["printed", "safe"])
def test_intensity_is_differentiable(sign):
    logit = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    similarity = torch.tensor([0.75, -0.25], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u, p: uncertainty_intensity(u, p, REGIONS, 0.5, sign), (logit, similarity))


@pytest.mark.parametrize("name", ORACLES)
def test_logit_scores_are_differentiable(name):
    logits = torch.randn(
        1, 4, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    mean, std = torch.tensor(MEAN, dtype=torch.float64), torch.tensor(STD, dtype=torch.float64)
    score = getattr(scores, name)
    assert torch.autograd.gradcheck(
        (lambda u: score(u, mean, std)) if name == "standardized_max_logits" else score, logits
    )


@settings(max_examples=30, deadline=None)
@given(st.floats(-20, 20), st.floats(0.01, 5), st.floats(-0.99, 0.9), st.floats(0.01, 0.09))
def test_safe_intensity_falls_with_logit_and_similarity(logit, more_logit, similar, more_similar):
    one = RegionSet(np.ones((1, 1), np.int32), 1)

    def q(u: float, p: float) -> float:
        u_map, p_map = torch.tensor([[u]], dtype=torch.float64), torch.tensor([p], dtype=torch.float64)
        return uncertainty_intensity(u_map, p_map, one).item()

    assert q(logit + more_logit, similar) < q(logit, similar)
    assert q(logit, similar + more_similar) < q(logit, similar)


def test_printed_intensity_has_the_sign_trap():
    one = RegionSet(np.ones((1, 1), np.int32), 1)
    unlike, like = torch.tensor([0.1]), torch.tensor([0.9])
    args = torch.tensor([[-5.0]]), one
    printed = [uncertainty_intensity(args[0], p, one, sign="printed").item() for p in (unlike, like)]
    safe = [uncertainty_intensity(args[0], p, one).item() for p in (unlike, like)]
    assert printed[0] < printed[1]
    assert safe[0] > safe[1]


def test_intensity_without_regions_keeps_the_order_of_the_max_logit():
    logit = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    out = uncertainty_intensity(logit, torch.zeros(0), RegionSet(np.zeros((3, 4), np.int32), 0))
    assert out.flatten().argsort().tolist() == (-logit).flatten().argsort().tolist()


def test_normalise():
    assert normalise(torch.tensor([[2.0, 4.0], [3.0, 2.5]])).tolist() == [[0.0, 1.0], [0.5, 0.25]]
    assert normalise(torch.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]
    for bad in (torch.nan, torch.inf):
        with pytest.raises(InputError, match="NaN or infinity"):
            normalise(torch.tensor([[0.0, bad]]))


# --- post-processing


def slow_suppress(score: np.ndarray, labels: np.ndarray, width: int, rounds: int) -> np.ndarray:
    height, columns = score.shape
    for i in range(rounds):
        w = width - i * width // rounds
        near = np.zeros(score.shape, bool)
        for y, x in np.ndindex(score.shape):
            window = labels[max(y - w, 0) : y + w + 1, max(x - w, 0) : x + w + 1]
            near[y, x] = window.min() != window.max()
        replaced = score.copy()
        for y, x in np.argwhere(near):
            around = [
                score[v, u]
                for v in range(max(y - 1, 0), min(y + 2, height))
                for u in range(max(x - 1, 0), min(x + 2, columns))
                if not near[v, u]
            ]
            if around:
                replaced[y, x] = np.mean(around)
        score = replaced
    return score


@pytest.mark.parametrize(("width", "rounds"), [(4, 4), (2, 1), (3, 2), (1, 1)])
def test_suppression_equals_the_loops(width, rounds):
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 18, 23), np.int64)
    labels[0, 5:, 9:] = 3
    labels[1, :, 4:6] = 7
    score = rng.normal(size=labels.shape)
    expected = np.stack([slow_suppress(s, c, width, rounds) for s, c in zip(score, labels, strict=True)])
    out = suppress_boundaries(torch.from_numpy(score), torch.from_numpy(labels), width, rounds)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-12)


def test_a_bright_boundary_vanishes_and_a_bright_interior_stays():
    labels = torch.zeros(1, 20, 20, dtype=torch.uint8)
    labels[..., 10:] = 1
    score = torch.zeros(1, 20, 20)
    score[..., 8:12] = 5
    score[0, 3, 2] = 9
    out = suppress_boundaries(score, labels)
    assert not out[..., 5:15].any()
    assert out[0, 3, 2] == 9


def test_one_class_everywhere_changes_nothing():
    score = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
    assert suppress_boundaries(score, torch.full((2, 5, 6), 4)).equal(score)


def test_suppression_is_differentiable():
    labels = torch.zeros(1, 6, 6, dtype=torch.int64)
    labels[..., 3:] = 1
    score = torch.randn(1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: suppress_boundaries(s, labels, 1, 1), score)


@pytest.mark.parametrize(("sigma", "size", "dilation"), [(1.0, 7, 6), (0.5, 3, 1), (2.0, 5, 2)])
def test_smoothing_equals_the_loops(sigma, size, dilation):
    score = torch.randn(1, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reach = size // 2
    taps = range(-reach, reach + 1)
    weight = {(j, i): math.exp(-(j * j + i * i) / (2 * sigma**2)) for j in taps for i in taps}
    out = smooth(score, sigma, size, dilation)
    for y, x in np.ndindex(6, 9):
        total = sum(
            w * score[0, min(max(y + j * dilation, 0), 5), min(max(x + i * dilation, 0), 8)].item()
            for (j, i), w in weight.items()
        )
        assert out[0, y, x].item() == pytest.approx(total / sum(weight.values()))


def test_smoothing_keeps_a_constant():
    torch.testing.assert_close(smooth(torch.full((2, 4, 5), 3.0)), torch.full((2, 4, 5), 3.0))


# --- nearest neighbours


@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-5)])
def test_knn_equals_the_loops(k, dtype, atol):
    generator = torch.Generator().manual_seed(0)
    vectors, coreset = (torch.randn(n, 5, generator=generator).to(dtype) for n in (11, 8))
    expected = []
    for v in vectors.double():
        cosines = sorted((float(v @ c / (v.norm() * c.norm())) for c in coreset.double()), reverse=True)[:k]
        expected.append(1 - sum(cosines) / len(cosines))
    out = knn_dissimilarity(vectors, coreset, k, chunk=4)
    torch.testing.assert_close(out.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=atol)


def test_knn_edge_cases():
    coreset = torch.eye(3)
    assert knn_dissimilarity(torch.zeros(0, 3), coreset).shape == (0,)
    assert knn_dissimilarity(coreset * 5, coreset, k=1).tolist() == pytest.approx([0, 0, 0])
    with pytest.raises(InputError, match="fit a coreset"):
        knn_dissimilarity(coreset, torch.zeros(0, 3))
    with pytest.raises(InputError, match="k=0"):
        knn_dissimilarity(coreset, coreset, k=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_is_torch_s_to_the_last_bits(dtype: torch.dtype) -> None:
    values = torch.cat([torch.linspace(-80, 80, 4001), torch.tensor([0.0, -torch.inf, torch.inf])]).to(dtype)
    expected = torch.nn.functional.softplus(values.double(), threshold=1000).to(dtype)
    torch.testing.assert_close(_softplus(values), expected, rtol=4 * torch.finfo(dtype).eps, atol=0)
    leaf = torch.linspace(-40, 40, 100, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_softplus, leaf)


def entropy(p: list[float]) -> float:
    return -sum(value * math.log(value) for value in p) / math.log(len(p))


def predictions(pixel: int) -> list[list[float]]:
    found = []
    for member in LOGITS[:, pixel].tolist():
        weights = [math.exp(value) for value in member]
        found.append([weight / sum(weights) for weight in weights])
    return found


@pytest.mark.parametrize("pixel", range(9))
def test_against_loops(pixel: int) -> None:
    each = predictions(pixel)
    mean = [sum(p[c] for p in each) / len(each) for c in range(3)]
    assert float(predictive_entropy(LOGITS)[pixel]) == pytest.approx(entropy(mean))
    expected = entropy(mean) - sum(map(entropy, each)) / len(each)
    assert float(mutual_information(LOGITS)[pixel]) == pytest.approx(expected)
    assert expected > 0


def test_no_information_where_all_agree_and_all_of_it_where_each_is_sure_of_another() -> None:
    same = LOGITS[:1].expand(4, 9, 3)
    assert mutual_information(same).abs().max() < 1e-12
    assert predictive_entropy(same).min() > 0
    torch.testing.assert_close(mutual_information(torch.eye(3)[:, None] * 200), torch.ones(1))
