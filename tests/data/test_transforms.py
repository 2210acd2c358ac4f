import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from ignota.data.transforms import (
    Augmentation,
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    augment,
    distort,
    jitter_colours,
    sample_generator,
)


def noise(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def paired(height=40, width=60, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """An image of flat blocks whose colour says its label: red = 20 × label."""
    blocks = np.random.default_rng(seed).integers(0, 12, (-(-height // 10), -(-width // 10)), dtype=np.uint8)
    label = np.kron(blocks, np.ones((10, 10), np.uint8))[:height, :width]
    return np.stack([label * 20, label * 10, 255 - label * 20], 2), label


PLAIN = {"flip": False, "jitter": 0.0}


class TestJitter:
    @pytest.mark.parametrize("factor", [0.0, 0.4, 0.7, 1.0, 1.3, 2.0])
    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (adjust_brightness, tv.adjust_brightness),
            (adjust_contrast, tv.adjust_contrast),
            (adjust_saturation, tv.adjust_saturation),
        ],
    )
    def test_agrees_with_torchvision_within_rounding(self, ours, theirs, factor):
        smooth = cv2.GaussianBlur(noise(64, 64, 3), (0, 0), 3)
        for image in (noise(32, 48, 3), smooth, np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)):
            expected = theirs(torch.from_numpy(image).permute(2, 0, 1), factor).permute(1, 2, 0).numpy()
            result = ours(image, factor)
            assert result.dtype == np.uint8
            # torchvision cuts decimals off twice (grey, blend) where we round
            assert np.abs(result.astype(int) - expected).max() <= 1 + abs(1 - factor)

    def test_factor_one_changes_nothing(self):
        image = noise(16, 16, 3)
        for adjust in (adjust_brightness, adjust_contrast, adjust_saturation):
            np.testing.assert_array_equal(adjust(image, 1.0), image)

    def test_strength_zero_and_source_untouched(self):
        image = noise(16, 16, 3)
        before = image.copy()
        assert jitter_colours(image, 0.0, np.random.default_rng(0)) is image
        assert (jitter_colours(image, 0.5, np.random.default_rng(0)) != before).any()
        np.testing.assert_array_equal(image, before)


class TestAugment:
    def test_same_generator_same_sample(self):
        image, label = paired()
        settings_ = Augmentation((24, 32), rare_class_probability=0.5)
        first = augment(image, label, settings_, sample_generator(1, 2, 3, 4))
        second = augment(image, label, settings_, sample_generator(1, 2, 3, 4))
        other = augment(image, label, settings_, sample_generator(1, 2, 3, 5))
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
        assert (first[0] != other[0]).any()

    def test_each_argument_of_the_generator_counts(self):
        draws = {sample_generator(*(int(i == k) for i in range(4))).integers(1 << 60) for k in range(5)}
        assert len(draws) == 5

    @settings(max_examples=30, deadline=None)
    @given(
        st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.integers(1, 40),
        st.floats(0.2, 3.0), st.integers(0, 9), st.floats(0, 1),
    )  # fmt: skip
    def test_shape_and_label_values(self, height, width, crop_height, crop_width, scale, seed, rare):
        image, label = paired(height, width, seed)
        wish = Augmentation((crop_height, crop_width), (scale, scale), rare_class_probability=rare)
        view, marks = augment(image, label, wish, np.random.default_rng(seed))
        assert view.shape == (crop_height, crop_width, 3)
        assert marks.shape == (crop_height, crop_width)
        assert view.dtype == marks.dtype == np.uint8
        assert view.flags.c_contiguous
        assert marks.flags.c_contiguous
        assert set(np.unique(marks)) <= {*np.unique(label), 255}
        assert (marks != 255).any()

    def test_image_and_label_move_together(self):
        image, label = paired(80, 120)
        flips = 0
        for index in range(20):
            wish = Augmentation((30, 40), (1.0, 1.0), flip=True, jitter=0.0)
            view, marks = augment(image, label, wish, sample_generator(0, 0, 0, index))
            np.testing.assert_array_equal(view[:, :, 0], marks * 20)
            windows = np.lib.stride_tricks.sliding_window_view(label, (30, 40))
            flips += not (windows == marks).all((2, 3)).any()
        assert 3 < flips < 17

    def test_magnified_labels_stay_aligned(self):
        image, label = paired(80, 120)
        for index in range(10):
            view, marks = augment(
                image, label, Augmentation((60, 60), (1.5, 1.5), **PLAIN), sample_generator(0, 0, 1, index)
            )
            away_from_borders = cv2.erode((marks == cv2.medianBlur(marks, 5)).astype(np.uint8), np.ones((5, 5)))
            agrees = np.abs(view[:, :, 0].astype(int) - marks.astype(int) * 20) <= 2
            assert agrees.mean() > 0.75
            assert away_from_borders.mean() > 0.4

    def test_padding_is_void_and_mean_coloured(self):
        image, label = np.full((10, 20, 3), (10, 100, 200), np.uint8), np.full((10, 20), 3, np.uint8)
        view, marks = augment(image, label, Augmentation((16, 32), (1.0, 1.0), **PLAIN), np.random.default_rng(0))
        assert (marks == 3).sum() == 200
        assert (marks == 255).sum() == 16 * 32 - 200
        np.testing.assert_array_equal(view, np.broadcast_to(image[0, 0], view.shape))

    def test_shrunk_picture_is_padded(self):
        image, label = paired(40, 40)
        _, marks = augment(image, label, Augmentation((40, 40), (0.5, 0.5), **PLAIN), np.random.default_rng(0))
        assert (marks != 255).sum() == 20 * 20

    def test_crops_reach_every_corner(self):
        label = np.zeros((20, 20), np.uint8)
        label[[0, 0, -1, -1], [0, -1, 0, -1]] = (1, 2, 3, 4)
        image = np.zeros((20, 20, 3), np.uint8)
        wish = Augmentation((17, 17), (1.0, 1.0), **PLAIN)
        seen = {v for i in range(200) for v in np.unique(augment(image, label, wish, sample_generator(0, 0, 0, i))[1])}
        assert seen == {0, 1, 2, 3, 4}

    def test_rare_classes_are_always_in_the_crop_when_asked_for(self):
        label = np.zeros((200, 200), np.uint8)
        label[100:108, 40:48] = 7
        label[0:4, 0:4] = 255
        image = np.zeros((200, 200, 3), np.uint8)
        wish = Augmentation((32, 32), (0.75, 2.0), rare_class_probability=1.0, rare_class_weights=(0,) * 7 + (1,))
        plain = Augmentation((32, 32), (0.75, 2.0))
        rngs = [sample_generator(0, 0, 0, index) for index in range(60)]
        assert all((augment(image, label, wish, rng)[1] == 7).any() for rng in rngs)
        assert sum((augment(image, label, plain, rng)[1] == 7).any() for rng in rngs) < 20

    def test_absent_rare_classes_and_void_are_cropped_anywhere(self):
        wish = Augmentation((8, 8), rare_class_probability=1.0, rare_class_weights=(0.0, 1.0))
        for value in (0, 255):
            label = np.full((20, 20), value, np.uint8)
            assert augment(np.zeros((20, 20, 3), np.uint8), label, wish, np.random.default_rng(0))[1].shape == (8, 8)

    def test_void_is_no_rare_class(self):
        label = np.full((200, 200), 255, np.uint8)
        label[100:108, 40:48] = 7
        wish = Augmentation((16, 16), (1.0, 1.0), rare_class_probability=1.0)
        image = np.zeros((200, 200, 3), np.uint8)
        for index in range(10):
            assert (augment(image, label, wish, sample_generator(0, 0, 0, index))[1] == 7).any()

    def test_inputs_are_left_alone_even_read_only(self):
        image, label = paired()
        image.flags.writeable = label.flags.writeable = False
        augment(image, label, Augmentation((40, 60), (1.0, 1.0)), np.random.default_rng(0))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"crop": (0, 4)},
            {"crop": (4, 4), "scale": (0.0, 1.0)},
            {"crop": (4, 4), "scale": (2.0, 1.0)},
            {"crop": (4, 4), "jitter": -1.0},
            {"crop": (4, 4), "rare_class_probability": 1.5},
            {"crop": (4, 4), "rare_class_weights": (-1.0,)},
        ],
    )
    def test_impossible_wishes(self, wrong):
        with pytest.raises(ValueError):
            Augmentation(**wrong)


def test_another_camera() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    assert distort(image, 0.0, rng) is image
    changes = []
    for strength in (0.1, 0.5, 1.0):
        seen = [distort(image, strength, np.random.default_rng(i)) for i in range(20)]
        assert all(one.shape == image.shape and one.dtype == np.uint8 for one in seen)
        changes.append(float(np.mean([np.abs(one.astype(float) - image).mean() for one in seen])))
        np.testing.assert_array_equal(seen[3], distort(image, strength, np.random.default_rng(3)))
    assert changes == sorted(changes) and changes[0] > 1
