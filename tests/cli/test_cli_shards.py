"""Parts of a data set that were measured apart give, joined, the figures of one machine to the last bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ignota.cli import main
from ignota.data.layouts import write_layout


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("five") / "cityscapes", "cityscapes", {"train": 8, "val": 5}, (48, 96))


def measured(call: tuple[object, ...], count: int, folder: Path) -> list[Path]:
    parts = [folder / f"part-{number}" for number in range(1, count + 1)]
    for number, part in enumerate(parts, start=1):
        assert run(*call, "--shard", f"{number}/{count}", "--state", part) == 0
    return parts


@pytest.mark.usefixtures("small_scales")
def test_anomaly_figures_of_parts_are_those_of_all(
    trained: Path, five: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("evaluate", "anomaly", "cityscapes", "--data", five, "--world", trained)
    call = (*call, "--scores", "raml,max_logit,knn", "--protocol", "dmlnet")
    assert run(*call, "--json", tmp_path / "one.json") == 0
    shown = capsys.readouterr().out
    parts = measured(call, 3, tmp_path)
    told = capsys.readouterr()
    assert "shard 1/3: 2 of 5 images" in told.out and told.err == ""
    assert run("evaluate", "merge", parts[2], parts[0], parts[1], "--json", tmp_path / "all.json") == 0
    assert capsys.readouterr().out == shown
    assert (tmp_path / "all.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    found = json.loads((tmp_path / "all.json").read_text())["scores"]["raml"]
    assert set(found) == {"pooled", "per_image", "dmlnet", "component", "open_miou"}
    assert set(found["open_miou"]) == {"closed", "tpr95", "fpr5", "best_f1", "fixed"}
    assert set(found["component"]) == {"oracle", "fixed"} and found["component"]["oracle"]["true"] > 0
    assert run("evaluate", "merge", *parts[:2], "--json", tmp_path / "two.json") == 2
    assert "shard 3 is missing" in capsys.readouterr().err and not (tmp_path / "two.json").exists()


def test_incremental_figures_of_parts_are_those_of_all(
    trained: Path, five: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = (
        "evaluate",
        "incremental",
        "cityscapes",
        "--data",
        five,
        "--world",
        trained,
        "--methods",
        "npm_frozen,raml,ft_frozen",
    )
    for draws in (0, 2):
        options = ("--shots", 1, "--draws", draws, "--seed", 3, "--min-share", 0.004)
        assert run(*call, *options, "--json", tmp_path / f"one-{draws}.json") == 0
        shown = capsys.readouterr().out
        parts = measured((*call, *options, "--quiet"), 2, tmp_path / f"draws-{draws}")
        assert capsys.readouterr().out == ""
        assert run("evaluate", "merge", *parts, "--json", tmp_path / f"all-{draws}.json") == 0
        assert capsys.readouterr().out == shown
        assert (tmp_path / f"all-{draws}.json").read_bytes() == (tmp_path / f"one-{draws}.json").read_bytes()


def test_what_cannot_be_joined(
    trained: Path, five: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: Callable[..., str]
) -> None:
    call = ("evaluate", "anomaly", "cityscapes", "--data", five, "--world", trained, "--quiet")
    one, two = measured((*call, "--scores", "raml"), 2, tmp_path)
    (other,) = measured((*call, "--scores", "msp", "--size", 40), 1, tmp_path / "other")
    assert "shard 2 is missing" in wrong("evaluate", "merge", one)
    assert "a shard is there twice" in wrong("evaluate", "merge", one, two, two)
    assert "measure different things" in wrong("evaluate", "merge", one, other)
    larger = Path(shutil.copytree(five, tmp_path / "larger" / "cityscapes"))
    image = sorted(larger.rglob("val/**/*_leftImg8bit.png"))[0]
    image.write_bytes(image.read_bytes() + b" ")
    again = (*call[:4], larger, *call[5:], "--scores", "raml", "--shard", "2/2", "--state", tmp_path / "again")
    assert run(*again) == 0
    assert "measure different things (data)" in wrong("evaluate", "merge", one, tmp_path / "again")
    assert "is no state" in wrong("evaluate", "merge", tmp_path)
    assert "is not empty" in wrong(*call, "--shard", "1/2", "--state", one)
    assert "a shard is K/N" in wrong(*call, "--shard", "3/2", "--state", tmp_path / "x")
    assert "shard 9/9 would have none" in wrong(*call, "--shard", "9/9", "--state", tmp_path / "x")
    assert "say by --state" in wrong(*call, "--shard", "1/2")
    assert "a part has no figures" in wrong(*call, "--state", tmp_path / "x", "--json", tmp_path / "x.json")


def test_parts_that_were_taught_by_other_images_are_not_joined(
    trained: Path, five: Path, tmp_path: Path, wrong: Callable[..., str]
) -> None:
    support = Path(shutil.copytree(five, tmp_path / "support" / "cityscapes"))
    for image in sorted(support.rglob("train/**/*_leftImg8bit.png"))[:1]:
        image.write_bytes(image.read_bytes() + b" ")
    call = ("evaluate", "incremental", "cityscapes", "--data", five, "--world", trained, "--methods", "npm_frozen")
    parts = []
    for number, root in ((1, five), (2, support)):
        parts.append(tmp_path / str(number))
        options = ("--support", root, "--shots", 1, "--quiet", "--shard", f"{number}/2", "--state", parts[-1])
        assert run(*call, *options) == 0
    assert "measure different things (support)" in wrong("evaluate", "merge", *parts)
    document = json.loads((parts[1] / "state.json").read_text())
    document["made_by"] = json.loads((parts[0] / "state.json").read_text())["made_by"]
    document["lessons"][0]["used"] = {name: ["other"] for name in document["lessons"][0]["used"]}
    (parts[1] / "state.json").write_text(json.dumps(document))
    assert "other exemplars" in wrong("evaluate", "merge", *parts)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d["metrics"].update(images=-1),
        lambda d: d["metrics"].update(protocol="mine"),
        lambda d: d["metrics"]["scores"][0]["per_image"].update(sums=["0x0"]),
        lambda d: d["metrics"]["scores"][0]["per_image"].update(sums=["zero"] * 3),
        lambda d: d["reading"]["fixed"]["raml"].update(found=[1] * 10),
        lambda d: d["reading"].update(sizes=["a", "b"]),
        lambda d: d["reading"].update(thresholds=[]),
        lambda d: d["reading"].update(bytes="many"),
        lambda d: d["reading"].update(keys=["a", "b", "c", "d", "e", "f", "g"]),
        lambda d: d.pop("shard"),
        lambda d: d.update(kind="another"),
        lambda d: d.update(form=99),
    ],
)
def test_a_state_that_was_tampered_with_is_refused(
    trained: Path, five: Path, tmp_path: Path, spoil: Callable[[dict], object], wrong: Callable[..., str], whole: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "spoilt"))
    document = json.loads((folder / "state.json").read_text())
    spoil(document)
    (folder / "state.json").write_text(json.dumps(document))
    assert "spoilt" in wrong("evaluate", "merge", folder)


@pytest.fixture(scope="module")
def whole(trained: Path, five: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    call = ("evaluate", "anomaly", "cityscapes", "--data", five, "--world", trained, "--quiet", "--scores", "raml,msp")
    return measured(call, 1, tmp_path_factory.mktemp("whole"))[0]


@pytest.mark.parametrize("spoil", ["bins", "negative", "float", "cut"])
def test_histograms_that_none_can_be_are_refused(
    whole: Path, tmp_path: Path, spoil: str, wrong: Callable[..., str]
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "spoilt"))
    arrays = load_file(folder / "histograms.safetensors")
    if spoil == "bins":
        arrays["0.bins"][-1] = 1 << 20
    if spoil == "negative":
        arrays["0.counts"][0, 0] = -1
    if spoil == "float":
        arrays["0.counts"] = arrays["0.counts"].astype(np.float64)
    save_file(arrays, folder / "histograms.safetensors")
    if spoil == "cut":
        path = folder / "histograms.safetensors"
        path.write_bytes(path.read_bytes()[:-9])
    assert "spoilt is no state" in wrong("evaluate", "merge", folder)


@pytest.mark.parametrize("spoil", ["cut", "flat", "float64", "fewer", "more", "empty", "gone"])
def test_maps_that_are_damaged_are_refused(whole: Path, tmp_path: Path, spoil: str, wrong: Callable[..., str]) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "spoilt"))
    path = folder / "maps" / "0.scores"
    with path.open("rb") as stream:
        scores = [np.load(stream) for _ in range(2)]
        assert stream.read() == b""
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    if spoil == "gone":
        path.unlink()
    changed = {
        "flat": [scores[0].ravel(), *scores[1:]],
        "float64": [scores[0].astype(np.float64), *scores[1:]],
        "fewer": scores[1:],
        "more": [*scores, scores[0]],
        "empty": [scores[0][:0], *scores[1:]],
    }.get(spoil)
    if changed is not None:
        with path.open("wb") as stream:
            for score in changed:
                np.save(stream, score)
    assert "spoilt/maps/0 are damaged" in wrong("evaluate", "merge", folder)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d["lessons"][0].update(used=[]),
        lambda d: d["lessons"][0].update(states=[]),
        lambda d: d.update(shots=float("inf")),
    ],
)
def test_a_state_of_lessons_that_was_tampered_with_is_refused(
    taught: Path, tmp_path: Path, spoil: Callable[[dict], object], wrong: Callable[..., str]
) -> None:
    folder = Path(shutil.copytree(taught, tmp_path / "spoilt"))
    document = json.loads((folder / "state.json").read_text())
    spoil(document)
    (folder / "state.json").write_text(json.dumps(document))
    assert "spoilt is no state" in wrong("evaluate", "merge", folder)


@pytest.fixture(scope="module")
def taught(trained: Path, five: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    call = ("evaluate", "incremental", "cityscapes", "--data", five, "--world", trained, "--quiet", "--shots", 1)
    return measured((*call, "--methods", "npm_frozen"), 1, tmp_path_factory.mktemp("taught"))[0]
