import json

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ignota.functional.curves import binary_curve, curve_from_histogram, curve_metrics, histogram
from ignota.metrics.anomaly import AnomalyMetrics, check_score
from ignota.structures import InputError

VOID = 255


def image(seed: int, shape=(13, 17), anomalies=0.2) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.where(rng.random(shape) < anomalies, 1, 0).astype(np.uint8)
    label[rng.random(shape) < 0.15] = VOID
    good = rng.normal(size=shape) + 1.5 * (label == 1)
    coarse = np.round(rng.random(shape) + (label == 1) * 0.3, 1)  # many ties
    return {"good": good.astype(np.float32), "coarse": coarse.astype(np.float32)}, label


def state_of(images, protocol="standard") -> AnomalyMetrics:
    state = AnomalyMetrics(protocol)
    for number, (scores, label) in enumerate(images):
        state.update(f"image{number}", scores, label, scores if protocol == "dmlnet" else None)
    return state


def slow_tpr5(score, truth) -> dict[str, float]:
    """Threshold by threshold, from above, while at most 5 % of the normal pixels are reached."""
    found, positive = 0.0, truth == 1
    for threshold in np.unique(score)[::-1]:
        if (score[~positive] >= threshold).mean() > 0.05:
            break
        found = float((score[positive] >= threshold).mean())
    return {"tpr5": found}


def reference(score, truth, rule="first") -> dict[str, float]:
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    if rule == "first":
        at = int(np.argmax(tpr >= 0.95))
    else:  # of equally near rates the lower threshold, as anomaly-seg does; none beyond the first full one
        tpr = tpr[: int(np.argmax(tpr >= 1)) + 1]
        at = len(tpr) - 1 - int(np.argmin(np.abs(tpr[::-1] - 0.95)))
    return {"aupr": average_precision_score(truth, score), "auroc": roc_auc_score(truth, score), "fpr95": fpr[at]}


def slow_fpr95(score, truth) -> float:
    for threshold in sorted(set(score.tolist()), reverse=True):
        if (score[truth == 1] >= threshold).mean() >= 0.95:
            return (score[truth == 0] >= threshold).mean()
    raise AssertionError


def mean_of(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in found])) for name in ("aupr", "auroc", "fpr95")}


def test_pooled_agrees_with_scikit_learn_on_all_pixels():
    images = [image(seed) for seed in range(4)]
    found = state_of(images).compute()
    truth = np.concatenate([label[label != VOID] for _, label in images])
    assert found["images"] == 4
    for name in ("good", "coarse"):
        score = np.concatenate([scores[name][label != VOID] for scores, label in images])
        pooled = found["scores"][name]["pooled"]
        assert pooled == pytest.approx(reference(score, truth) | slow_tpr5(score, truth), abs=2e-3)
        assert pooled["fpr95"] == pytest.approx(slow_fpr95(score, truth), abs=5e-3)


def test_scores_that_are_bins_already_are_exact():
    images = [({"coarse": scores["coarse"]}, label) for scores, label in map(image, range(3))]
    truth = np.concatenate([label[label != VOID] for _, label in images])
    score = np.concatenate([scores["coarse"][label != VOID] for scores, label in images])
    expected = reference(score, truth) | slow_tpr5(score, truth)
    assert state_of(images).compute()["scores"]["coarse"]["pooled"] == pytest.approx(expected, abs=1e-12)


def test_per_image_is_the_mean_over_images_with_both_kinds():
    images = [image(0), image(1, anomalies=0.0), image(2), image(3, anomalies=1.0)]
    found = state_of(images).compute()["scores"]["good"]["per_image"]
    both = [reference(s["good"][lab != VOID], lab[lab != VOID]) for s, lab in (images[0], images[2])]
    assert found.pop("images") == 2
    assert found == pytest.approx(mean_of(both))


def test_dmlnet_counts_void_as_normal_and_takes_the_nearest_rate():
    images = [image(0, anomalies=0.08), image(1, anomalies=0.0), image(2, anomalies=0.1)]
    found = state_of(images, "dmlnet").compute()["scores"]
    both = [reference(s["good"].ravel(), lab.ravel() == 1, "nearest") for s, lab in (images[0], images[2])]
    assert found["good"]["dmlnet"].pop("images") == 2
    assert found["good"]["dmlnet"] == pytest.approx(mean_of(both))
    plain = state_of(images).compute()["scores"]["good"]
    assert "dmlnet" not in plain
    assert {key: found["good"][key] for key in plain} == plain


def test_dmlnet_measures_an_image_whose_only_normal_pixels_are_void():
    label = np.array([[1, 1, VOID]], np.uint8)
    state = state_of(
        [image(0), ({"good": np.array([[2.0, 3, 1]], np.float32), "coarse": label / 1.0}, label)], "dmlnet"
    )
    found = state.compute()["scores"]["good"]
    assert (found["per_image"]["images"], found["dmlnet"]["images"]) == (1, 2)


@given(st.lists(st.integers(0, 9999), min_size=1, max_size=4), st.integers(0, 4))
@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # seeds do not shrink
def test_merged_states_equal_one_that_saw_all(seeds, cut):
    images = [image(seed, (5, 6), anomalies=0.5) for seed in seeds]
    left, right, whole = (state_of(part, "dmlnet") for part in (images[:cut], images[cut:], images))
    left.merge(right)
    merged, expected = left.compute(), whole.compute()
    assert merged["images"] == len(seeds)
    assert repr(merged) == repr(expected)  # bit for bit; a mean over no image is None


def test_merging_leaves_the_other_state_alone():
    left, right = AnomalyMetrics(), state_of([image(1)])
    before = right.compute()
    left.merge(right)
    left.update("more", *image(2))
    assert right.compute() == before


@pytest.mark.parametrize("stretch", [lambda s: 4 * s, lambda s: -1 / (s + 10), lambda s: np.exp(s)])
def test_rising_functions_of_a_score_change_little(stretch):
    images = [image(seed) for seed in range(2)]
    rescaled = [({"good": stretch(s["good"]), "coarse": s["coarse"]}, label) for s, label in images]
    old, new = (state_of(part).compute()["scores"]["good"]["pooled"] for part in (images, rescaled))
    assert new == pytest.approx(old, abs=5e-3)


def test_the_pooled_state_is_the_histogram_of_the_equations():
    scores, label = image(5)
    state = state_of([(scores, label)])
    seen = label != VOID
    found, expected = state.curve("good"), curve_from_histogram(histogram(scores["good"][seen], label[seen]))
    np.testing.assert_array_equal(found.true_positives, expected.true_positives)
    np.testing.assert_array_equal(found.false_positives, expected.false_positives)


def test_the_curve_carries_the_pooled_metrics():
    state = state_of([image(0)])
    curve = state.curve("coarse")
    assert (np.diff(curve.thresholds) < 0).all()
    assert curve.positives == (image(0)[1] == 1).sum()


def test_results_are_json_even_where_no_image_has_both_kinds():
    found = state_of([image(0, anomalies=0.0), image(1, anomalies=1.0)], "dmlnet").compute()
    assert found["scores"]["good"]["per_image"] == {"aupr": None, "auroc": None, "fpr95": None, "images": 0}
    json.dumps(found, allow_nan=False)


def test_nan_is_refused_with_score_and_image_and_nothing_is_added():
    state = state_of([image(0)])
    before = state.compute()
    scores, label = image(1)
    scores["coarse"][2, 3] = np.nan
    with pytest.raises(ValueError, match="'coarse' of road_7 is NaN at 1 of 221"):
        state.update("road_7", scores, label)
    assert state.compute() == before


def test_a_set_without_one_of_the_two_kinds_is_refused_in_one_line():
    with pytest.raises(InputError, match="no anomalous pixel in 2 images") as caught:
        state_of([image(0, anomalies=0.0), image(1, anomalies=0.0)]).compute()
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no normal pixel"):
        state_of([image(0, anomalies=1.0)]).compute()
    with pytest.raises(InputError, match="no image"):
        AnomalyMetrics().compute()


def test_wrong_input_is_refused():
    state = state_of([image(0)])
    scores, label = image(1)
    with pytest.raises(ValueError, match="give the same"):
        state.update("k", {"good": scores["good"]}, label)
    with pytest.raises(ValueError, match=r"\(13, 17\).*make them one size"):
        check_score("k", "good", scores["good"], label[:5])
    with pytest.raises((ValueError, TypeError)):  # a TypeError where shapes are checked while testing
        state.update("k", scores, label[:5])
    with pytest.raises(InputError, match="label of k holds 2"):
        state.update("k", scores, np.full_like(label, 2))
    with pytest.raises(ValueError, match="dmlnet protocol"):
        state.merge(AnomalyMetrics("dmlnet"))
    with pytest.raises(ValueError, match="merge: scores"):
        state.merge(state_of([({"other": scores["good"]}, label)]))
    with pytest.raises(InputError, match="no anomaly protocol"):
        AnomalyMetrics("smiyc")


def test_an_image_that_is_all_void_adds_no_pixel():
    scores, label = image(0)
    state = state_of([(scores, label), (scores, np.full_like(label, VOID))])
    assert state.compute()["scores"] == state_of([(scores, label)]).compute()["scores"]


def test_pooled_figures_are_those_of_all_pixels() -> None:
    state, seen_scores, seen_labels = AnomalyMetrics(), [], []
    for seed in range(3):
        scores, label = image(seed)
        state.update(f"{seed}", scores, label)
        seen_scores.append(scores["good"][label != 255])
        seen_labels.append(label[label != 255] == 1)
    exact = curve_metrics(binary_curve(np.concatenate(seen_scores).astype(np.float32), np.concatenate(seen_labels)))
    for name, value in exact.items():
        assert state.compute()["scores"]["good"]["pooled"][name] == pytest.approx(value, abs=2e-3)
