"""discover and suggest from images and tables to taught classes: resuming, names, faults."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ignota.cli import gathering, main
from ignota.perception.perception import calibrated
from ignota.storage import bundle
from ignota.synthetic.streets import SyntheticStreets


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Synthetic streets with unknown things."""
    folder = tmp_path / "photos"
    folder.mkdir()
    streets = SyntheticStreets("anomaly", 4, (48, 96), 3)
    for number in range(4):
        Image.fromarray(streets[number].image).save(folder / f"p{number}.png")
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each image whose regions were sought."""
    sought: list[object] = []
    inner = gathering.cut_region_rows
    monkeypatch.setattr(gathering, "cut_region_rows", lambda *args: sought.append(args) or inner(*args))
    return sought


def groups(out: Path) -> list[dict[str, object]]:
    return json.loads((out / "groups.json").read_text())["groups"]


def test_images_become_groups_and_named_groups_classes(
    world: Path, photos: Path, tmp_path: Path, read: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    call = ("discover", photos, "--world", world, "--out", out, "--smallest", 2)
    assert run(*call) == 0
    assert len(read) == 4
    first = groups(out)
    assert first and capsys.readouterr().out.count("\n") > 4
    assert len(list((out / "sheets").glob("group-*.jpg"))) == len(first)
    rows = [row for group in first for row in group["rows"]]  # type: ignore[attr-defined]
    assert len(rows) == len(set(rows)) <= pq.read_metadata(out / "regions" / "regions.parquet").num_rows

    (out / "regions" / "p2.json").unlink()
    assert run(*call, "--quiet") == 0
    assert len(read) == 5  # the others were kept
    assert groups(out) == first

    names = tmp_path / "names.csv"
    names.write_text("group,name\n1,thing\n")
    accept = ("discover", "--accept", names, "--world", world, "--out", out, "--force", "--exemplars", 2)
    assert run(*accept) == 0
    assert "learnt 'thing' from 2 examples" in capsys.readouterr().out
    taught = bundle.load(world).store.cards()
    assert [card.name for card in taught] == ["thing", "thing"] and taught[0].source.startswith("p")
    assert run(*accept) == 0
    assert "nothing is new" in capsys.readouterr().out
    assert len(bundle.load(world).store.cards()) == 2

    assert run("discover", "--unnamed", 1, "--world", world, "--out", out, "--force", "--quiet", "--exemplars", 1) == 0
    assert [label.name for label in bundle.load(world).store.classes()] == ["thing", "unknown-1"]


def test_the_table_of_segment_serves_as_well(world: Path, photos: Path, tmp_path: Path) -> None:
    seen, out = tmp_path / "seen", tmp_path / "found"
    assert run("segment", photos, "--world", world, "--out", seen, "--quiet") == 0
    table = seen / "regions.parquet"
    assert run("discover", table, "--world", world, "--out", out, "--smallest", 2, "--quiet") == 0
    assert json.loads((out / "groups.json").read_text())["regions"] == pq.read_metadata(table).num_rows
    assert (out / "groups.html").is_file()
    assert not (out / "regions").exists()

    for photo in photos.iterdir():  # which of them are shown depends on the rounding of the tiny world
        photo.unlink()
    assert run("discover", table, "--world", world, "--out", out, "--smallest", 2, "--quiet") == 2
    assert (out / "groups.html").is_file()  # all but the pictures of that image

    pq.write_table(pq.read_table(table).slice(1), table)
    assert run("discover", "--unnamed", 1, "--world", world, "--out", out, "--quiet") == 2  # not what was grouped


def test_suggestions_are_the_same_however_the_images_are_named(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, first, second = tmp_path / "out", tmp_path / "first.json", tmp_path / "second.json"
    assert run("suggest", photos, "--world", trained, "-n", 3, "--json", first, "--out", out) == 0
    assert "label these 3 first" in capsys.readouterr().out
    files = sorted(photos.glob("*.png"), reverse=True)
    table = tmp_path / "next.csv"
    assert run("suggest", *files, "--world", trained, "--count", 3, "--json", second, "--csv", table, "--quiet") == 0
    chosen = json.loads(first.read_text())["images"]
    assert chosen == json.loads(second.read_text())["images"]
    gains = [each["gain"] for each in chosen]
    assert gains == sorted(gains, reverse=True) and 0 < sum(gains) <= 1 + 1e-6
    with table.open(newline="") as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == [each["image"] for each in chosen]
    names = [f"{rank:03d}_{Path(each['image']).stem}.jpg" for rank, each in enumerate(chosen, start=1)]
    assert sorted(path.name for path in (out / "suggested").iterdir()) == names


def test_wrong_calls_end_in_one_line(
    world: Path, photos: Path, tmp_path: Path, wrong: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, table, out = tmp_path / "names.csv", tmp_path / "regions.parquet", tmp_path / "out"
    names.write_text("group,name\n1,x\n")
    pq.write_table(pa.table({"name": ["a"]}), table)
    here = ("--world", world, "--out", out)
    assert "discover what?" in wrong("discover", *here)
    assert "--smallest is 2 or more" in wrong("discover", photos, *here, "--smallest", 1)
    assert "no column 'image'" in wrong("discover", table, *here)
    assert "no column 'image'" in wrong("suggest", table, "--world", world)
    assert "is a table" in wrong("discover", table, photos, *here)
    assert "is not there" in wrong("discover", "--accept", names, *here)
    assert "is no folder" in wrong("discover", photos, "--world", world, "--out", names)
    assert "-n is 1 or more" in wrong("suggest", photos, "--world", world, "-n", 0)
    assert "is no file" in wrong("discover", "--accept", tmp_path / "none.csv", *here)
    out.mkdir()
    (out / "groups.json").write_text('{"groups": [{"rows": "all"}]}')
    assert "is damaged" in wrong("discover", "--accept", names, *here)
    monkeypatch.setattr(gathering, "find_spec", lambda module: None if module == "sklearn" else module)
    assert "pip install 'ignota[discover]'" in wrong("discover", photos, *here)
    assert "pip install 'ignota[discover]'" in wrong("suggest", photos, "--world", world)


def test_groups_names_and_tables_belong_to_their_run_and_world(
    world: Path, photos: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    out, names = tmp_path / "found", tmp_path / "names.csv"
    assert run("discover", photos, "--world", world, "--out", out, "--smallest", 2, "--quiet") == 0
    made = json.loads((out / "groups.json").read_text())
    names.write_text(f"group,name,without,of\n1,thing,,{made['state'][::-1]}\n")
    accept = ("discover", "--accept", names, "--out", out)
    assert "names groups of another run" in wrong(*accept, "--world", world)

    other = tmp_path / "other"
    opened = bundle.load(world)
    known = calibrated(opened.known, threshold=opened.known.recipe.threshold + 0.01)
    bundle.save(dataclasses.replace(opened, fitted=known), other)
    opened.store.close()
    table = out / "regions" / "regions.parquet"
    assert "another world" in wrong(*accept, "--world", other)
    assert "another world" in wrong("suggest", table, "--world", other)
    assert "another world" in wrong("discover", table, "--world", other, "--out", tmp_path / "more")

    made["groups"][0]["parts"] = [dict(made["groups"][0], key="1a", rows=[-1], parts=[])]
    (out / "groups.json").write_text(json.dumps(made))
    assert "is damaged" in wrong(*accept, "--world", world)
