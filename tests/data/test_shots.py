from pathlib import Path

import numpy as np
import pytest

from ignota.data.datasets import PublishedImages
from ignota.data.images import write_indexed_png
from ignota.data.listing import Pair, class_table
from ignota.data.shots import class_areas, largest_shots, random_shots
from ignota.structures import InputError
from ignota.taxonomy import CAMVID

CAR = CAMVID.id_of("car")
AREAS = {"e": 5, "d": 20, "c": 0, "b": 20, "a": 1, "f": 90}


def dataset_of(folder: Path, areas: dict[str, int]) -> PublishedImages:
    """Labels of 10×10 pixels with so many pixels of car, the rest alternating road and void."""
    pairs = []
    for key, area in areas.items():
        label = np.where(np.arange(100) % 2, 3, 255).astype(np.uint8)
        label[:area] = CAR
        write_indexed_png(folder / f"{key}.png", label.reshape(10, 10), CAMVID.palette())
        pairs.append(Pair(key, folder / f"{key}.jpg", folder / f"{key}.png"))
    return PublishedImages("camvid", CAMVID, "train", folder, tuple(pairs), class_table(CAMVID))


@pytest.fixture
def dataset(tmp_path):
    return dataset_of(tmp_path, AREAS)


def keys_of(dataset, indices):
    return [dataset.keys[index] for index in indices]


def test_class_areas_count_pixels_without_any_image(dataset):
    areas = class_areas(dataset, [CAR, 3, 0])
    assert areas.dtype == np.int64
    slow = [[int((dataset.load_label(i) == c).sum()) for i in range(len(dataset))] for c in (CAR, 3, 0)]
    assert areas.tolist() == slow
    assert areas[0].tolist() == list(AREAS.values())
    assert class_areas(dataset, []).shape == (0, 6)


def test_largest_first_and_ties_by_key(dataset):
    assert keys_of(dataset, largest_shots(dataset, CAR, 5)) == ["f", "b", "d", "e", "a"]
    assert keys_of(dataset, largest_shots(dataset, CAR, 1)) == ["f"]
    assert largest_shots(dataset, CAR, 2, areas=np.array([0, 1, 2, 0, 0, 0])) == (2, 1)


def test_ties_do_not_depend_on_the_file_order(tmp_path):
    for i, order in enumerate(("bd", "db")):
        (tmp_path / str(i)).mkdir()
        pair = dataset_of(tmp_path / str(i), dict.fromkeys(order, 20))
        assert keys_of(pair, largest_shots(pair, CAR, 2)) == ["b", "d"]


def test_random_draws_follow_the_seed(dataset):
    first = random_shots(dataset, CAR, 3, seed=4)
    assert first == random_shots(dataset, CAR, 3, seed=4)
    assert len(set(first)) == 3
    draws = {random_shots(dataset, CAR, 3, seed) for seed in range(20)}
    assert len(draws) > 5
    assert {key for draw in draws for key in keys_of(dataset, draw)} == set("abdef")


def test_random_draws_do_not_depend_on_the_file_order(tmp_path, dataset):
    other = dataset_of(tmp_path, dict(reversed(AREAS.items())))
    for seed in range(5):
        assert keys_of(dataset, random_shots(dataset, CAR, 2, seed)) == keys_of(
            other, random_shots(other, CAR, 2, seed)
        )


def test_smallest_share(dataset):
    assert set(keys_of(dataset, random_shots(dataset, CAR, 4, 0, min_share=0.05))) == set("bdef")
    assert keys_of(dataset, random_shots(dataset, CAR, 1, 0, min_share=0.5)) == ["f"]
    with pytest.raises(InputError, match=r"4 of 6 images of camvid .train. show it on 5\.0% of its pixels"):
        random_shots(dataset, CAR, 5, 0, min_share=0.05)


def test_no_label_is_read_where_areas_and_sizes_are_known(dataset, monkeypatch):
    monkeypatch.delattr(type(dataset), "load_label")
    areas, sizes = np.array([10, 20, 30]), np.array([100, 100, 1000])
    assert set(random_shots(dataset, CAR, 2, 0, 0.05, areas, sizes)) == {0, 1}


@pytest.mark.parametrize("draw", [largest_shots, lambda *arguments: random_shots(*arguments, seed=0)])
def test_too_few(dataset, draw):
    assert len(draw(dataset, CAR, 5)) == 5
    with pytest.raises(InputError, match="6 shots of 'car' asked for, but 5 of 6 images"):
        draw(dataset, CAR, 6)
    with pytest.raises(InputError, match="at least 1"):
        draw(dataset, CAR, 0)
