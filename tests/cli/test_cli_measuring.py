"""evaluate and data on synthetic data sets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ignota.cli import main
from ignota.scores import heads, rbm
from ignota.scores.trained import descend


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.usefixtures("small_scales")
def test_anomaly_figures(trained: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = (
        "evaluate",
        "anomaly",
        "cityscapes",
        "--data",
        streets,
        "--world",
        trained,
        "--json",
        tmp_path / "a" / "a.json",
    )
    assert run(*call, "--scores", "raml, max_logit,raml", "--protocol", "dmlnet") == 0
    told = capsys.readouterr()
    assert told.err == ""
    found = json.loads((tmp_path / "a" / "a.json").read_text())
    assert (found["dataset"], found["images"], list(found["scores"])) == ("cityscapes", 2, ["raml", "max_logit"])
    for readings in found["scores"].values():
        assert set(readings) == {"pooled", "per_image", "dmlnet", "component", "open_miou"}
        assert all(0 <= readings["pooled"][metric] <= 1 for metric in ("aupr", "auroc", "fpr95"))
    assert f"{100 * found['scores']['raml']['pooled']['aupr']:.2f}" in told.out
    component = found["scores"]["raml"]["component"]
    assert set(component["oracle"]) == {"threshold", "siou", "ppv", "f1", "true", "predicted", "by_size"}
    assert component["oracle"]["true"] == component["fixed"]["true"] > 0
    recipe = json.loads((trained / "world.json").read_text())["recipes"]["light"]
    assert component["fixed"]["threshold"] == recipe["threshold"] != component["oracle"]["threshold"]
    assert f"{100 * component['oracle']['siou']:.2f}" in told.out


def test_every_score_and_no_file(trained: Path, streets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "anomaly", "cityscapes", "--data", streets, "--world", trained) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("raml_paper", "raml_released", "msp", "energy", "knn"))


def test_incremental_figures(trained: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ("evaluate", "incremental", "cityscapes", "--data", streets, "--support", streets, "--world", trained)
    assert run(*call, "--methods", "npm_frozen,raml", "--shots", 1, "--json", tmp_path / "i.json") == 0
    assert capsys.readouterr().err == ""
    found = json.loads((tmp_path / "i.json").read_text())
    assert set(found["miou"]) == {"all", "novel", "old", "harmonic"}
    assert set(found["methods"]) == {"npm_frozen", "raml"}
    assert found["miou"] == found["methods"]["raml"]["miou"]
    assert set(found["stolen"]) == {"car", "truck", "bus"}
    assert {"iou", "old_before", "old_after"} <= set(found)
    assert run(*call, "--methods", "raml", "--shots", 1, "--draws", 2, "--min-share", 0.01, "--novel", "car") == 0
    shown = capsys.readouterr().out
    assert "2 random draws of 1 shots" in shown
    assert "±" in shown


def test_closed_set_figures(trained: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ("evaluate", "closed", "cityscapes", "--data", streets, "--world", trained)
    assert run(*call, "--json", tmp_path / "c.json") == 0
    told = capsys.readouterr()
    assert told.err == ""
    found = json.loads((tmp_path / "c.json").read_text())
    known = [entry["name"] for entry in json.loads((trained / "world.json").read_text())["taxonomy"]["classes"]]
    assert (found["dataset"], found["images"], list(found["iou"])) == ("cityscapes", 2, known)
    assert 0 < found["miou"] < found["pixel_accuracy"] <= 1
    assert f"{100 * found['miou']:.2f}" in told.out


def test_wild_figures(trained: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = [path.name.removesuffix("_leftImg8bit.png") for path in sorted(streets.glob("leftImg8bit/val/**/*.png"))]
    call = ("evaluate", "wild", "cityscapes", "--data", streets, "--world", trained, "--pairs", f"{keys[0]}:{keys[1]}")
    known = ("--known", "cityscapes", "--known-data", streets)
    assert run(*call, *known, "--json", tmp_path / "w.json") == 0
    told = capsys.readouterr()
    found = json.loads((tmp_path / "w.json").read_text())
    assert told.err == "" and (found["dataset"], found["given"]) == ("cityscapes", "mask")
    assert set(found["images"]) == set(keys) and list(found["pairs"]) == ["→".join(keys)]
    assert found["iou"] == pytest.approx(np.mean([each["iou"] for each in found["images"].values()]))
    assert f"{100 * found['iou']:.2f}" in told.out and "taught on A" in told.out
    assert set(found["known"]["claimed"]) == {k for k, each in found["images"].items() if each["accepted"]}


@pytest.fixture
def spoilt(streets: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(streets, tmp_path / "spoilt"))


def _label(root: Path) -> Path:
    return sorted(root.glob("gtFine/val/**/*labelIds.png"))[-1]


def test_faults_of_a_data_set(
    spoilt: Path, trained: Path, tmp_path: Path, wrong: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    measure = ("evaluate", "anomaly", "cityscapes", "--data", spoilt, "--world", trained, "--scores", "msp")
    measure = (*measure, "--json", tmp_path / "a.json")
    assert run("data", "check", "cityscapes", spoilt) == 0
    assert "cityscapes, val, 2 images: fine" in capsys.readouterr().out
    Image.fromarray(np.full((48, 96), 77, np.uint8)).save(_label(spoilt))
    assert "label value 77 is not in cityscapes" in wrong(*measure)
    assert "unknown label value" in wrong("data", "check", "cityscapes", spoilt)
    Image.fromarray(np.zeros((40, 96), np.uint8)).save(_label(spoilt))
    assert "does not fit its image" in wrong(*measure)
    assert "label and image differ in size" in wrong("data", "check", "cityscapes", spoilt)
    _label(spoilt).unlink()
    assert "1 of 2 images of cityscapes (val) have no label" in wrong(*measure)
    assert "missing label" in wrong("data", "check", "cityscapes", spoilt)


def test_what_cannot_be_measured(
    streets: Path, trained: Path, tmp_path: Path, wrong: Callable[..., str], full_disk: Callable[[int], None]
) -> None:
    (tmp_path / "empty").mkdir()
    data = ("cityscapes", "--data", streets, "--world", trained)
    assert "expected as" in wrong("evaluate", "anomaly", "cityscapes", "--data", tmp_path / "empty")
    assert "no split 'vall'; did you mean 'val'" in wrong("evaluate", "anomaly", *data, "--split", "vall")
    assert "did you mean 'max_logit'" in wrong("evaluate", "anomaly", *data, "--scores", "raml,max_logits")
    assert "no score was named" in wrong("evaluate", "anomaly", *data, "--scores", ",")
    assert "is a folder" in wrong("evaluate", "anomaly", *data, "--json", tmp_path)
    assert "ask for fewer shots" in wrong("evaluate", "incremental", *data, "--shots", 9)
    full_disk(0)
    one = ("--scores", "msp", "--json", tmp_path / "a.json")
    assert "no space left" in wrong("evaluate", "anomaly", *data, *one, code=1)


def test_a_data_set_without_anything_new(trained: Path, tmp_path: Path, wrong: Callable[..., str]) -> None:
    root = tmp_path / "mine"
    for folder in ("images/train", "images/val", "masks/train", "masks/val"):
        (root / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((48, 96), np.uint8)).save(root / folder / "1.png")
    (root / "classes.yaml").write_text("classes: [road, sky]\n")
    data = ("folder", "--data", root, "--world", trained)
    assert "there is nothing to learn" in wrong("evaluate", "incremental", *data)
    assert "nothing in it is an anomaly" in wrong("evaluate", "anomaly", *data)
    (root / "classes.yaml").write_text("classes: [cheese]\n")
    assert "knows no class" in wrong("evaluate", "incremental", *data)


def test_synthesize(tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: Callable[..., str]) -> None:
    call = ("data", "synthesize", tmp_path / "d", "--layout", "smiyc", "--anomalies", 2, "--size", "48x96", "--seed", 3)
    assert run(*call) == 0
    assert "2 val" in capsys.readouterr().out
    with Image.open(tmp_path / "d" / "images" / "0.jpg") as picture:
        assert picture.size == (96, 48)
    assert run("data", "check", "road_anomaly_21", tmp_path / "d", "--quiet") == 0
    assert "is not empty" in wrong(*call)
    assert "--val is 0 or more" in wrong("data", "synthesize", tmp_path / "e", "--layout", "camvid", "--val", -1)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that are trained take four steps."""

    def few(parameters: Any, loss: Any, steps: int, lr: float, tick: Any) -> None:
        descend(parameters, loss, min(steps, 4), lr, tick)

    for room in (heads, rbm):
        monkeypatch.setattr(room, "descend", few)


@pytest.mark.usefixtures("few_steps")
def test_compare_and_fit(
    streets: Path, trained: Path, tmp_path: Path, wrong: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("compare", "cityscapes", f"cityscapes={streets}", "--data", streets, "--draws", 20, "--quiet")
    scores = ("--scores", "msp,region:msp,fuse:knn+energy")
    assert run(*call, *scores, "--world", trained, "--json", tmp_path / "c.json") == 0
    told = capsys.readouterr()
    assert told.err == ""
    found = json.loads((tmp_path / "c.json").read_text())
    assert [one["images"] for one in found["comparisons"]] == [2, 2]
    assert {row["name"] for row in found["comparisons"][0]["scores"]} == {"msp", "region:msp", "fuse:knn+energy"}
    assert {"knn_decoder", "dml_frozen", "duir"} <= set(found["missing"])
    assert "mean place on 2 data sets" in told.out
    assert f"To add them: {found['command']}" in told.out

    more = ("--world", trained, "--out", tmp_path / "more")
    assert run("fit", "knn_decoder", *more) == 0
    assert "knn_decoder as well" in capsys.readouterr().out
    one = ("compare", "cityscapes", "--data", streets, "--draws", 5, "--world", tmp_path / "more")
    assert run(*one) == 0
    shown = capsys.readouterr().out
    assert "region:knn_decoder" in shown
    assert "not held: " in shown and "dml_frozen" in shown
    assert "exists already" in wrong("fit", "vim", *more)
    assert "--images is 1 or more" in wrong("fit", "rbm", *more[:-1], tmp_path / "other", "--images", 0)
    few = ("--images", 3, "--seed", 5, "--quiet")
    assert run("fit", "rbm", "dml_frozen", "dml_eds_frozen", *more[:-1], tmp_path / "trained", *few) == 0
    document = json.loads((tmp_path / "trained" / "world.json").read_text())
    assert document["recipes"]["light"]["extra"][-3:] == ["rbm", "dml_frozen", "dml_eds_frozen"]
    assert not (tmp_path / "trained.partial").exists()
    assert "another scale" in wrong("fit", "rbm", *more[:-1], tmp_path / "other", "--size", 32)
    other = ("--data", streets, "--dataset", "cityscapes")
    assert "stand on synthetic" in wrong("fit", "rbm", *more[:-1], tmp_path / "other", *other)
    assert "can be fitted; did you mean 'vim'" in wrong("fit", "vin", *more[:-1], tmp_path / "other")
    assert "--draws is 1 or more" in wrong(*one, "--draws", 0)
    assert "did you mean 'msp'" in wrong(*one, "--scores", "region:msq")


def test_alpha_and_beta_of_the_paper_or_of_one_s_own(
    trained: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("evaluate", "anomaly", "cityscapes", "--data", streets, "--world", trained, "--scores", "raml_paper")
    recipe = json.loads((trained / "world.json").read_text())["recipes"]["light"]
    found = {}
    for edges in ("training", "50,0.7"):
        assert run(*call, "--edges", edges, "--json", tmp_path / "e.json") == 0
        found[edges] = json.loads((tmp_path / "e.json").read_text())
    assert found["training"]["edges"] == {"alpha": recipe["alpha"], "beta": recipe["beta"]}
    assert found["50,0.7"]["edges"] == {"alpha": 50, "beta": 0.7}
    assert found["training"]["scores"] != found["50,0.7"]["scores"]
    capsys.readouterr()
    for edges, line in (
        ("paper", "the paper sets no α and β for cityscapes"),
        ("50", "--edges is training, paper or two numbers ALPHA,BETA"),
        ("-1,0.5", "--edges takes α from 0 and β in 0..1"),
        ("nan,0.5", "--edges takes α from 0"),
    ):
        assert run(*call, f"--edges={edges}") == 2
        told = capsys.readouterr().err
        assert line in told and told.count("\n") == 1


def test_methods_and_scores_of_a_branch_that_is_not_there(
    trained: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("cityscapes", "--data", streets, "--world", trained, "--json", tmp_path / "a.json")
    for call in (("incremental", *where, "--methods", "npm"), ("anomaly", *where, "--scores", "max_logit,dml")):
        assert run("evaluate", *call) == 2
        told = capsys.readouterr().err
        assert "runs on the branch `dmlnet`" in told and told.count("\n") == 1
        assert not (tmp_path / "a.json").exists()
