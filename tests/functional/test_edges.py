import itertools
import math

import cv2
import numpy as np
import pytest
import torch

from ignota.functional.edges import (
    EDGE_THRESHOLDS,
    edge_map,
    luminance,
    paper_edges,
    sobel_magnitude,
    softmax_uncertainty,
)
from ignota.structures import InputError


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 9, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def slow_sobel(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    out = np.zeros((height, width))
    for y, x in itertools.product(range(height), range(width)):
        gx = gy = 0.0
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            value = grey[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
            gx += kernel[dy + 1, dx + 1] * value
            gy += kernel[dx + 1, dy + 1] * value
        out[y, x] = math.sqrt(gx**2 + gy**2)
    return out


def test_luminance_weighs_colours_after_rec_601():
    pixel = torch.tensor([[10.0, 100.0, 200.0]]).view(1, 3, 1, 1)
    assert luminance(pixel).item() == pytest.approx(0.299 * 10 + 0.587 * 100 + 0.114 * 200)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32, torch.float64])
def test_luminance_keeps_white_white(dtype):
    out = luminance(torch.full((1, 3, 2, 2), 255).to(dtype))
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(out, torch.full_like(out, 255), rtol=1e-6, atol=0)


def test_sobel_equals_the_loops(image):
    grey = luminance(image).double().numpy()
    expected = np.stack([slow_sobel(one) for one in grey])
    np.testing.assert_allclose(sobel_magnitude(image).numpy(), expected, rtol=1e-5, atol=1e-3)


def test_sobel_equals_opencv(image):
    for one, out in zip(luminance(image).numpy(), sobel_magnitude(image).numpy(), strict=True):
        gx = cv2.Sobel(one, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
        gy = cv2.Sobel(one, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(out, np.hypot(gx, gy), rtol=1e-5, atol=1e-3)


def test_sobel_of_a_step_is_four_times_its_height():
    image = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    image[..., 3:] = 20
    out = sobel_magnitude(image)[0]
    torch.testing.assert_close(out[:, 2:4], torch.full((6, 2), 80.0))
    assert out[:, :2].max() == 0


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (1, 3, 1, 1)])
def test_sobel_of_tiny_images_is_zero(shape):
    out = sobel_magnitude(torch.full(shape, 7, dtype=torch.uint8))
    assert out.shape == (shape[0], *shape[2:])
    assert not out.any()


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-12), (torch.bfloat16, 1e-5)])
def test_uncertainty_is_one_minus_the_largest_probability(dtype, atol):
    logits = (torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1)) * 20).to(dtype)
    expected = 1 - logits.double().softmax(1).amax(1)
    torch.testing.assert_close(softmax_uncertainty(logits).double(), expected, rtol=0, atol=atol)


def test_uncertainty_survives_huge_logits():
    logits = torch.tensor([1e30, 0.0]).view(1, 2, 1, 1)
    assert softmax_uncertainty(logits).item() == 0


def test_edges_need_either_term():
    sobel = torch.tensor([[[0.0, 50.0, 49.9, 60.0]]])
    doubt = torch.tensor([[[0.7, 0.0, 0.69, 0.9]]])
    alpha, beta = EDGE_THRESHOLDS["lost_and_found"]
    doubt_threshold = float(torch.tensor(beta))
    assert edge_map(sobel, doubt, alpha, doubt_threshold).flatten().tolist() == [True, True, False, True]
    assert edge_map(sobel, doubt, alpha, None).flatten().tolist() == [False, True, False, True]
    assert edge_map(None, doubt, None, doubt_threshold).flatten().tolist() == [True, False, False, True]


def test_no_term_is_refused():
    values = torch.zeros(1, 2, 2)
    with pytest.raises(ValueError, match="both None"):
        edge_map(values, values, None, None)
    with pytest.raises(ValueError, match="needs its map"):
        edge_map(values, None, 1.0, 0.5)


def test_thresholds_of_the_appendix():
    assert EDGE_THRESHOLDS == {"lost_and_found": (50, 0.7), "road_anomaly": (150, 0.4)}


def test_the_paper_s_thresholds_by_test_set() -> None:
    assert paper_edges("lost_and_found") == paper_edges("road_obstacle_21") == (50, 0.7)
    assert paper_edges("road_anomaly") == paper_edges("road_anomaly_21") == (150, 0.4)
    with pytest.raises(InputError, match=r"no α and β for camvid, only for lost_and_found, road_anomaly, .*ALPHA,BETA"):
        paper_edges("camvid")
