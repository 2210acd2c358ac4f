"""Plugins: what a file or an installed package brings, and what is refused in one line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ignota
from ignota import plugins
from ignota.cli import main
from ignota.plugins import DATASETS, FITTED_SCORES, load_plugin, load_plugins
from ignota.scores.fitted_scores import code_of
from ignota.storage import bundle
from ignota.storage.seals import world_fingerprint
from ignota.structures import InputError
from ignota.training.settings import configuration, read_preset

pytestmark = pytest.mark.usefixtures("catalogues")

READY = """
from ignota.plugins import FITTED_SCORES, AnomalyScore

class Narrow(AnomalyScore):
    citation = "yours, 2026"

    def score(self, encoding, state):
        return -encoding.logits.amax(0)

FITTED_SCORES["narrow"] = lambda coreset, neighbours: Narrow()
"""
FITTED = """
from ignota.plugins import FITTED_SCORES, AnomalyScore, stacked

class Shifted(AnomalyScore):
    citation = "yours, 2026"

    def observe(self, encoding, label, rng):
        return {"logits": encoding.logits.amax(0).flatten()[:5].cpu()}

    def state(self, observations):
        return {"mean": stacked(observations, "logits").mean()}

    def score(self, encoding, state):
        return state["mean"] - encoding.logits.amax(0)

FITTED_SCORES["shifted"] = lambda coreset, neighbours: Shifted()
"""


def run(*words: object) -> int:
    return main([str(word) for word in words])


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_score_without_training_is_read_in_any_world(trained: Path, photo: Path, tmp_path: Path) -> None:
    own = ("--plugin", written(tmp_path, READY), "--quiet", "--world", trained, "--out", tmp_path / "maps")
    assert run("maps", photo, "--scores", "narrow,max_logit,region:narrow", *own) == 0
    one, other = (np.load(tmp_path / "maps" / name / "photo.npy") for name in ("narrow", "max_logit"))
    np.testing.assert_array_equal(one, other)
    world = bundle.load(trained)
    assert "narrow" in world.score_names() and "narrow" not in world.known.recipe.extra


def test_other_code_makes_other_maps(trained: Path, photo: Path, tmp_path: Path) -> None:
    file, maps = written(tmp_path, READY), tmp_path / "maps"
    own = ("--scores", "narrow", "--plugin", file, "--quiet", "--world", trained, "--out", maps)
    assert run("maps", photo, *own) == 0
    before = np.load(maps / "narrow" / "photo.npy")
    file.write_text(READY.replace("-encoding", "2 * -encoding"))
    assert run("maps", photo, *own) == 0
    np.testing.assert_allclose(np.load(maps / "narrow" / "photo.npy"), 2 * before, rtol=1e-6)


def test_a_fitted_score_travels_in_the_world(
    trained: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, new = written(tmp_path, FITTED), tmp_path / "new"
    maps = ("maps", photo, "--out", tmp_path / "maps", "--quiet", "--plugin", file, "--world")
    assert run(*maps, trained, "--scores", "shifted") == 2
    assert "no score 'shifted'" in capsys.readouterr().err
    assert run("fit", "shifted", "--world", trained, "--out", new, "--plugin", file, "--quiet") == 0
    assert run(*maps, new, "--scores", "shifted,fuse:shifted+msp") == 0
    world = ignota.load(new, device="cpu")
    state = world.known.states["shifted"]
    assert set(state) == {"mean", "level"}
    found = world.scores(world.encode(photo), ["shifted", "max_logit"])
    assert found["shifted"].allclose(found["max_logit"] + state["mean"], atol=1e-5)


@pytest.mark.parametrize("command", ["maps", "segment", "classes", "evaluate"])
def test_a_world_that_lacks_its_plugin_says_so(
    trained: Path, photo: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, new = written(tmp_path, FITTED), tmp_path / "new"
    assert run("fit", "shifted", "--world", trained, "--out", new, "--plugin", file, "--quiet") == 0
    del FITTED_SCORES["shifted"]
    words = {
        "maps": ("maps", photo, "--scores", "msp", "--out", tmp_path / "out"),
        "segment": ("segment", photo, "--out", tmp_path / "out"),
        "classes": ("classes",),
        "evaluate": ("evaluate", "anomaly", "synthetic"),
    }[command]
    capsys.readouterr()
    assert run(*words, "--world", new, "--quiet") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "holds the score 'shifted', which no package here brings" in error
    assert "--plugin FILE.py" in error
    assert not (tmp_path / "out").exists()


def test_an_experiment_may_fit_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("fit: {scores: [vim, shifted]}")
    with pytest.raises(InputError, match="no score 'shifted' can be fitted"):
        configuration(read_preset(str(file)))
    load_plugin(written(tmp_path, FITTED))
    assert configuration(read_preset(str(file))).fit.scores == ("vim", "shifted")


def test_workers_of_ray_load_it(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from ignota.lake.on_ray import Pool, Segmenter

    file, new = written(tmp_path, FITTED), tmp_path / "new"
    assert run("fit", "shifted", "--world", trained, "--out", new, "--plugin", file, "--quiet") == 0
    del FITTED_SCORES["shifted"]
    state = world_fingerprint(bundle.load(trained))
    with pytest.raises(InputError, match="no package here brings"):
        Segmenter(Pool(str(new), state, 1), None)
    with pytest.raises(InputError, match="is another world on"):  # it was opened, then compared
        Segmenter(Pool(str(new), state, 1, plugins=(file,)), None)


def test_a_document_loads_no_file(
    trained: Path, tmp_path: Path, reseal: Callable[[Path, Callable[[dict], object]], None]
) -> None:
    file = written(tmp_path, READY + "\nraise SystemExit(9)\n", "narrow.py")
    world = Path(shutil.copytree(trained, tmp_path / "world"))
    for name in ("narrow", "mine.py", str(file)[-60:]):
        reseal(world, lambda d, name=name: d["recipes"]["light"].update(extra=[name]))
        with pytest.raises(InputError, match="no package here brings"):
            bundle.load(world)


def test_a_file_that_is_loaded_again_replaces_its_entries(tmp_path: Path) -> None:
    file = written(tmp_path, READY)
    assert load_plugin(file) == ("narrow",)
    first, code = FITTED_SCORES["narrow"], code_of("narrow")
    assert load_plugin(file) == ("narrow",)
    assert FITTED_SCORES["narrow"] is not first and code_of("narrow") == code != ""
    file.write_text(READY + "# changed\n")
    load_plugin(file)
    assert code_of("narrow") != code
    assert code_of("vim") == code_of("msp") == ""
    with pytest.raises(InputError, match="a score called 'narrow', which there is already"):
        load_plugin(written(tmp_path, READY, "other.py"))


def test_modules_beside_a_plugin_can_be_imported(tmp_path: Path) -> None:
    written(tmp_path, READY, "beside_the_plugin_7.py")
    assert load_plugin(written(tmp_path, "import beside_the_plugin_7")) == ("narrow",)


def test_the_public_door_loads_plugins(tmp_path: Path) -> None:
    assert ignota.load_plugin(str(written(tmp_path, READY))) == ("narrow",)


ALL = "from ignota.plugins import *\n"
REFUSED = {
    "another suffix": ("", "mine.txt", "a plugin is a Python file"),
    "nothing": ("x = 1", "mine.py", "brings nothing"),
    "syntax": ("x = 1\ndef f(:\n", "mine.py", "SyntaxError, line 2"),
    "a fault": ("x = 1\ny = x / 0\n", "mine.py", "ZeroDivisionError, line 2: division by zero"),
    "many lines": ("raise ValueError('a\\nb')", "mine.py", "ValueError, line 1: a b"),
    "its end": ("import sys; sys.exit('bye')", "mine.py", "SystemExit, line 1: bye"),
    "no text": ("x = '\0'", "mine.py", "cannot be loaded"),
    "a name of the package": (READY.replace("narrow", "vim"), "mine.py", "'vim', which there is already"),
    "a name of a logit score": (READY.replace("narrow", "msp"), "mine.py", "'msp', which there is already"),
    "raml": (READY.replace("narrow", "raml"), "mine.py", "'raml', which there is already"),
    "a name with a dot": (READY.replace('"narrow"', '"a.b"'), "mine.py", "of small letters"),
    "a name with a colon": (READY.replace('"narrow"', '"region:x"'), "mine.py", "of small letters"),
    "no name": (READY.replace('"narrow"', "7"), "mine.py", "of small letters"),
    "no score": (f"{ALL}FITTED_SCORES['a'] = 7", "mine.py", "is a int: an entry makes"),
    "no layout": (f"{ALL}DATASETS['a'] = 7", "mine.py", "is a int, no Layout"),
    "synthetic": (f"{ALL}DATASETS['synthetic'] = DATASETS['camvid']", "mine.py", "'synthetic', which there is already"),
    "half": (f"{READY}{ALL}DATASETS['a'] = 7", "mine.py", "no Layout"),
    "less than before": (f"{READY}{ALL}del DATASETS['camvid']", "mine.py", "takes .* 'camvid' away"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plugin_is_refused_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    text, name, said = REFUSED[case]
    before = dict(FITTED_SCORES), dict(DATASETS)
    with pytest.raises(InputError, match=said) as error:
        load_plugin(written(tmp_path, text, name))
    assert "\n" not in str(error.value)
    assert before == (FITTED_SCORES, DATASETS) and not plugins._SOURCES


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", "camvid", tmp_path, "--plugin", tmp_path / "gone.py") == 2
    assert "gone.py (No such file or directory)" in capsys.readouterr().err


def test_a_score_that_cannot_be_made_is_one_line(
    trained: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("maps", photo, "--scores", "narrow", "--world", trained, "--out", tmp_path / "maps", "--quiet", "--plugin")
    for make, said in (
        ("lambda: Narrow()", "the score 'narrow' cannot be made (TypeError"),
        ("lambda coreset, neighbours: 7", "the score 'narrow' is made a int"),
    ):
        text = READY.replace("lambda coreset, neighbours: Narrow()", make)
        assert run(*call, written(tmp_path, text)) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert run(*call, written(tmp_path, READY.replace(".amax(0)", ".flatten()"))) == 2
    assert "it must give one number for each cell" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_the_page_s_detectors_are_a_plugin(trained: Path, photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("pytorch_ood")
    page = (Path(__file__).parents[1] / "docs" / "researchers.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    own, new = ("--plugin", written(tmp_path, block), "--quiet"), tmp_path / "new"
    assert run("fit", "their_mahalanobis", "--world", trained, "--out", new, *own) == 0
    names = "their_energy,energy,their_mahalanobis,region:their_mahalanobis"
    assert run("maps", photo, "--scores", names, "--world", new, "--out", tmp_path / "maps", *own) == 0
    found = {path.name: np.load(path / "photo.npy") for path in (tmp_path / "maps").iterdir() if path.is_dir()}
    np.testing.assert_allclose(found["their_energy"], found["energy"], rtol=1e-4, atol=1e-5)
    assert found["their_mahalanobis"].std() > 0


PACKAGE = (
    READY.replace('FITTED_SCORES["narrow"] = lambda coreset, neighbours: Narrow()', "made = Narrow()")
    + """
from ignota.plugins import DATASETS
LAYOUT = DATASETS["camvid"]

def make(coreset, neighbours):
    return Narrow()
"""
)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs a package with entry points."""

    def install(points: str) -> None:
        site = tmp_path / "site"
        (site / "own_plugin_9-1.5.dist-info").mkdir(parents=True)
        written(site, PACKAGE, "own_plugin_9.py")
        (site / "own_plugin_9-1.5.dist-info" / "METADATA").write_text("Name: own-plugin-9\nVersion: 1.5\n")
        (site / "own_plugin_9-1.5.dist-info" / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(str(site))

    return install


@pytest.mark.parametrize("entry", ["Narrow", "made", "make"])
def test_entry_points_of_installed_packages(
    installed: Callable[[str], None], trained: Path, photo: Path, tmp_path: Path, entry: str
) -> None:
    installed(f"[ignota.scores]\nslim = own_plugin_9:{entry}\n[ignota.datasets]\nmine = own_plugin_9:LAYOUT\n")
    call = ("maps", photo, "--scores", "slim", "--world", trained, "--out", tmp_path / "maps", "--quiet")
    assert run(*call) == 0
    assert (tmp_path / "maps" / "slim" / "photo.npy").is_file()
    assert code_of("slim") == "own-plugin-9 1.5"
    assert DATASETS["mine"] is DATASETS["camvid"]
    assert "own-plugin-9 1.5" in json.loads((tmp_path / "maps" / "photo.json").read_text())["made_by"]["maps"]["slim"]
    assert load_plugins([]) == []


def test_a_package_that_fails_is_told_and_left_out(
    installed: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed("[ignota.scores]\nslim = own_plugin_9:Gone\nvim = own_plugin_9:Narrow\n")
    assert run("data", "check", "camvit", tmp_path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "own_plugin_9:Gone cannot be loaded (AttributeError" in lines[0] and lines[0].endswith("it is left out")
    assert "'vim', which there is already" in lines[1]
    assert "did you mean 'camvid'" in lines[2]
