"""Detectors of other libraries as scores: fakes of the protocol, and pytorch-ood's own where it is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ignota.scores.detectors import from_pytorch_ood
from ignota.scores.logit_scores import LOGIT_SCORES
from ignota.scores.score import AnomalyScore, State
from ignota.structures import Encoding, InputError


def encoding(seed: int = 0, classes: int = 4) -> Encoding:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(classes, 6, 8, generator=generator) * 3
    features = {"decoder": torch.randn(5, 6, 8, generator=generator), "deep": torch.randn(5, 3, 4, generator=generator)}
    return Encoding(np.zeros((24, 32, 3), np.uint8), (24, 32), logits, features)


def label(classes: int = 4) -> np.ndarray:
    found = np.random.default_rng(0).integers(0, classes, (6, 8)).astype(np.uint8)
    found[0] = 255
    return found


def fitted(score: AnomalyScore, images: int = 3) -> State:
    rng = np.random.default_rng(1)
    return score.state([score.observe(encoding(seed), label(), rng) for seed in range(images)])


class Energy:
    """A fake with the method of earlier versions."""

    def predict_features(self, x: Tensor) -> Tensor:
        assert x.ndim == 2
        return -x.logsumexp(1)


class Centre:
    """A fake that is fitted: distance to the mean of all training vectors."""

    requires_fit = True

    def __init__(self, power: float = 1.0) -> None:
        self.power = power
        self.mean: Tensor | None = None

    def fit_features(self, x: Tensor, y: Tensor) -> Centre:
        assert y.min() >= 0 and y.max() < 255 and len(x) == len(y)
        self.mean = x.mean(0)
        return self

    def predict_features(self, x: Tensor) -> Tensor:
        assert self.mean is not None
        return (x - self.mean).norm(dim=1) ** self.power


class Logits(Energy):
    """A fake with all methods: those for logits go first, and only for logits."""

    def predict_logits(self, logits: Tensor) -> Tensor:
        return -logits.amax(1)

    def predict(self, x: Tensor) -> Tensor:
        raise AssertionError("this one would run a network")


@pytest.mark.parametrize("detector", [Energy(), lambda x: -x.logsumexp(1)])
def test_a_detector_without_training_is_ready(detector: object) -> None:
    score = from_pytorch_ood(detector)
    assert score.ready and fitted(score) == {}
    torch.testing.assert_close(score.score(encoding(), {}), LOGIT_SCORES["energy"].score(encoding(), {}))


def test_methods_for_logits_are_for_logits_alone() -> None:
    found = from_pytorch_ood(Logits()).score(encoding(), {})
    torch.testing.assert_close(found, -encoding().logits.amax(0))
    found = from_pytorch_ood(Logits(), reads="decoder").score(encoding(), {})
    torch.testing.assert_close(found, -encoding().features["decoder"].logsumexp(0))


def test_a_fitted_detector_travels_as_tensors() -> None:
    score = from_pytorch_ood(Centre(), reads="decoder")
    state = fitted(score)
    assert not score.ready and set(state) == {"units", "label"}
    expected = encoding().features["decoder"].flatten(1).T - state["units"].mean(0)
    torch.testing.assert_close(score.score(encoding(), state), expected.norm(dim=1).view(6, 8))
    again = from_pytorch_ood(Centre(), reads="decoder")  # of another process
    same = {name: value.clone() for name, value in state.items()}
    torch.testing.assert_close(again.score(encoding(), same), score.score(encoding(), state))
    other = {"units": state["units"] + 1, "label": state["label"]}  # of another world
    assert not torch.equal(score.score(encoding(), other), score.score(encoding(), state))


def test_it_is_fitted_once_a_world(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    fit = Centre.fit_features
    monkeypatch.setattr(Centre, "fit_features", lambda self, x, y: (calls.append(1), fit(self, x, y))[1])
    score = from_pytorch_ood(Centre(), reads="decoder")
    state = fitted(score)
    with torch.inference_mode():
        for _ in range(3):
            score.score(encoding(), state)
    assert calls == [1]


def test_a_coarse_tap_is_brought_to_the_grid_of_the_logits() -> None:
    score = from_pytorch_ood(Energy(), reads="deep")
    assert score.score(encoding(), {}).shape == (6, 8)


def test_the_sample_is_bounded() -> None:
    score = from_pytorch_ood(Centre(), per_image=8, most=20)
    state = fitted(score, 4)
    assert state["units"].shape == (20, 4) and state["label"].dtype == torch.int64


def test_missing_classes_leave_no_gap_in_the_labels_of_features() -> None:
    seen: list[Tensor] = []

    class Watching(Centre):
        def fit_features(self, x: Tensor, y: Tensor) -> Centre:
            seen.append(y.unique())
            return super().fit_features(x, y)

    state = {"units": torch.randn(4, 5), "label": torch.tensor([0, 2, 5, 5])}
    from_pytorch_ood(Watching(), reads="decoder").score(encoding(), state)
    assert seen[0].tolist() == [0, 1, 2]


def test_what_a_kept_state_depends_on() -> None:
    one, two = (from_pytorch_ood(Centre(power), per_image=9).settings() for power in (1.0, 2.0))
    assert one != two and one == from_pytorch_ood(Centre(1.0), per_image=9).settings()
    assert one != from_pytorch_ood(Centre(1.0), per_image=8).settings()


def test_faults() -> None:
    with pytest.raises(InputError, match="str is no detector"):
        from_pytorch_ood("energy")
    with pytest.raises(InputError, match=r"reads 'decodr', but this world gives logits, decoder, deep"):
        from_pytorch_ood(Energy(), reads="decodr").score(encoding(), {})
    with pytest.raises(InputError, match="gave 1 values for 48 pixels"):
        from_pytorch_ood(lambda x: x.sum()).score(encoding(), {})
    with pytest.raises(InputError, match="Centre is not fitted"):
        from_pytorch_ood(Centre()).score(encoding(), {})


@pytest.mark.filterwarnings("ignore")
def test_pytorch_ood_s_own_detectors() -> None:
    detectors = pytest.importorskip("pytorch_ood.detector")
    energy = from_pytorch_ood(detectors.EnergyBased(None))
    assert energy.ready
    torch.testing.assert_close(energy.score(encoding(), {}), LOGIT_SCORES["energy"].score(encoding(), {}))
    distance = from_pytorch_ood(detectors.Mahalanobis(None), reads="decoder")
    assert not distance.ready
    state = fitted(distance)
    found = distance.score(encoding(), state)
    units, names = state["units"].double(), state["label"]
    means = torch.stack([units[names == c].mean(0) for c in range(4)])
    precision = torch.linalg.inv((units - means[names]).T @ (units - means[names]))
    apart = encoding().features["decoder"].flatten(1).T.double()[:, None] - means
    expected = torch.einsum("ncf,fg,ncg->nc", apart, precision, apart).amin(1) / 2
    torch.testing.assert_close(found.flatten().double(), expected, rtol=1e-3, atol=1e-5)
    pytest.importorskip("sklearn")
    nearest = from_pytorch_ood(detectors.KNN(None, k=3), reads="decoder")
    assert nearest.score(encoding(), fitted(nearest)).shape == (6, 8)
