"""`import ignota`: the public names, quick to import, with errors in Python's words."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import ignota
from ignota.storage import bundle
from ignota.synthetic import SyntheticStreets
from ignota.training.configuration import ExperimentConfig
from ignota.world.previewing import Preview, TeachingRefused

FUNCTIONS = (ignota.load, ignota.train, ignota.adapt, ignota.evaluate_anomaly, ignota.evaluate_incremental)


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Iterator[ignota.World]:
    """A copy of the tiny world that may be taught."""
    bundle.copy(trained, tmp_path / "own")
    world = ignota.load(tmp_path / "own", writable=True, device="cpu")
    yield world
    world.store.close()


def test_importing_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, ignota; print(sorted({'torch', 'numpy', 'ignota.door'} & set(sys.modules)), dir(ignota))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == f"[] {sorted(ignota.__all__)}"


def test_opening_a_world_loads_nothing_of_training(trained: Path) -> None:
    code = (
        f"import sys, ignota; ignota.load({str(trained)!r}); "
        "print(sorted({'lightning', 'matplotlib', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_name_is_there_and_no_other() -> None:
    assert dir(ignota) == sorted(ignota.__all__)
    assert all(getattr(ignota, name) is not None for name in ignota.__all__)
    with pytest.raises(AttributeError, match="module 'ignota' has no attribute 'segment'"):
        _ = ignota.segment  # type: ignore[attr-defined]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_signatures_say_what_they_take(function: Callable[..., object]) -> None:
    hints = typing.get_type_hints(function)
    assert "typing.Any" not in str(hints)
    paths = [hint for name, hint in hints.items() if name in ("world", "preset", "out", "data", "segmenter", "support")]
    assert paths and all({str, Path} <= set(typing.get_args(hint)) for hint in paths)


def test_the_whole_loop(own: ignota.World) -> None:
    """See the unknown, learn it, see it again, forget it."""
    street = SyntheticStreets("anomaly", 1, (48, 96), seed=4)[0]
    assert street.label is not None
    assert repr(own) == "World(tiny, 16 known, 0 taught)"
    before = own.segment(street.image)
    assert isinstance(before, ignota.Scene)
    assert repr(before) == f"Scene(96×48, {len(before.unknown)} unknown, 16 classes)"
    region = own.select(before, ignota.Polygon([(10, 10), (50, 10), (50, 40), (10, 40)]))
    assert isinstance(region, ignota.Region)
    assert repr(region) == f"Region(41×31 at (10, 10), score {region.score:.2f}, nearest {region.nearest})"
    assert own.select(before, ignota.Box(10, 10, 60, 40)).given == "box"
    assert own.select(before, ignota.Click(5, 5, "region")).given == "click"
    own.learn("thing", [region, (street.image, street.label == 1)], force=True)
    assert repr(own) == "World(tiny, 16 known, 1 taught)"
    assert own.segment(street.image).taxonomy.names[-1] == "thing"
    own.forget("thing")
    assert np.array_equal(own.segment(street.image).labels, before.labels)


@pytest.mark.parametrize("kind", [str, Path])
def test_evaluating_a_folder_and_an_open_world(kind: type, trained: Path, streets: Path) -> None:
    scores = ["raml", "max_logit"]
    figures = ignota.evaluate_anomaly(kind(trained), "cityscapes", kind(streets), scores=scores, device="cpu")
    assert list(typing.cast(dict[str, object], figures["scores"])) == scores
    world = ignota.load(kind(trained), device="cpu")
    assert ignota.evaluate_anomaly(world, "cityscapes", kind(streets), scores=scores) == figures
    learnt = ignota.evaluate_incremental(world, "cityscapes", kind(streets), methods=["raml"], shots=1)
    assert set(typing.cast(dict[str, object], learnt["methods"])) == {"raml"}
    assert learnt["shots"] == 1
    world.store.close()


@pytest.mark.slow
def test_training_goes_on(tiny: ExperimentConfig, tmp_path: Path) -> None:
    preset, out = tmp_path / "tiny.yaml", tmp_path / "run"
    preset.write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(tiny)))))
    settings = {"meta_channels.branches": [], "incremental.shots": [1], "name": "other"}
    done = ignota.train(preset, str(out), settings=settings, device="cpu", quiet=True)
    assert (done.world, done.report) == (out / "world", out / "report.html") and done.report.is_file()
    assert done.results["name"] == "other"
    again = ignota.train(str(preset), out, settings=settings, device="cpu", quiet=True)
    assert again.results["closed_set"] == done.results["closed_set"]
    with pytest.raises(ignota.errors.InputError, match="another configuration: choose another out= or remove it"):
        ignota.train(preset, out, device="cpu", quiet=True)


def _refuse() -> None:
    raise TeachingRefused(Preview("thing", 1, 10, 1.0, 0.9, 0.8, 0.1, {"road": 0.9}, {}))


WRONG: dict[str, tuple[Callable[[], object], str, str]] = {
    "no data": (
        lambda: ignota.evaluate_anomaly("camvid-11", "road_anomaly_21"),
        "say where with data=ROOT",
        "say where with --data ROOT",
    ),
    "hub": (
        lambda: ignota.train("cityscapes-16+3", "nowhere", settings={"data.dataset": "synthetic"}),
        "pass allow_download=True",
        "pass --allow-download",
    ),
    "code": (
        lambda: ignota.adapt("package:function", None, "nowhere", dataset="synthetic"),
        "pass allow_code=True",
        "pass --allow-code",
    ),
    "which data set": (lambda: ignota.adapt("net.pt2", None, "nowhere"), "say dataset=NAME", "say --dataset NAME"),
    "device": (lambda: ignota.load(device="gpu"), "device is one of auto, cpu, cuda", "--device is one of"),  # type: ignore[arg-type]
    "size": (lambda: ignota.load(size=3), "size is the short side in pixels", "--size is the short side"),
    "shots": (lambda: ignota.evaluate_incremental("camvid-11", "camvid", shots=0), "shots is 1", "--shots is 1"),
    "share": (
        lambda: ignota.evaluate_incremental("camvid-11", "camvid", min_share=2),
        "min_share is in 0..1",
        "--min-share is in 0..1",
    ),
    "preset": (lambda: ignota.train("camvid-12", "nowhere"), "did you mean 'camvid-11'?", "did you mean"),
    "setting": (
        lambda: ignota.train("camvid-11", "nowhere", settings={"closed_set.step": 3}),
        "settings: no setting 'closed_set.step'; did you mean 'closed_set.steps'?",
        "settings: no setting",
    ),
    "value": (
        lambda: ignota.train("camvid-11", "nowhere", settings={"closed_set.steps": "many"}),
        "settings: closed_set.steps wants a whole number, not 'many'",
        "wants a whole number",
    ),
    "world": (lambda: ignota.load("camvid-12"), "did you mean 'camvid-11'?", "no world 'camvid-12'"),
    "theft": (_refuse, "use force=True", "use --force"),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_name_arguments_and_on_the_command_line_options(case: str) -> None:
    call, argument, option = WRONG[case]
    with pytest.raises(ignota.errors.InputError) as caught:
        call()
    assert argument in str(caught.value)
    assert option in caught.value.command_line
    assert not Path("nowhere").exists()


EXAMPLE = """
from pathlib import Path
import ignota

world = ignota.load(Path("my-world"), writable=True)
scene: ignota.Scene = world.segment("photo.jpg")
region: ignota.Region = scene.unknown[0]
lesson = world.learn("moose", [("photo.jpg", region), ("b.jpg", ignota.Box(1, 2, 30, 40))])
reveal_type(ignota.evaluate_anomaly(world, "camvid", "data", scores=["raml"]))
reveal_type(ignota.train("camvid-11", "runs/a").world)
ignota.load(1)
ignota.loud("x")
"""


@pytest.mark.long
def test_mypy_sees_the_types(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(EXAMPLE, encoding="utf-8")
    call = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", "example.py"]
    package = Path(ignota.__file__).parent
    assert (package / "py.typed").is_file()
    environment = os.environ | {"MYPYPATH": str(package.parent)}
    said = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    assert 'Revealed type is "typing.Mapping[str, object]"' in said.replace("builtins.", "")
    assert 'Revealed type is "pathlib.Path"' in said
    assert [line.partition(": error: ")[2] for line in said.splitlines() if ": error: " in line] == [
        'Argument 1 to "load" has incompatible type "int"; expected "str | Path"  [arg-type]',
        'Module has no attribute "loud"  [attr-defined]',
    ]
