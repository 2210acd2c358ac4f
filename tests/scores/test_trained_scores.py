"""Scores that train: each learns something on a tiny case, from labelled pixels alone, as a function of its seed."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ignota.functional.one_hot_metric import metric_logits
from ignota.scores import duir
from ignota.scores.dml import MetricHead
from ignota.scores.duir import Resynthesis, drawing_error, judging_error, one_hot, swap
from ignota.scores.fitted_scores import FITTED_SCORES, fitted_score
from ignota.scores.heads import Ensemble, Heads, HeadScore, MaximisedEntropy, MonteCarloDropout, entropy_loss
from ignota.scores.rbm import RoadMachine, before_the_camera
from ignota.scores.score import OUTLIER, State
from ignota.scores.trained import TrainedScore, ordered
from ignota.scores.windows import Autoencoder, Reconstruction, picture, places
from ignota.structures import Encoding, InputError

SIZE, CLASSES = (8, 10), 3
CENTRES = np.random.default_rng(1).normal(size=(CLASSES + 1, 6)) * 4
"""Features of the classes; the last row is that of an unknown object."""
COLOURS = np.array([[40, 40, 40], [200, 60, 60], [60, 60, 200], [230, 230, 90]], np.uint8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks of this size are no work for two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def street(seed: int, strange: bool = False) -> tuple[Encoding, np.ndarray]:
    """Stripes of three classes, class 0 the lowest, each with its colour and features; maybe an unknown object on it.

    The logits are sure of the class, and take the thing for class 1.
    """
    rng = np.random.default_rng(seed)
    label = np.repeat([2, 2, 1, 1, 0, 0, 0, 0], SIZE[1]).reshape(SIZE).astype(np.uint8)
    truth = label.copy()
    if strange:
        truth[4:7, 3:7] = CLASSES
        label[4:7, 3:7] = 1
    rows = CENTRES[truth.ravel()] + rng.normal(size=(truth.size, 6)) * 0.5
    image = COLOURS[np.kron(truth, np.ones((8, 8), np.uint8))].astype(int) + rng.integers(-8, 9, (64, 80, 3))
    logits = F.one_hot(torch.from_numpy(label).long(), CLASSES).permute(2, 0, 1).float() * 9
    features = {"decoder": torch.from_numpy(rows.T.reshape(6, *SIZE).copy()).float()}
    return Encoding(image.clip(0, 255).astype(np.uint8), (64, 80), logits, features), truth


STREETS = [street(seed) for seed in range(6)]
NEW, TRUTH = street(50, strange=True)
STRANGE = torch.from_numpy(TRUTH == CLASSES)
HEADS: dict[str, HeadScore] = {
    "dml": MetricHead("mixed", hidden=32, steps=800),
    "dml_eds": MetricHead("eds", hidden=32, steps=800),
    "dml_mmsp": MetricHead("mmsp", hidden=32, steps=800),
    "ensemble": Ensemble(hidden=32, steps=800),
    "mc_dropout": MonteCarloDropout(hidden=32, steps=800, passes=50),
}


@functools.cache
def trained(score: TrainedScore, seed: int = 0) -> State:
    seen = [score.observe(encoding, label, np.random.default_rng(i)) for i, (encoding, label) in enumerate(STREETS)]
    return score.train(seen, seed, lambda: None)


def outputs(score: HeadScore, state: State, encoding: Encoding) -> torch.Tensor:
    units = (score.vectors(encoding) - state["shift"]) / state["scale"]
    return Heads.of(state)(units[None])


@pytest.mark.parametrize("name", HEADS)
def test_heads_learn_the_classes_and_find_what_is_far_from_them(name: str) -> None:
    score = HEADS[name]
    state = trained(score)
    encoding, label = street(70)
    for member in outputs(score, state, encoding):
        logits = metric_logits(member) if name.startswith("dml") else member
        assert (logits.argmax(1).numpy() == label.ravel()).mean() > 0.95
    if name in ("dml", "dml_eds"):  # the space itself tells; a softmax need not be unsure of what it never saw
        found = score.score(NEW, state)
        assert float(found[STRANGE].mean()) > float(found[~STRANGE].mean()) + 0.2


def test_embeddings_gather_at_their_centres() -> None:
    score = HEADS["dml"]
    encoding, label = street(70)
    f = outputs(score, trained(score), encoding)[0]
    centres = 3 * F.one_hot(torch.from_numpy(label.ravel()).long(), CLASSES)
    assert float((f - centres).norm(dim=1).median()) < 1.0


@pytest.mark.parametrize("name", ["ensemble", "mc_dropout"])
def test_between_two_classes_predictions_are_unsure_and_differ(name: str) -> None:
    score = HEADS[name]
    state = trained(score)
    rows = torch.from_numpy(np.stack([CENTRES[0], (CENTRES[0] + CENTRES[1]) / 2, CENTRES[1]])).float()
    grid = rows.T.reshape(6, 1, 3)
    encoding = Encoding(np.zeros((8, 24, 3), np.uint8), (8, 24), torch.zeros(CLASSES, 1, 3), {"decoder": grid})
    first, between, second = score.score(encoding, state)[0].tolist()
    assert between > 3 * max(first, second)
    assert between > 0.1


def test_all_readings_of_the_metric_head_stand_on_one() -> None:
    mixed, eds, other = MetricHead("mixed"), MetricHead("eds"), MetricHead("eds", steps=7)
    assert eds.learns_like(mixed) and mixed.learns_like(eds)
    assert not eds.learns_like(other)
    assert not Ensemble().learns_like(MonteCarloDropout())


def test_members_differ_and_passes_are_drawn_from_the_seed() -> None:
    ensemble, dropout = HEADS["ensemble"], HEADS["mc_dropout"]
    first = trained(ensemble)["first"]
    assert len(first) == 5
    assert all((first[i] - first[j]).abs().mean() > 0.05 for i in range(5) for j in range(i))
    state = trained(dropout)
    other = {**state, "seed": torch.tensor(7)}
    assert torch.equal(dropout.score(NEW, state), dropout.score(NEW, state))
    assert not torch.equal(dropout.score(NEW, state), dropout.score(NEW, other))
    whole = dataclasses.replace(NEW, features={"decoder": NEW.features["decoder"][:, :, :1].expand(6, 8, 10)})
    columns = dropout.score(whole, state)
    torch.testing.assert_close(columns, columns[:, :1].expand(8, 10))  # one drawing of the weights for all pixels


def test_the_units_that_stay_keep_the_mean() -> None:
    kept = MonteCarloDropout(rate=0.25).kept((20000,), torch.Generator().manual_seed(0))
    assert sorted(kept.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert float(kept.mean()) == pytest.approx(1, abs=0.02)


def test_maximised_entropy_is_unsure_of_outliers_alone() -> None:
    score = MaximisedEntropy(hidden=32, steps=300)
    pasted = [street(seed, strange=True) for seed in range(6)]
    seen = [
        score.observe(encoding, np.where(truth == CLASSES, OUTLIER, truth).astype(np.uint8), np.random.default_rng(i))
        for i, (encoding, truth) in enumerate(pasted)
    ]
    found = score.score(NEW, score.train(seen, 0, lambda: None))
    assert float(found[STRANGE].min()) > 0.9
    assert float(found[~STRANGE].median()) < 0.5
    assert score.pasted
    plain = score.score(NEW, trained(score))  # without any outlier it still learns the classes
    assert float(plain[~STRANGE].median()) < 0.3


def test_entropy_loss_against_a_loop() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    label, outlier = torch.tensor([0, 3, 254, 1, 254, 2]), torch.tensor([0, 0, 1, 0, 1, 0]).bool()
    known, uniform = [], []
    for row, c, out in zip(logits.tolist(), label.tolist(), outlier.tolist(), strict=True):
        log_p = [value - math.log(sum(map(math.exp, row))) for value in row]
        (uniform if out else known).append(-sum(log_p) / 4 if out else -log_p[c])
    expected = 0.1 * sum(known) / 4 + 0.9 * sum(uniform) / 2
    assert float(entropy_loss(logits, label, outlier)) == pytest.approx(expected)
    assert float(entropy_loss(logits[~outlier], label[~outlier], outlier[~outlier])) == pytest.approx(sum(known) / 40)


def test_the_autoencoder_draws_streets_better_than_what_it_never_saw() -> None:
    score = Reconstruction(short=64, side=32, steps=60)
    state = trained(score)
    untrained = trained(Reconstruction(short=64, side=32, steps=0))
    encoding, _ = street(70)
    assert float(score.score(encoding, state).mean()) < 0.3 * float(score.score(encoding, untrained).mean())
    found = score.score(NEW, state)
    assert float(found[STRANGE].mean()) > 2 * float(found[~STRANGE].mean())


def test_what_the_autoencoder_s_network_takes_and_gives() -> None:
    network = Autoencoder()
    assert network(torch.zeros(2, 3, 16, 40)).shape == (2, 3, 16, 40)
    code = network.layers[:7](torch.zeros(1, 3, 16, 40))
    assert code.shape == (1, 16, 2, 5)  # a twelfth of the numbers of the picture


def test_the_road_machine_learns_road_and_nothing_else() -> None:
    score = RoadMachine(short=64, steps=150)
    observation = score.observe(*STREETS[0], np.random.default_rng(0))
    assert observation["owner"].unique().tolist() == [0]
    assert (observation["images"].float().mean((0, 1, 2)) - 40).abs().max() < 3  # grey, as the road is
    state = trained(score)
    untrained = trained(RoadMachine(short=64, steps=0))
    road = torch.zeros(SIZE, dtype=torch.bool)
    road[5:] = True
    encoding, _ = street(70)
    assert float(score.score(encoding, state)[road].mean()) < float(score.score(encoding, untrained)[road].mean())
    found = score.score(NEW, state)
    inside = torch.zeros(SIZE, dtype=torch.bool)
    inside[5:6, 4:6] = True  # the middle of the thing
    assert float(found[inside].min()) > 10 * float(found[road & ~STRANGE].median())


def test_road_is_what_lies_before_the_camera() -> None:
    label = np.full((16, 20), 2, np.uint8)
    label[12:] = 7
    label[12:, :5] = 9
    assert before_the_camera(label) == 7
    label[13:] = 255
    label[12, 5:15] = [7] * 4 + [1] * 6
    assert before_the_camera(label) == 1
    assert before_the_camera(np.full((16, 20), 255, np.uint8)) is None


def test_the_majority_of_images_decides_which_class_is_road() -> None:
    score = RoadMachine(short=64, steps=1)
    seen = [score.observe(*STREETS[i], np.random.default_rng(i)) for i in range(2)]
    encoding, label = STREETS[2]
    upside_down = score.observe(
        dataclasses.replace(encoding, image=encoding.image[::-1].copy()), label[::-1].copy(), np.random.default_rng(2)
    )
    assert upside_down["owner"].unique().tolist() == [2]
    alone, all_three = score.train(seen, 0, lambda: None), score.train([*seen, upside_down], 0, lambda: None)
    torch.testing.assert_close(alone["shift"], all_three["shift"])


class TestResynthesis:
    SCORE = Resynthesis(short=64, side=48, per_image=2, draws=40, compares=40)

    def test_drawings_come_to_resemble_and_wrong_labels_show(self) -> None:
        state = trained(self.SCORE)
        few = trained(dataclass_like(self.SCORE, draws=1, compares=1))
        image, labels = torch.from_numpy(STREETS[0][0].image[None]), STREETS[0][0].logits.argmax(0)
        full = F.interpolate(labels[None, None].float(), size=(64, 80))[0].byte()
        before, after = (self.error(s, image, full) for s in (few, state))
        assert after < 0.7 * before
        found = self.SCORE.score(NEW, state)
        assert float(found[STRANGE].mean()) > float(found[~STRANGE].mean()) + 0.5

    @staticmethod
    def error(state: State, image: torch.Tensor, label: torch.Tensor) -> float:
        drawer = duir.Generator(CLASSES)
        drawer.load_state_dict(duir.unpacked(state, "generator"))
        with torch.no_grad():
            drawn = drawer(one_hot(label, CLASSES))
        return float((drawn - duir.as_input(image)).abs().mean())

    def test_the_drawing_loss_counts_labelled_pixels_in_colour_and_features(self) -> None:
        image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
        everywhere = torch.ones(2, 32, 32, dtype=torch.bool)
        assert float(drawing_error(image, image, everywhere)) == pytest.approx(0, abs=1e-6)
        moved = image.clone()
        moved[:, :, :16] += 0.5
        lower = everywhere.clone()
        lower[:, :16] = False
        assert float(drawing_error(moved, image, everywhere)) > 0.25  # a quarter from colours alone
        seen, drawn = (torch.cat([f.flatten() for f in duir.features(x)]) for x in (image, moved))
        assert not torch.allclose(seen, drawn)
        colours = float(((moved - image).abs().mean(1) * lower).sum())
        assert colours == 0
        assert float(drawing_error(moved, image, lower)) < float(drawing_error(moved, image, everywhere)) - 0.25

    def test_the_discrepancy_loss_against_a_loop(self) -> None:
        generator = torch.Generator().manual_seed(0)
        found = torch.randn(1, 4, 4, generator=generator)
        shown, label = (torch.randint(0, 3, (1, 4, 4), generator=generator, dtype=torch.uint8) for _ in range(2))
        label[0, 0] = 255
        right, wrong = [], []
        for y in range(1, 4):
            for x in range(4):
                p = 1 / (1 + math.exp(-float(found[0, y, x])))
                if shown[0, y, x] != label[0, y, x]:
                    wrong.append(-math.log(p))
                else:
                    right.append(-math.log(1 - p))
        expected = sum(right) / len(right) + sum(wrong) / len(wrong)
        assert float(judging_error(found, shown, label)) == pytest.approx(expected, rel=1e-5)
        assert float(judging_error(found, label, label)) > 0  # with nothing wrong, one side is empty

    def test_swaps_are_of_known_classes_and_leave_void_alone(self) -> None:
        shown = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) % 3, np.ones((12, 12), np.uint8))
        shown[:6] = 255
        changed = 0
        for seed in range(5):
            found, again = (swap(shown, 3, np.random.default_rng(seed)) for _ in range(2))
            assert np.array_equal(found, again)
            assert ((found == 255) == (shown == 255)).all()
            assert set(np.unique(found)) <= {0, 1, 2, 255}
            changed += int((found != shown).sum())
        assert changed > 5 * 50
        assert np.array_equal(swap(shown, 1, np.random.default_rng(0)), shown)
        whole = np.zeros((48, 48), np.uint8)  # too large a component to be swapped: only ellipses are
        assert 0 < (swap(whole, 3, np.random.default_rng(0)) != 0).mean() < 0.5

    def test_void_is_of_no_class(self) -> None:
        found = one_hot(torch.tensor([[[0, 2], [255, 1]]], dtype=torch.uint8), 3)
        assert found.sum(1).tolist() == [[[1, 1], [0, 1]]]
        assert found[0, 2, 0, 1] == 1


def dataclass_like(score: Resynthesis, **changes: int) -> Resynthesis:
    """The same score with other numbers of steps."""
    return Resynthesis(score.short, score.side, score.per_image, changes["draws"], changes["compares"])


QUICK: dict[str, TrainedScore] = {
    "dml": MetricHead(hidden=8, steps=6),
    "mc_dropout": MonteCarloDropout(hidden=8, steps=6),
    "ensemble": Ensemble(hidden=8, steps=6),
    "max_entropy": MaximisedEntropy(hidden=8, steps=6),
    "autoencoder": Reconstruction(short=64, side=16, steps=6),
    "rbm": RoadMachine(short=64, steps=6),
    "duir": Resynthesis(short=64, side=32, draws=4, compares=2),
}


@pytest.mark.parametrize("name", QUICK)
def test_a_function_of_the_seed_with_a_tick_a_step(name: str) -> None:
    score, ticks = QUICK[name], []
    seen = [score.observe(encoding, label, np.random.default_rng(i)) for i, (encoding, label) in enumerate(STREETS)]
    first = score.train(seen, 3, lambda: ticks.append(1))
    assert len(ticks) == score.steps == 6
    torch.manual_seed(99)  # the global generator has no part in it
    again, other = score.train(seen[::-1], 3, lambda: None), score.train(seen, 4, lambda: None)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first if key != "seed")
    assert all(not value.requires_grad for value in first.values())
    with torch.inference_mode():  # as worlds read images; the training above is not disturbed by it
        before = score.score(NEW, first)
    assert torch.equal(before, score.score(NEW, first).detach())


@pytest.mark.parametrize("name", QUICK)
def test_without_labels_it_is_said(name: str) -> None:
    score = QUICK[name]
    nothing = score.observe(NEW, np.full(SIZE, 255, np.uint8), np.random.default_rng(0))
    with pytest.raises(InputError, match="check the labels"):
        score.state([nothing])


@pytest.mark.parametrize("name", [name for name in FITTED_SCORES if isinstance(fitted_score(name, 1, 1), TrainedScore)])
def test_states_are_small(name: str) -> None:
    """With 19 classes and 256 features: below 1.5 MB in half precision."""
    score = fitted_score(name, 1, 1)
    assert isinstance(score, TrainedScore)
    for attribute in ("steps", "draws", "compares"):
        if hasattr(score, attribute):
            setattr(score, attribute, 0)
    logits, features = torch.randn(19, *SIZE), {"decoder": torch.randn(256, *SIZE)}
    encoding = dataclasses.replace(NEW, logits=logits, features=features)
    label = np.zeros(SIZE, np.uint8)
    state = score.train([score.observe(encoding, label, np.random.default_rng(0))], 0, lambda: None)
    assert sum(value.numel() for value in state.values()) * 2 < 1.5e6


def test_void_pixels_do_not_bleed_into_what_is_made_smaller() -> None:
    encoding, label = street(0)
    label = label.copy()
    label[:, :4] = 255
    other = dataclasses.replace(encoding, image=encoding.image.copy())
    other.image[:, :32] = 255
    a, b = picture(encoding, label, 20), picture(other, label, 20)
    assert a.image.shape[:2] == (20, 25)
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.label, b.label)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_windows_hold_what_is_wanted(share: float) -> None:
    wanted = np.random.default_rng(0).random((20, 30)) < 0.8
    wanted[5:15, 8:20] = True
    found = places(wanted, 6, share, 1000, np.random.default_rng(1))
    expected = {(y, x) for y in range(15) for x in range(25) if wanted[y : y + 6, x : x + 6].sum() >= share * 36}
    assert set(found) == expected and len(found) == len(expected)
    assert len(places(wanted, 6, share, 3, np.random.default_rng(1))) == 3
    assert places(wanted, 21, share, 3, np.random.default_rng(1)) == []
    assert places(np.zeros((20, 30), bool), 6, 0.0, 3, np.random.default_rng(1)) == []


@pytest.mark.parametrize(("name", "height"), [("autoencoder", 10), ("autoencoder", 5), ("duir", 20)])
def test_images_that_are_too_narrow_are_left_out(name: str, height: int) -> None:
    score = QUICK[name]
    narrow = dataclasses.replace(NEW, image=np.zeros((height, 60, 3), np.uint8))
    seen = [score.observe(e, STREETS[0][1], np.random.default_rng(0)) for e in (STREETS[0][0], narrow)]
    both, alone = (score.train(part, 0, lambda: None) for part in (seen, seen[:1]))
    assert all(torch.equal(value, both[key]) for key, value in alone.items())


def test_observations_have_an_order_of_their_own() -> None:
    seen = [{"a": torch.tensor([i]), "b": torch.tensor([i % 2])} for i in range(5)]
    there, back = ordered(seen), ordered(seen[::-1])
    assert [int(o["a"]) for o in there] == [int(o["a"]) for o in back]
