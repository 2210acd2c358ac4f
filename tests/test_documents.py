"""What the documents say is there: links, files, functions, commands and options."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from experiments import render
from experiments.pages import architecture, compared, performance

import ignota
from ignota.cli import main
from ignota.cli.commands import find_command
from ignota.evaluation.few_shot_methods import HEAD_METHODS
from ignota.perception.branch import METRIC_METHODS
from ignota.scores.dml import METRIC_SCORES
from ignota.scores.fitted_scores import FITTED_SCORES
from ignota.scores.logit_scores import LOGIT_SCORES
from ignota.training.settings import presets
from ignota.world.labelling import METHODS

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "experiments" / "measured"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def anchors(document: Path) -> set[str]:
    """Headings as the places that links name."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, place = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), f"{document.name} links to {target}"
        assert not place or place in anchors(path), f"{document.name} links to {target}"


def calls(document: Path) -> list[str]:
    """The `ignota …` lines of shell blocks, continued lines joined, and those in the comments of presets."""
    text = document.read_text(encoding="utf-8")
    if document.suffix == ".yaml":
        return re.findall(r"^# (ignota .+)$", text, re.MULTILINE)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("ignota ")]


CALLS = [(path.name, line) for path in [*DOCUMENTS, *presets().values()] for line in calls(path)]


@pytest.mark.parametrize(("document", "call"), CALLS, ids=lambda text: text[:60])
def test_commands_and_their_options_exist(document: str, call: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, words = find_command(shlex.split(call, comments=True)[1:])
    assert main([*name.split(), "--help"]) == 0
    help_text = capsys.readouterr().out
    for word in words:
        if word.startswith("--"):
            assert f"{word.partition('=')[0]} " in help_text, f"{document}: {call}"
    if name == "run" and not words[0].endswith((".yaml", ".yml")):
        assert words[0] in presets(), f"{document}: {call}"


def test_there_are_commands_to_look_at() -> None:
    assert {"README.md", "presets.md", "camvid-11.yaml"} <= {name for name, _ in CALLS}


@pytest.mark.parametrize("page", [name for name in render.PAGES if (MEASURED / name).is_dir()] + ["architecture"])
def test_nothing_of_what_is_rendered_is_typed_by_hand(page: str) -> None:
    text = (ROOT / "docs" / render.PAGES[page]).read_text(encoding="utf-8")
    assert render.rendered(page, MEASURED) == text, f"run `python -m experiments.render {page}`"


def test_a_figure_without_a_place_is_refused() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="no marks for bars"):
        performance.written(page.replace("<!-- bars -->", ""), MEASURED / "performance")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="no section for scores"):
        architecture.written(page.replace("### scores\n", "### world\n"), MEASURED)


def test_the_reference_lists_every_public_name_and_each_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    names = [name for name in ignota.__all__ if not name.startswith("__")]
    assert sorted(re.findall(r"^::: ignota\.(\w+)$", page, re.MULTILINE)) == sorted(names)
    for public in (getattr(ignota, name) for name in names):
        assert public.__doc__
        members = vars(public).items() if isinstance(public, type) else ()
        functions = [(name, value) for name, value in members if callable(value) or isinstance(value, property)]
        assert [name for name, value in functions if not name.startswith("_") and not value.__doc__] == []


def test_every_document_is_in_the_navigation_of_the_site() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert {page for page in pages if not page.startswith("experiments/")} <= listed
    index = (ROOT / "docs" / "experiments" / "index.md").read_text(encoding="utf-8")
    assert {path.name for path in ROOT.glob("docs/experiments/*.md")} - {"index.md"} == set(
        re.findall(r"\(([\w-]+\.md)\)", index)
    )


def test_every_method_has_a_paragraph_with_a_citation() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    paragraphs = dict(re.findall(r"^### (\S+)\n(.+?)\n\n", page, re.MULTILINE | re.DOTALL))
    methods = {*LOGIT_SCORES, *FITTED_SCORES, "knn", "raml", "raml_paper", "raml_released", *METHODS, *HEAD_METHODS}
    methods |= {*METRIC_METHODS, *METRIC_SCORES}
    assert methods <= set(paragraphs)
    for name in methods:
        assert re.search(r"\b(19|20)\d\d\b|as above|After Dong et al", paragraphs[name]), name


def test_the_page_of_baselines_lists_the_best_first(tmp_path: Path) -> None:
    values = {
        name: dict.fromkeys(("aupr", "auroc", "fpr95"), value) for name, value in (("msp", 0.2), ("dml_frozen", 0.4))
    }
    scores = {name: {"pooled": one, "per_image": one} for name, one in values.items()}
    found = {"dataset": "road_anomaly_21", "images": 10, "scores": scores}
    for names in compared.SETS.values():
        for name in names:
            (tmp_path / f"{name}.json").write_text(json.dumps({**found, "dataset": name}))
    page = compared.written("# Rivals\n\nBy hand.\n\n## Old\n\nOld.\n", tmp_path)
    assert page.startswith("# Rivals\n\nBy hand.\n\n## camvid-8+3\n")
    assert page.count("ignota fit dml_frozen ") == 2 and page.count("--scores msp,max_logit,dml_frozen") == 3
    assert "--data $IGNOTA_DATA/road_anomaly_21_val \\\n  --world runs/camvid-11-more " in page
    first, second = (page.index(row) for row in ("| `dml_frozen` | 40.0 |", "| `msp` | 20.0 |"))
    assert first < second


@pytest.mark.parametrize("name", ["new_score", "new_dataset"])
def test_the_tutorial_shows_the_examples_that_are_run(name: str) -> None:
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert f"```python\n{text}```" in (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def test_every_equation_has_a_function_and_a_test() -> None:
    page = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+)[^|]*\|[^|]*\|([^|]*)\|([^|]*)\|$", page.partition("## Decisions")[0], re.MULTILINE)
    assert {int(number) for number, _, _ in rows} == set(range(1, 17))
    for _, functions, tests in rows:
        for file, names in re.findall(r"`([\w/]+)\.py`: ((?:`\w+`(?:, )?)+)", functions):
            module = importlib.import_module("ignota." + file.replace("/", "."))
            for name in re.findall(r"\w+", names):
                assert hasattr(module, name), f"{file}: {name}"
        for test in re.findall(r"`([\w/]+\.py)`", tests):
            assert (ROOT / "tests" / test).is_file(), test


def extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


def test_one_version_everywhere() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None and newest[1] == ignota.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == ignota.__version__


def test_the_page_on_installing_names_every_extra() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = {
        name for cell in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }
    assert named == extras() - {"dev"}


def test_the_image_is_made_of_files_extras_and_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    sent = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    copied = [name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for name in line.split()]
    assert sorted(copied) == sorted(sent) and all((ROOT / name).exists() for name in copied)
    named = re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)[0].split(",")
    assert set(named) <= extras() and "serve" in named
    shell, option, line = json.loads(re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)[-1])
    assert (shell, option) == ("sh", "-c")
    for call in re.findall(r"ignota (\w[^;]*)", line):
        command, *words = call.split()
        assert main([command, "--help"]) == 0
        help_text = capsys.readouterr().out
        assert all(f"{word} " in help_text for word in words if word.startswith("--")), call
    assert " serve " in line and re.findall(r"^EXPOSE (\d+)$", text, re.MULTILINE) == ["8642"]


@pytest.mark.parametrize(
    "thing",
    (
        "an anomaly score", "a label format", "a region proposer", "a route of the HTTP server", "a backend",
        'a rule for the threshold of "unknown"', "a family of frozen encoders", "a table of the paper", "a data set",
        "a command",
    ),
)  # fmt: skip
def test_the_architecture_page_names_one_place_for_each_addition(thing: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.findall(rf"^\| {re.escape(thing)} \| `([^`]+)` \|$", page, re.MULTILINE)
    assert len(found) == 1
    assert (ROOT / found[0]).exists()
    assert (ROOT / found[0]).is_dir() == found[0].endswith("/")


def test_the_prose_check_finds_words_and_long_sentences_and_leaves_code_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("prose", ROOT / ".ci" / "prose.py")
    assert spec is not None and spec.loader is not None
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    page, module = tmp_path / "page.md", tmp_path / "module.py"
    page.write_text(f"`stolen`\n\n```\na lesson\n```\n\n| {'word ' * 41} |\n\n{'word ' * 40}end.\n\nA strange `x`.\n")
    module.write_text('"""A witness."""\n\nlesson = "stolen"  # anew\nf"no file {lesson}: mend it"\n')
    assert check.main([str(tmp_path)]) == 1
    found = [line.partition(": ")[0].rpartition("/")[2] for line in capsys.readouterr().out.splitlines()]
    assert sorted(found) == ["module.py:1", "module.py:3", "module.py:4", "page.md:11", "page.md:9"]
    page.write_text(f"{'word ' * 39}end.\n")
    assert check.main([str(page)]) == 0
