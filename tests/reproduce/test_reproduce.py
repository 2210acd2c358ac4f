"""From names to files: measured once, kept cell by cell, taken up where it was stopped, nothing trained twice."""

from __future__ import annotations

import dataclasses
import json
import shutil
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiments.pages import paper
from PIL import Image

from ignota.data.layouts import write_layout
from ignota.reproduce import example, measuring, publishing, runner
from ignota.reproduce.cells import AnomalyCell, Cell, ClosedCell, ExampleCell, IncrementalCell, Ledger, Variant
from ignota.reproduce.estimate import Estimate, estimate
from ignota.reproduce.given import closed_hash, trained_hash
from ignota.reproduce.grounds import GROUNDS, Setting
from ignota.reproduce.publishing import opened, reproduce
from ignota.reproduce.runner import NAMES, Reproduction, chosen_names
from ignota.reproduce.tables import MIN_SHARE, TABLES
from ignota.reproduce.taught_worlds import Lesson, SeenImage, Teacher, lesson_of
from ignota.reproduce.views import View, share_on
from ignota.scores.feature_scores import VirtualLogit
from ignota.scores.rbm import RoadMachine
from ignota.structures import InputError
from ignota.training import stage_run
from ignota.training.configuration import ExperimentConfig
from ignota.training.settings import configuration, read_preset

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
FOLDER = "synthetic-tiny"


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy of the whole reproduction that a test may spoil."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing may be trained."""

    def stage(module: object, *rest: object) -> None:
        raise AssertionError(f"{type(module).__name__} is trained again")

    monkeypatch.setattr(stage_run, "run_stage", stage)


def test_tables_figures_and_report_are_there(whole: Path) -> None:
    folder = whole / FOLDER
    page = (folder / "table-e.md").read_text(encoding="utf-8")
    assert "| MCA (K = 4) | paper | 63.2 | 36.5 | 68.3 | 47.5 |" in page
    for row in ("| MCA (K = 2) | here, as printed |", "| MCA (K = 4) | here, as released |",
                "| MCA (K = 4) | here, tuned |", "| NPM, frozen features | here |"):  # fmt: skip
        assert row in page
    assert "| MCA (K = 2) | here, as released |" not in page  # its K follows from the classes
    assert "not measured" not in page
    for name in ("figure-2", "figure-5", "figure-6", "figure-i"):
        picture = np.asarray(Image.open(folder / f"{name}.png"))
        assert picture.shape[1] > 1000 and picture.std() > 10, name
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.count("<img") >= 20
    assert "Does the paper's order hold?" in unescape(html)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert list(results["tables"]) == ["table-1", "table-d", "table-e"]
    assert results["schedules"]["paper"]["steps"] == 2 and results["schedules"]["paper"]["published_steps"] == 10000
    assert results["seconds"]["table-e"] > 0 and results["trainings"]["16+3"] > 0
    assert results["spent"]["processor"] > 1


def test_a_second_call_trains_and_measures_nothing(
    copy: Path, setting: Setting, asked: tuple[str, ...], forbidden: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in sorted(copy.rglob("*.json")) if path.parent.name == "cells"}
    page = (copy / FOLDER / "table-1.md").read_bytes()

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    for name in ("measure_closed", "measure_anomalies", "measure_incremental", "measure_example"):
        monkeypatch.setattr(runner, name, lambda w, cells, *_: never() if cells else None)
    monkeypatch.setattr(publishing, "FIGURES", dict.fromkeys(publishing.FIGURES, never))
    reproduce(asked, setting, copy, CPU, quiet=True)
    assert len(before) > 20
    assert {path: path.read_bytes() for path in before} == before
    assert (copy / FOLDER / "table-1.md").read_bytes() == page


def test_a_stopped_call_goes_on_with_what_is_missing(
    copy: Path, whole: Path, setting: Setting, forbidden: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = sorted((copy / FOLDER / "cells").glob("incremental-*.json"))
    for path in cells:
        path.unlink()
    write, kept = Ledger.write, []

    def until_three(self: Ledger, cell: Cell, *rest: Any) -> None:
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept.append(cell)
        write(self, cell, *rest)

    monkeypatch.setattr(Ledger, "write", until_three)
    with pytest.raises(KeyboardInterrupt):
        reproduce(["table-e"], setting, copy, CPU, quiet=True)
    left = sorted((copy / FOLDER / "cells").glob("incremental-*.json"))
    assert len(left) == 3
    spent, before = (json.loads((out / FOLDER / "spent.json").read_text()) for out in (copy, whole))
    assert spent["wall"] > before["wall"] and spent["processor"] > before["processor"]
    written: list[Cell] = []

    def noted(self: Ledger, cell: Cell, *rest: Any) -> None:
        written.append(cell)
        write(self, cell, *rest)

    monkeypatch.setattr(Ledger, "write", noted)
    reproduce(["table-e"], setting, copy, CPU, quiet=True)
    assert len(written) == len(cells) - 3 and not set(written) & set(kept)
    for path in cells:
        old = json.loads((whole / FOLDER / "cells" / path.name).read_text(encoding="utf-8"))
        new = json.loads(path.read_text(encoding="utf-8"))
        assert old["figures"] == new["figures"]


def test_another_configuration_is_another_cell(whole: Path, setting: Setting) -> None:
    assert opened(setting, whole, CPU).complete("table-e")
    config = setting.config("16+3")
    other = dataclasses.replace(config, embedder=dataclasses.replace(config.embedder, margin=0.3))
    changed = dataclasses.replace(setting, configs={setting.ground.preset: other})
    assert not opened(changed, whole, CPU).complete("table-e")


def test_other_files_are_other_networks_and_other_cells(
    tmp_path: Path, setting: Setting, tiny: ExperimentConfig
) -> None:
    roots = [write_layout(tmp_path / name, "cityscapes", {"train": 3, "val": 2}, (32, 64), seed)
             for name, seed in (("a", 0), ("b", 1))]  # fmt: skip
    moved = Path(shutil.copytree(roots[0], tmp_path / "moved"))
    ground = setting.ground
    config = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, dataset="cityscapes"))

    def at(root: Path) -> Reproduction:
        found = Setting(ground, setting.fidelity, {ground.preset: config}, root)
        return opened(found, tmp_path / "out", CPU, quiet=True)

    first, other, same = map(at, (*roots, moved))
    assert first.workshop.place("16+3") == same.workshop.place("16+3") != other.workshop.place("16+3")
    for cell in (IncrementalCell("16+3", "npm", 1), AnomalyCell(0, "msp"), ClosedCell("16+3"), ExampleCell()):
        first._keep(cell, {"x": 1.0}, 0.0)
        assert same.lookup(cell) == {"x": 1.0} and other.lookup(cell) is None, cell


def test_names_are_sorted_and_wrong_ones_refused() -> None:
    assert chosen_names(["figure-8", "table-1", "table-1"]) == ("table-1", "figure-8")
    assert chosen_names(["all"]) == NAMES
    without = GROUNDS["camvid"].without
    assert chosen_names(["all"], without) == tuple(name for name in NAMES if name != "figure-7")
    assert chosen_names(["all", "figure-7"], without) == NAMES
    with pytest.raises(InputError, match="did you mean 'table-2'"):
        chosen_names(["tabel-2"])


def test_the_command_names_the_nearest_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from ignota.cli import main

    assert main(["reproduce", "tabel-2", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "did you mean 'table-2'" in error and error.count("\n") == 1
    assert main(["reproduce", "table-1", "--world", "camvid", "--out", str(tmp_path / "out")]) == 2
    assert "--data ROOT" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def teacher(copy: Path, setting: Setting) -> Teacher:
    return Teacher(opened(setting, copy, CPU, quiet=True).workshop, "16+3")


def test_a_gated_world_finds_novel_classes_only_where_the_anomaly_map_says_unknown(teacher: Teacher) -> None:
    taught = teacher.taught(Lesson("16+3", 1, None, Variant()), ["raml_released"], gated=True)
    images = teacher.workshop.setting.evaluate("16+3")
    novel = free = 0
    for i in range(len(images)):
        known = taught.known_labels(SeenImage(taught.world, images[i].image), "raml_released")
        free += int((taught.labels(SeenImage(taught.world, images[i].image), "raml_released", -1.0) >= 16).sum())
        for gate in (1e9, -1e9):
            taught.gates = {"released": gate}
            found = taught.labels(SeenImage(taught.world, images[i].image), "raml_released", -1.0, gated=True)
            if gate > 0:
                assert (found == known).all()
            else:
                novel += int((found >= 16).sum())
    assert novel == free > 0


def test_what_was_old_before_comes_from_the_branch_itself(copy: Path, setting: Setting) -> None:
    workshop = opened(setting, copy, CPU, quiet=True).workshop
    head = workshop.branch("16+3", Variant(), "paper").head.convolution
    with torch.no_grad():  # a branch that calls everything class 15
        head.weight.zero_()
        head.bias.zero_()[15] = 1.0
    cells = [IncrementalCell("16+3", method, 1) for method in ("raml_paper", "npm_frozen")]
    found: dict[str, dict[str, Any]] = {}
    measuring.measure_incremental(workshop, cells, lambda one, figures, _: found.update({one.method: figures}))
    assert found["raml_paper"]["old_before"] == found["raml_paper"]["old_after"]  # it has no region to learn from
    kept = opened(setting, copy, CPU, quiet=True).lookup(cells[1])
    assert kept is not None and found["npm_frozen"]["old_before"] == kept["old_before"]
    assert found["raml_paper"]["old_before"] != found["npm_frozen"]["old_before"]


def test_a_configuration_is_trained_once_and_a_seed_of_d_retrains_d_alone(
    copy: Path, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    kept = stage_run.run_stage

    def noted(module: object, *rest: Any) -> None:
        trained.append({"BranchStage": "stage 2", "RegionEmbedderStage": "D"}[type(module).__name__])
        kept(module, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stage_run, "run_stage", noted)
    workshop = opened(setting, copy, CPU, quiet=True).workshop
    main = workshop.branch("16+3", Variant(), "paper")
    assert trained == []  # read back
    assert workshop.branch("16+3", Variant(losses=("split", "inter")), "paper") is main  # L_rec as printed is null
    assert workshop.branch("16+3", Variant(channels=4), "paper") is main
    other = workshop.branch("16+3", Variant(seed=7), "paper")
    assert trained == ["D"] and other.head is main.head
    assert not torch.equal(other.embedder.first.weight, main.embedder.first.weight)
    workshop.branch("16+3", Variant(branch_seed=7), "paper")
    assert trained == ["D", "stage 2", "D"]
    workshop.branch("16+3", Variant(losses=()), "paper")
    workshop.branch("16+3", Variant(losses=("rec",)), "paper")
    assert trained == ["D", *["stage 2", "D"] * 2]
    assert workshop.branch("16+3", Variant(losses=("split", "inter")), "released") is not workshop.branch(
        "16+3", Variant(), "released"
    )
    config = workshop.branch_config("16+3", Variant(losses=("split",), shown=5), "released").meta_channels
    assert (config.rec, config.inter, config.shots) == (0.0, 0.0, 5) and config.split > 0


def test_worlds_build_branches_only_when_asked(copy: Path, setting: Setting, forbidden: None) -> None:
    workshop = opened(setting, copy, CPU, quiet=True).workshop
    world = workshop.world("16+3", Variant(branch_seed=99))
    assert world.branches.systems == ("paper", "released", "dmlnet")
    with pytest.raises(AssertionError, match="trained again"):
        world.branch("paper")


def test_table_d_has_meta_channels_regions_or_says_that_there_are_none(
    copy: Path, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduction = opened(setting, copy, CPU, quiet=True)
    taught, workshop = reproduction.taught, reproduction.workshop
    monkeypatch.setattr(example, "METHOD", "raml_released")
    found = example.measure_example(workshop, taught)
    assert found["regions"][0]["letter"] == "(e)" and set(found["regions"][0]["similarity"]) == {"car", "truck", "bus"}
    channels = workshop.branch("16+3", Variant(), "released").head
    with torch.no_grad():
        channels.convolution.bias[16:] = -1e4  # all of them are empty
    found = example.measure_example(workshop, taught)
    assert found == {"theta": 0.8, "reason": example.NO_REGION}
    view = View(setting.evaluate("16+3")[0], setting.ground.parsed("16+3"), taught)
    assert next(iter(view.channel_pictures("released")))[0] == "channel 1: empty, 0 % on"
    assert view.aggregated("raml_released")[0] == "aggregated: empty, 0 % on"


def test_a_caption_states_the_share_of_pixels_on() -> None:
    on = np.zeros((4, 5), bool)
    assert share_on("channel 1", on) == "channel 1: empty, 0 % on"
    on[0, 0] = True
    assert share_on("channel 1", on) == "channel 1: 5.0% on"


def test_the_time_is_estimated_from_what_is_missing(
    whole: Path, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, fresh = (opened(setting, out, CPU, quiet=True) for out in (whole, tmp_path))
    nothing = estimate(done, ["table-e"])
    assert nothing.training == nothing.measuring == 0
    table, more = estimate(fresh, ["table-e"]), estimate(fresh, ["table-3", "table-e"])
    assert 0 < table.training < more.training and 0 < table.measuring < more.measuring
    assert "core-hours are left" in str(table) and not list(tmp_path.iterdir())
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert ": 2.0 hours on the 4 cores here;" in str(Estimate(7 * 3600, 3600))


def test_draws_differ_and_the_largest_are_the_default(teacher: Teacher) -> None:
    split = teacher.workshop.setting.ground.parsed("16+3")

    def shots(draw: int | None) -> dict[str, tuple[int, ...]]:
        return teacher.shots(split, Lesson("16+3", 1, draw, Variant()))

    areas = teacher.workshop.areas("16+3")
    assert shots(None)["car"] == (int(areas[13].argmax()),)
    assert len({shots(draw)["car"] for draw in range(5)}) > 1
    assert shots(3) == shots(3)


def test_a_random_draw_leaves_out_what_is_too_small_to_learn_from(teacher: Teacher, setting: Setting) -> None:
    split, areas = teacher.workshop.setting.ground.parsed("16+3"), teacher.workshop.areas("16+3")
    size, car = int(areas[:, 0].sum()), 13
    showing = np.flatnonzero(areas[car] >= MIN_SHARE * size)
    assert size == 48 * 96 and len(showing) > 3
    areas[car, showing[3:]] = 7  # a few pixels each
    cells = [cell for one in TABLES["table-g"](setting) for cell in one.cells() if cell.split == "16+1"]
    drawn = {index for cell in cells if cell.shots == 1 for index in teacher.shots(split, lesson_of(cell))["car"]}
    assert drawn <= set(showing[:3].tolist()) and len(drawn) > 1


def test_a_class_with_too_few_images_has_a_reason_for_a_figure(copy: Path, setting: Setting) -> None:
    cell = IncrementalCell("16+3", "npm", 1000)
    found: dict[Cell, dict[str, Any]] = {}
    workshop = opened(setting, copy, CPU, quiet=True).workshop
    measuring.measure_incremental(workshop, [cell], lambda one, figures, _: found.update({one: figures}))
    assert "1000 shots" in found[cell]["reason"]


def test_a_score_that_was_fitted_before_a_stop_is_not_fitted_again(
    copy: Path, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = opened(setting, copy, CPU, quiet=True).workshop
    shutil.rmtree(workshop.place("16+3") / "scores")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RoadMachine, "train", stop)
        workshop.refused("16+3", ["vim", "rbm"])
    monkeypatch.setattr(VirtualLogit, "state", stop)
    assert opened(setting, copy, CPU, quiet=True).workshop.refused("16+3", ["vim", "rbm"]) == {}
    found = sorted(path.name for path in workshop.place("16+3").glob("scores/*"))
    assert found == ["rbm.safetensors", "vim.safetensors"] and not (workshop.place("16+3") / "fitting").exists()


def test_meta_channels_of_another_k_have_as_many(copy: Path, setting: Setting, forbidden: None) -> None:
    workshop = opened(setting, copy, CPU, quiet=True).workshop
    for k in (2, 6):
        assert workshop.world("16+3", Variant(channels=k)).branch("paper").head.meta_channels == k


def test_a_finished_closed_set_is_taken_over_and_another_refused(
    whole: Path, setting: Setting, forbidden: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = [path.parents[1] for path in (whole / FOLDER / "trained").glob("*/stages/closed_set")]
    workshop = opened(setting, tmp_path / "new", CPU, quiet=True, given=[run]).workshop
    workshop.check_given()
    taken, source = workshop.stages("16+3").segmenter.state_dict(), opened(setting, whole, CPU).workshop.stages("16+3")
    for name, value in source.segmenter.state_dict().items():
        assert torch.equal(taken[name], value), name
    stopped = opened(setting, tmp_path / "stopped", CPU, quiet=True, given=[run]).workshop
    copied: list[str] = []

    def two_files(source: str, target: str) -> None:
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(shutil.copy2(source, target))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copytree", partial(shutil.copytree, copy_function=two_files))
        stopped.stages("16+3")
    assert len(copied) == 2 and not list((tmp_path / "stopped").rglob("stages/closed_set"))
    assert stopped.stages("16+3").segmenter.state_dict().keys() == taken.keys()
    config = setting.config("16+3")
    other = dataclasses.replace(config, closed_set=dataclasses.replace(config.closed_set, steps=5))
    changed = dataclasses.replace(setting, configs={setting.ground.preset: other})
    with pytest.raises(InputError, match="another configuration"):
        reproduce(["table-e"], changed, tmp_path / "new", CPU, quiet=True, given=[run])
    with pytest.raises(InputError, match="holds no closed set"):
        reproduce(["table-e"], setting, tmp_path / "new", CPU, quiet=True, given=[tmp_path])


def test_the_closed_set_of_a_world_is_taken_in_half_precision(
    whole: Path, setting: Setting, forbidden: None, tmp_path: Path
) -> None:
    (world,) = (whole / FOLDER / "trained").glob("*/world")
    workshop = opened(setting, tmp_path, CPU, quiet=True, given=[world]).workshop
    workshop.check_given()
    taken, source = workshop.stages("16+3").segmenter.state_dict(), opened(setting, whole, CPU).workshop.stages("16+3")
    for name, value in source.segmenter.state_dict().items():
        near = value.half().to(value.dtype) if value.is_floating_point() else value
        torch.testing.assert_close(taken[name], near, rtol=0, atol=0, msg=name)
    assert workshop.seconds("16+3") == 0


def test_the_shipped_worlds_serve_what_camvid_s_presets_train() -> None:
    for name in ("camvid-8+3", "camvid-11"):
        assert trained_hash(Path(name)) == closed_hash(configuration(read_preset(name))), name


def test_a_run_that_is_named_as_a_shipped_world_is_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "camvid-11" / "stages" / "closed_set" / "stage.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"hash": "of the run"}')
    monkeypatch.chdir(tmp_path)
    assert trained_hash(Path("camvid-11")) == "of the run"


def test_the_page_is_written_from_the_results(whole: Path, tmp_path: Path) -> None:
    page = paper.written("# The paper\n\nBy hand.\n\n## Old\n", whole)
    assert page.startswith("# The paper\n\nBy hand.\n\n## What was measured\n") and "## Old" not in page
    assert "| MCA (K = 4) | paper | 63.2 | 36.5 | 68.3 | 47.5 |" in page
    assert "synthetic, tiny: not run: table-2, table-3" in page
    assert "`ignota reproduce table-e --world synthetic --fidelity tiny`" in page
    assert "branch `paper` 2 steps and its D 2 of 10000" in page
    found = json.loads((whole / FOLDER / "results.json").read_text(encoding="utf-8"))
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke" / "results.json").write_text(json.dumps(found | {"smoke": True}), encoding="utf-8")
    with pytest.raises(ValueError, match="smoke test"):
        paper.written(page, tmp_path)


def test_a_smoke_test_says_so_and_claims_nothing(copy: Path, setting: Setting) -> None:
    smoke = dataclasses.replace(setting, fidelity=dataclasses.replace(setting.fidelity, smoke=True))
    said: list[str] = []
    reproduce(["table-1"], smoke, copy, CPU, quiet=True, announce=said.append)
    assert len(said) == 1 and "about 0.0 core-hours" in said[0] and "smoke test" in said[0]
    assert "(smoke test, no claim)" in (copy / FOLDER / "table-1.md").read_text(encoding="utf-8")
    results = json.loads((copy / FOLDER / "results.json").read_text(encoding="utf-8"))
    assert results["smoke"] and results["claims"]["rows"] == []
