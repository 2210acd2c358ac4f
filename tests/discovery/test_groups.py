"""Regions, groups and suggestions against slow oracles."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ignota.discovery.clusters import Grouping
from ignota.discovery.cut_regions import cut_regions
from ignota.discovery.document import FILE, _state, check_rows, discovery, read_discovery, write_discovery
from ignota.discovery.gallery import cards, draw_tiles, shown_rows, write_sheets
from ignota.discovery.groups import class_likeness, find_groups, spread_out, taught_likeness
from ignota.discovery.region_table import RegionTable, read_table
from ignota.discovery.suggestion import Weighing, image_likeness, region_weights, suggest_images, target_rows
from ignota.perception.features import FeatureSpace, TaughtRows, nearest_similarity
from ignota.structures import InputError

Rows = list[dict[str, Any]]
FEATURES = 12
PERCEPTION = "0123456789abcdef"
FEW = Grouping(dimensions=4, smallest=3, likeness=0.9999)


@pytest.fixture
def found(rows: Rows, write: Callable[..., Path]) -> RegionTable:
    return read_table(write(rows), FEATURES, PERCEPTION)


@pytest.fixture
def space() -> FeatureSpace:
    known = torch.nn.functional.normalize(torch.randn(20, FEATURES, generator=torch.Generator().manual_seed(0)), dim=1)
    owner = (torch.arange(20) % 3).to(torch.uint8)
    return FeatureSpace(("t",), torch.zeros(FEATURES), torch.ones(FEATURES), known, owner, 2)


def slow_regions(
    unknown: NDArray[np.bool_], regions: NDArray[np.int32], smallest: int
) -> set[frozenset[tuple[int, int]]]:
    """Flood fill, pixel by pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(unknown & (regions > 0))}
    found = set()
    while left:
        todo = [left.pop()]
        piece = set(todo)
        while todo:
            y, x = todo.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            near = {place for place in near if regions[place] == regions[y, x]}
            left -= near
            piece |= near
            todo += near
        if len(piece) >= smallest:
            found.add(frozenset(piece))
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_pieces_are_connected_unknown_pixels_of_one_region(seed: int, smallest: int) -> None:
    rng = np.random.default_rng(seed)
    unknown = rng.random((9, 11)) < 0.6
    regions = cv2.resize(rng.integers(0, 4, (3, 4)).astype(np.int32), (11, 9), interpolation=cv2.INTER_NEAREST)
    made = cut_regions(unknown, regions, smallest)
    got = [frozenset(map(tuple, np.argwhere(made.ids == number).tolist())) for number in range(1, made.count + 1)]
    assert set(got) == slow_regions(unknown, regions, smallest)
    assert len(got) == made.count and made.ids.max(initial=0) == made.count


def test_two_bunches_are_two_groups_in_order_of_worth(found: RegionTable, space: FeatureSpace) -> None:
    groups, alone = find_groups(found, space, ("a", "b", "c"), FEW)
    assert [group.key for group in groups] == ["1", "2"]
    assert {row % 2 for row in groups[0].rows} != {row % 2 for row in groups[1].rows}
    assert sorted([*groups[0].rows, *groups[1].rows, *alone]) == list(range(40))
    assert groups[0].rank >= groups[1].rank
    likeness = class_likeness(found.vectors, space, 3)
    for group in groups:
        rows = list(group.rows)
        mean = found.vectors[rows].mean(0)
        assert group.images == 4
        assert group.compactness == pytest.approx(float((found.vectors[rows] @ (mean / np.linalg.norm(mean))).mean()))
        assert group.strangeness == pytest.approx(np.average(found.scores[rows], weights=found.areas[rows]))
        assert group.nearest[0][1] == pytest.approx(likeness[rows].mean(0).max(), abs=1e-6)
        assert 1 <= group.exemplars <= len(rows)
        if group.parts:
            assert sorted(row for part in group.parts for row in part.rows) == sorted(rows)
            assert [part.key for part in group.parts] == [f"{group.key}a", f"{group.key}b"]


def test_groups_are_the_same_whatever_the_order_of_the_table(
    rows: Rows, write: Callable[..., Path], space: FeatureSpace
) -> None:
    order = np.random.default_rng(1).permutation(len(rows))
    results = []
    for each in (rows, [rows[i] for i in order]):
        found = read_table(write(each), FEATURES, PERCEPTION)
        groups, _ = find_groups(found, space, ("a", "b", "c"), FEW)
        results.append([frozenset((found.place(row), found.counts[row]) for row in group.rows) for group in groups])
    assert results[0] == results[1]


def test_likeness_is_that_of_the_nearest_training_pixels(found: RegionTable, space: FeatureSpace) -> None:
    likeness = class_likeness(found.vectors, space, 3)
    for c in range(3):
        rows = space.known[space.owner == c]
        wanted = nearest_similarity(torch.from_numpy(found.vectors), rows, space.neighbours)
        np.testing.assert_allclose(likeness[:, c], wanted, atol=1e-5)
    taught = TaughtRows(
        space.known[:4],
        torch.tensor([0, 0, 1, 1]),
        space.known[:0],
        torch.zeros(0, dtype=torch.long),
        torch.zeros(2),
        torch.tensor([2, 2]),
    )
    both = [nearest_similarity(torch.from_numpy(found.vectors), space.known[i : i + 2], 2) for i in (0, 2)]
    np.testing.assert_allclose(taught_likeness(found.vectors, space, taught), torch.stack(both).amax(0), atol=1e-5)
    assert taught_likeness(found.vectors, space, None) is None


def test_a_group_of_one_look_needs_one_exemplar() -> None:
    same = np.repeat(np.eye(4, dtype=np.float32)[:1], 9, 0)
    assert spread_out(same, np.ones(9), 5)[1] == 1
    assert spread_out(np.eye(4, dtype=np.float32), np.ones(4), 5)[1] == 4


def test_a_discovery_comes_back_and_knows_its_table(
    found: RegionTable, space: FeatureSpace, rows: Rows, write: Callable[..., Path], tmp_path: Path
) -> None:
    groups, alone = find_groups(found, space, ("a", "b", "c"), FEW)
    made = discovery(groups, alone, found, tmp_path / "regions.parquet", "w")
    write_discovery(tmp_path / FILE, made, found)
    back = read_discovery(tmp_path / FILE)
    assert [(group.key, group.rows, group.exemplars) for group in back.groups] == [
        (group.key, group.rows, group.exemplars) for group in groups
    ]
    assert (back.state, back.regions, back.world, back.table) == (made.state, made.regions, "w", made.table)
    assert back.state == discovery(groups, alone, found, tmp_path / "elsewhere.parquet", "w").state
    check_rows(back, found)
    for other in (rows[1:], rows[::-1]):
        with pytest.raises(InputError, match="not what the groups were made of"):
            check_rows(back, read_table(write(other), FEATURES, PERCEPTION))


def test_names_of_another_run_do_not_fit(found: RegionTable, space: FeatureSpace) -> None:
    """As by another seed, which cuts the same groups into other parts, or for regions in another order."""
    groups, _ = find_groups(found, space, ("a", "b", "c"), FEW)
    first = groups[0]
    assert len(first.rows) > 3
    parts = [(first.rows[:2], first.rows[2:]), (first.rows[:3], first.rows[3:])]
    runs = [
        tuple(
            dataclasses.replace(first, key=key, rows=rows, parts=())
            for key, rows in zip(("1a", "1b"), each, strict=True)
        )
        for each in parts
    ]
    made = [(dataclasses.replace(first, parts=each), *groups[1:]) for each in runs]
    states = {discovery(each, (), found, Path("t"), world).state for each in made for world in ("w", "v")}
    states.add(discovery(made[0], (), found.only(range(len(found))[::-1]), Path("t"), "w").state)
    assert len(states) == 5


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("row", [-1, 1_000_000])
def test_rows_of_parts_that_there_are_not_are_refused(
    found: RegionTable, space: FeatureSpace, tmp_path: Path, row: int, sealed: bool
) -> None:
    groups, _ = find_groups(found, space, ("a", "b", "c"), FEW)
    made = discovery(groups, (), found, tmp_path / "regions.parquet", "w")
    write_discovery(tmp_path / FILE, made, found)
    content = json.loads((tmp_path / FILE).read_text())
    group = content["groups"][0]
    group["parts"] = [dict(group, key="1a", parts=[], rows=[row])]
    group["rows"].append(row)
    if sealed:
        content["state"] = _state(content["groups"], content["regions_sha256"], content["world"])
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match="not what the groups were made of" if sealed else "is damaged"):
        check_rows(read_discovery(tmp_path / FILE), found)


def test_groups_of_an_older_version_are_refused(found: RegionTable, space: FeatureSpace, tmp_path: Path) -> None:
    groups, _ = find_groups(found, space, ("a", "b", "c"), FEW)
    write_discovery(tmp_path / FILE, discovery(groups, (), found, tmp_path / "regions.parquet", "w"), found)
    content = json.loads((tmp_path / FILE).read_text())
    del content["world"], content["regions_sha256"]
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match="is of an older version: run `ignota discover` again"):
        read_discovery(tmp_path / FILE)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"groups": 3}', '{"groups": [{}], "table": "t", "state": "s"}', "[" * 9999]
)
def test_a_damaged_discovery_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match="is damaged"):
        read_discovery(tmp_path / FILE)


def test_pictures_show_regions_and_say_what_is_gone(found: RegionTable, space: FeatureSpace, tmp_path: Path) -> None:
    groups, _ = find_groups(found, space, ("a", "b", "c"), FEW)
    gone = tuple(str(tmp_path / "gone.png") if "s1" in path else path for path in found.images)
    found = dataclasses.replace(found, images=gone)
    tiles, faults = draw_tiles(found, shown_rows(groups))
    assert len(faults) == 1 and "gone.png" in str(faults[0])
    assert all(tile[:2] == b"\xff\xd8" for tile in tiles.values())
    assert {row for each in cards(groups, tiles) for row, _ in each.tiles} <= set(tiles)
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / "group-099.jpg").touch()
    write_sheets(tmp_path / "sheets", groups, tiles)
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["group-001.jpg", "group-002.jpg"]


def test_weights_follow_their_formula() -> None:
    scores, shares = np.array([0.6, 0.9, 0.7]), np.array([0.04, 0.01, 0.09])
    known, labels = np.array([0.5, -0.2, 0.1]), np.array([0, 0, -1])
    raw = scores * np.sqrt(shares) * (1 + 0.5 * np.array([0.5, 0, 0.1]))
    got = region_weights(scores, shares, known, labels, Weighing(area=0.5, rare=0.5, border=0.5))
    np.testing.assert_allclose(got, raw / np.sqrt([raw[0] + raw[1], raw[0] + raw[1], raw[2]]))


def test_an_image_is_as_like_as_its_most_similar_region() -> None:
    rng = np.random.default_rng(0)
    vectors, targets = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=(7, 5)).astype(np.float32)
    owner = rng.integers(0, 4, 30)
    got = image_likeness(vectors, owner, 4, targets)
    for image in range(4):
        for t in range(7):
            best = max([0.0, *(float(vectors[r] @ targets[t]) for r in range(30) if owner[r] == image)])
            assert got[image, t] == pytest.approx(best, rel=1e-5)
    assert (target_rows(np.arange(30.0), vectors) == np.arange(30)).all()


def test_suggestions_cover_what_is_not_taught(found: RegionTable, rows: Rows, write: Callable[..., Path]) -> None:
    known = np.zeros(40)
    chosen = suggest_images(found, known, None, 4, FEW, Weighing())
    assert sorted(each.name for each in chosen) == ["s0", "s1", "s2", "s3"]
    assert 0.5 < sum(each.gain for each in chosen) <= 1 + 1e-9
    assert suggest_images(found, known, np.ones(40), 1, FEW, Weighing())[0].gain == pytest.approx(0, abs=1e-6)
    other = read_table(write(rows[::-1]), FEATURES, PERCEPTION)
    again = suggest_images(other, known, None, 4, FEW, Weighing())
    assert [each.name for each in again] == [each.name for each in chosen]
    np.testing.assert_allclose([each.gain for each in again], [each.gain for each in chosen], rtol=1e-5)


def test_the_image_with_the_rare_thing_is_suggested_first(rows: Rows, write: Callable[..., Path]) -> None:
    for i, row in enumerate(rows):
        vector = np.eye(FEATURES)[5 if 20 <= i < 30 and i % 2 else 0] + 0.02 * np.sin(np.arange(FEATURES) * (i + 1))
        row["embedding"] = (vector / np.linalg.norm(vector)).tolist()
    found = read_table(write(rows), FEATURES, PERCEPTION)
    assert suggest_images(found, np.zeros(40), None, 1, FEW, Weighing())[0].name == "s2"
