"""What a finished stage leaves behind, and what it never mixes with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from ignota.training.configuration import ClosedSetConfig, DataConfig, ExperimentConfig
from ignota.training.stage_run import StageFolder, fingerprint

TENSORS = {"w": torch.arange(4.0), "n": torch.tensor(3)}


def test_equal_values_have_equal_fingerprints() -> None:
    assert fingerprint(ClosedSetConfig(), {"a": 1, "b": 2}) == fingerprint(ClosedSetConfig(), {"b": 2, "a": 1})
    assert fingerprint(ClosedSetConfig()) != fingerprint(ClosedSetConfig(steps=999))
    assert fingerprint(DataConfig(), 0) != fingerprint(0, DataConfig())
    assert len(fingerprint("x")) == 64


def test_a_setting_that_came_up_later_renames_nothing_that_was_trained_before() -> None:
    assert fingerprint(ClosedSetConfig()) == "436d38ed68a2929f4d2c583bcbb2a264ca36d610280a08c5e3292ae293b46fd2"
    assert fingerprint([ClosedSetConfig()]) == fingerprint([before_frozen_norm(ClosedSetConfig())])
    frozen = ClosedSetConfig(frozen_norm=True)
    assert fingerprint(frozen) != fingerprint(ClosedSetConfig())
    assert fingerprint(ExperimentConfig(closed_set=frozen)) != fingerprint(ExperimentConfig())


def before_frozen_norm(config: ClosedSetConfig) -> dict[str, object]:
    return {name: value for name, value in dataclasses.asdict(config).items() if name != "frozen_norm"}


def test_tensors_and_record_come_back(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "stage", "h")
    assert folder.finished() is None
    folder.begin()
    assert folder.finished() is None
    (folder.path / "last.ckpt").write_text("x")
    folder.finish(TENSORS, {"seconds": 1.5})
    assert folder.finished() == {"hash": "h", "seconds": 1.5}
    assert all(torch.equal(folder.tensors()[name], value) for name, value in TENSORS.items())
    assert {path.name for path in folder.path.iterdir()} == {"hash", "stage.json", "weights.safetensors"}
    folder.begin()
    assert folder.finished() is not None


def test_another_configuration_s_work_is_dropped(tmp_path: Path) -> None:
    old, new = StageFolder(tmp_path, "old"), StageFolder(tmp_path, "new")
    old.begin()
    old.finish(TENSORS, {})
    assert new.finished() is None
    (tmp_path / "last.ckpt").write_text("of the old one")
    new.begin()
    assert [path.name for path in tmp_path.iterdir()] == ["hash"]
    assert old.finished() is None


def test_an_own_checkpoint_is_kept_and_half_written_files_are_not(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, "h")
    folder.begin()
    (tmp_path / "last.ckpt").write_text("mine")
    (tmp_path / ".last.ckpt.1a2b.part").write_text("half")
    folder.begin()
    assert {path.name for path in tmp_path.iterdir()} == {"hash", "last.ckpt"}


@pytest.mark.parametrize("content", ["", "{", '{"hash": "h"'])
def test_a_damaged_record_is_an_unfinished_stage(tmp_path: Path, content: str) -> None:
    folder = StageFolder(tmp_path, "h")
    folder.begin()
    folder.finish(TENSORS, {})
    (tmp_path / "stage.json").write_text(content)
    assert folder.finished() is None


def test_a_record_without_tensors_is_an_unfinished_stage(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, "h")
    folder.finish(TENSORS, {})
    (tmp_path / "weights.safetensors").unlink()
    assert folder.finished() is None
