import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ignota.functional.numbers import score_key
from ignota.metrics.bootstrap import (
    ImageHistograms,
    Interval,
    image_histogram,
    paired_bootstrap,
    weighted_aupr,
    weighted_auroc,
    weighted_fpr95,
)
from ignota.structures import InputError

VOID = 255


def image(seed: int, shape=(20, 20), anomalies=0.2) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.where(rng.random(shape) < anomalies, 1, 0).astype(np.uint8)
    label[rng.random(shape) < 0.1] = VOID
    noise = rng.normal(size=shape)
    return {
        "good": (noise + 2.0 * (label == 1)).astype(np.float32),
        "fair": (rng.normal(size=shape) + 1.0 * (label == 1)).astype(np.float32),
        "same": (noise + 2.0 * (label == 1)).astype(np.float32),
    }, label


def collect(images) -> ImageHistograms:
    state = ImageHistograms()
    for number, (scores, label) in enumerate(images):
        state.update(f"{number:03}", scores, label)
    return state


def bf16(score: np.ndarray) -> np.ndarray:
    """Cut to the upper 16 bits, towards lower scores as the bins are."""
    bits = score.astype(np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def test_every_draw_is_the_aupr_of_the_images_drawn():
    rng = np.random.default_rng(3)
    images = [(np.abs(scores["good"]), label) for scores, label in (image(seed) for seed in range(5))]
    weights = rng.multinomial(5, [0.2] * 5, size=7)
    found = weighted_aupr([image_histogram(*one) for one in images], weights)
    for weight, value in zip(weights, found, strict=True):
        drawn = np.repeat(np.arange(5), weight)
        score = np.concatenate([bf16(images[i][0])[images[i][1] != VOID] for i in drawn])
        truth = np.concatenate([images[i][1][images[i][1] != VOID] for i in drawn])
        assert value == pytest.approx(average_precision_score(truth, score), rel=1e-9)


def test_negative_scores_order_as_they_should():
    scores, label = image(0)
    lifted = weighted_aupr([image_histogram(scores["good"] - 100, label)], np.array([[1]]))
    seen = label != VOID
    assert lifted[0] == pytest.approx(average_precision_score(label[seen], scores["good"][seen]), abs=0.15)
    score = np.array([[-2.0, -1, 0, 1]])
    truth = np.array([[0, 1, 0, 1]], np.uint8)
    assert weighted_aupr([image_histogram(score, truth)], np.array([[1]]))[0] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_chunks_of_draws_change_nothing(monkeypatch):
    histograms = [image_histogram(s["good"], label) for s, label in (image(seed) for seed in range(4))]
    weights = np.random.default_rng(0).multinomial(4, [0.25] * 4, size=9)
    whole = weighted_aupr(histograms, weights)
    monkeypatch.setattr("ignota.metrics.bootstrap._CELLS_AT_ONCE", 1)
    np.testing.assert_allclose(weighted_aupr(histograms, weights), whole, rtol=1e-12)


def test_the_interval_agrees_with_a_slow_bootstrap():
    images = [image(seed) for seed in range(6)]
    found = paired_bootstrap(collect(images), "good", "fair", draws=80, seed=5)
    weights = np.random.default_rng(5).multinomial(6, np.full(6, 1 / 6), size=80)
    differences = []
    for weight in weights:
        drawn = np.repeat(np.arange(6), weight)
        truth = np.concatenate([images[i][1][images[i][1] != VOID] for i in drawn])
        good, fair = (
            np.concatenate([images[i][0][name][images[i][1] != VOID] for i in drawn]) for name in ("good", "fair")
        )
        differences.append(average_precision_score(truth, good) - average_precision_score(truth, fair))
    low, high = np.quantile(differences, [0.025, 0.975])
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(differences), low, high), abs=5e-3)
    assert found.low > 0


def test_swapping_the_scores_turns_the_sign():
    state = collect([image(seed) for seed in range(5)])
    one, other = paired_bootstrap(state, "good", "fair", 50), paired_bootstrap(state, "fair", "good", 50)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert paired_bootstrap(state, "good", "same", 50) == Interval(0.0, 0.0, 0.0)


def test_seed_decides_and_the_order_of_work_does_not():
    images = [image(seed) for seed in range(6)]
    state = collect(images)
    shuffled, rest = ImageHistograms(), ImageHistograms()
    for number in (4, 0, 5):
        shuffled.update(f"{number:03}", *images[number])
    for number in (3, 1, 2):
        rest.update(f"{number:03}", *images[number])
    shuffled.merge(rest)
    first = paired_bootstrap(state, "good", "fair", 40, seed=1)
    assert paired_bootstrap(shuffled, "good", "fair", 40, seed=1) == first
    assert paired_bootstrap(state, "good", "fair", 40, seed=2) != first


def test_draws_without_an_anomaly_are_left_out():
    images = [image(0), image(1, anomalies=0.0), image(2, anomalies=0.0)]
    found = paired_bootstrap(collect(images), "good", "fair", 100)
    assert np.isfinite([found.mean, found.low, found.high]).all()


def test_wrong_input_is_refused():
    state = collect([image(0)])
    with pytest.raises(ValueError, match="'000' was added before"):
        state.update("000", *image(1))
    with pytest.raises(ValueError, match="is in both states"):
        state.merge(collect([image(0)]))
    with pytest.raises(InputError, match=r"no score 'best'.*good, fair"):
        paired_bootstrap(state, "best", "fair")
    with pytest.raises(InputError, match="draws=0"):
        paired_bootstrap(state, "good", "fair", draws=0)
    with pytest.raises(InputError, match="no anomalous pixel"):
        paired_bootstrap(collect([image(0, anomalies=0.0)]), "good", "fair")
    with pytest.raises(InputError, match="no anomalous pixel"):
        paired_bootstrap(ImageHistograms(), "good", "fair")
    scores, label = image(1)
    scores["good"][0, 0] = np.nan
    with pytest.raises(ValueError, match="'good' of x is NaN"):
        state.update("x", scores, label)
    assert list(state.by_key) == ["000"]


def test_a_hundred_images_take_little_time_and_memory():
    state = collect([image(seed, (60, 60), anomalies=0.05) for seed in range(100)])
    size = sum(h.bins.nbytes + h.counts.nbytes for scores in state.by_key.values() for h in scores.values())
    assert size < 300 * 20_000
    start = time.perf_counter()
    paired_bootstrap(state, "good", "fair", draws=1000)
    assert time.perf_counter() - start < 10  # 2 s are meant; a laden machine may take longer


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_every_draw_has_the_fpr_of_the_images_drawn(shift):
    rng = np.random.default_rng(4)
    images = [(np.abs(scores["fair"]) - shift, label) for scores, label in (image(seed) for seed in range(5))]
    weights = rng.multinomial(5, [0.2] * 5, size=9)
    found = weighted_fpr95([image_histogram(*one) for one in images], weights)
    for weight, value in zip(weights, found, strict=True):
        drawn = np.repeat(np.arange(5), weight)
        score = np.concatenate([score_key(images[i][0][images[i][1] != VOID]) >> 4 for i in drawn])
        truth = np.concatenate([images[i][1][images[i][1] != VOID] for i in drawn])
        fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
        assert value == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
    only_normal = [image_histogram(np.ones((1, 2)), np.zeros((1, 2), np.uint8))]
    assert np.isnan(weighted_fpr95([*only_normal, image_histogram(*images[0])], np.array([[1, 0]]))).all()


def test_every_draw_has_the_auroc_of_the_images_drawn():
    rng = np.random.default_rng(6)
    images = [(np.round(scores["fair"], 1), label) for scores, label in (image(seed) for seed in range(5))]  # with ties
    weights = rng.multinomial(5, [0.2] * 5, size=9)
    found = weighted_auroc([image_histogram(*one) for one in images], weights)
    for weight, value in zip(weights, found, strict=True):
        drawn = np.repeat(np.arange(5), weight)
        score = np.concatenate([score_key(images[i][0][images[i][1] != VOID]) >> 4 for i in drawn])
        truth = np.concatenate([images[i][1][images[i][1] != VOID] for i in drawn])
        assert value == pytest.approx(roc_auc_score(truth, score), rel=1e-12)
    only_normal = [image_histogram(np.ones((1, 2)), np.zeros((1, 2), np.uint8))]
    assert np.isnan(weighted_auroc([*only_normal, image_histogram(*images[0])], np.array([[1, 0]]))).all()


def test_folded_images_count_as_one():
    images = [image(seed) for seed in range(6)]
    folded = ImageHistograms()
    for number, (scores, label) in enumerate(images):
        one = ImageHistograms()
        one.update(f"{number}", scores, label)
        folded.fold(f"{number % 2}", one)
    assert sorted(folded.by_key) == ["0", "1"]
    for rest in (0, 1):
        label = np.concatenate([label for _, label in images[rest::2]])
        score = np.concatenate([scores["good"] for scores, _ in images[rest::2]])
        expected, found = image_histogram(score, label), folded.by_key[f"{rest}"]["good"]
        assert np.array_equal(found.bins, expected.bins)
        assert np.array_equal(found.counts, expected.counts)
    whole = collect(images)
    once = [weighted_aupr(state.of("fair"), np.ones((1, len(state.by_key)), int)) for state in (folded, whole)]
    assert once[0] == pytest.approx(once[1])
