import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional.prototypes import (
    assign_novel,
    class_prototypes,
    cosine_similarity,
    known_similarity,
    novel_similarity,
    unit_rows,
)
from ignota.structures import InputError


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def slow_cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(len(a), len(b), dtype=torch.float64)
    for i, x in enumerate(a.double().tolist()):
        for j, y in enumerate(b.double().tolist()):
            dot = sum(p * q for p, q in zip(x, y, strict=True))
            length = math.sqrt(sum(p * p for p in x)) * math.sqrt(sum(q * q for q in y))
            out[i, j] = dot / length if length else 0
    return out


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 1e-6)])
def test_cosine_equals_the_loops(dtype, atol):
    a, b = draw(7, 5, dtype=dtype), draw(3, 5, seed=1, dtype=dtype)
    a[2] = 0
    torch.testing.assert_close(cosine_similarity(a, b).double(), slow_cosine(a, b), rtol=0, atol=atol)
    torch.testing.assert_close(known_similarity(a, b).double(), slow_cosine(a, b).amax(1), rtol=0, atol=atol)
    torch.testing.assert_close(novel_similarity(a, b).double(), slow_cosine(a, b), rtol=0, atol=atol)


def test_cosine_gradient():
    a, b = draw(4, 3).requires_grad_(), draw(2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(cosine_similarity, (a, b))


def test_autocast_keeps_full_precision():
    a, b = draw(4, 3, dtype=torch.float32), draw(2, 3, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = cosine_similarity(a, b)
    torch.testing.assert_close(mixed, cosine_similarity(a, b))


def test_zero_vector_has_finite_gradient():
    zero = torch.zeros(1, 3, requires_grad=True)
    out = cosine_similarity(zero, torch.ones(1, 3))
    out.sum().backward()
    assert out.item() == 0
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30])
def test_cosine_ignores_scale(scale):
    a, b = draw(4, 3, dtype=torch.float32), draw(2, 3, seed=1, dtype=torch.float32)
    rtol = 1e-3 if scale == 1e-40 else 1e-5  # subnormal numbers have few digits
    torch.testing.assert_close(cosine_similarity(a * scale, b), cosine_similarity(a, b), rtol=rtol, atol=1e-4)


def test_empty_inputs():
    assert cosine_similarity(draw(0, 3), draw(2, 3)).shape == (0, 2)
    assert novel_similarity(draw(2, 3), draw(0, 3)).shape == (2, 0)
    assert known_similarity(draw(0, 3), draw(2, 3)).shape == (0,)
    assert unit_rows(draw(2, 0)).shape == (2, 0)
    assert assign_novel(draw(3, 0), 0.5).tolist() == [-1, -1, -1]
    assert assign_novel(draw(0, 3), 0.5).shape == (0,)
    assert class_prototypes(draw(0, 3), torch.zeros(0, dtype=torch.int64), 2).tolist() == [[0] * 3] * 2
    with pytest.raises(InputError, match="no prototype"):
        known_similarity(draw(2, 3), draw(0, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_prototypes_are_class_means(dtype):
    rows, labels = draw(9, 4, dtype=dtype), torch.tensor([0, 2, 2, 255, 0, 4, 2, 255, 0])
    out = class_prototypes(rows, labels, 5)
    for label in range(5):
        chosen = [rows[i].double() for i in range(9) if labels[i] == label]
        expected = sum(chosen) / len(chosen) if chosen else torch.zeros(4, dtype=torch.float64)
        torch.testing.assert_close(out[label].double(), expected, rtol=1e-5, atol=1e-6)


def test_prototype_gradient_and_byte_labels():
    labels = torch.tensor([0, 1, 1, 255], dtype=torch.uint8)
    assert torch.autograd.gradcheck(lambda x: class_prototypes(x, labels, 3), draw(4, 2).requires_grad_())


@pytest.mark.parametrize("label", [3, -1])
def test_prototypes_refuse_what_is_no_class(label):
    with pytest.raises(InputError, match=r"classes are 0\.\.2"):
        class_prototypes(draw(2, 2), torch.tensor([0, label]), 3)


def test_both_conditions_of_equation_12():
    similarity = torch.tensor([[0.9, 0.85, 0.1], [0.75, 0.5, 0.25], [0.9, 0.9, 0.1], [0.1, 0.2, 0.99], [0.5, 0.4, 0.3]])
    assert assign_novel(similarity, 0.75).tolist() == [0, -1, -1, 2, -1]
    assert assign_novel(similarity, 0.75, inclusive=True).tolist() == [0, 0, -1, 2, -1]
    assert assign_novel(similarity[:, :1], 0.75).tolist() == [0, -1, 0, -1, -1]
    assert assign_novel(torch.full((1, 2), torch.nan), -1.0).tolist() == [-1]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 50))
def test_reordering_classes_reorders_the_answer(order, seed):
    similarity = draw(6, 4, seed=seed).tanh()
    answer = assign_novel(similarity[:, list(order)], 0.3)
    expected = assign_novel(similarity, 0.3)
    assert [order[i] if i >= 0 else -1 for i in answer.tolist()] == expected.tolist()
