"""YAML of others: bounded in size, depth and aliases; whatever is wrong is one error of ours."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from ignota.data.yaml_files import MOST_DEPTH, YamlError, parse_yaml, read_yaml

BOMB = "\n".join(
    [
        "a0: &a0 [" + ",".join("x" * 10) + "]",
        *(f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 9)),
    ]
)
MERGES = "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40))])


def test_anchors_are_taken_where_they_stay_small() -> None:
    assert parse_yaml("a: &x {p: [1, 2]}\nb: {<<: *x, q: 2}\nc: *x\n") == {
        "a": {"p": [1, 2]},
        "b": {"p": [1, 2], "q": 2},
        "c": {"p": [1, 2]},
    }
    assert parse_yaml(b"\xef\xbb\xbfa: 1") == {"a": 1}
    assert parse_yaml("") is None


WRONG = {
    "bomb": BOMB,
    "merges": MERGES,
    "alias in itself": "&a [*a]",
    "alias in itself, deeper": "a: &a {b: [1, *a]}",
    "deep": "[" * 5000,
    "a little too deep": "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1),
    "long number": "a: " + "9" * 5000,
    "no number": '!!int "_"',
    "no date": "2001-99-99",
    "no truth": "!!bool x",
    "no time": "!!timestamp x",
    "code": '!!python/object/apply:os.system ["true"]',
    "list as key": "{[1]: 2}",
    "two documents": "a: 1\n---\nb: 2",
    "no UTF-8": b"a: \xff",
    "NUL": "a: \0",
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(case: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(YamlError) as refused:
        parse_yaml(WRONG[case])
    assert "\n" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_large_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: " + "x" * 97)
    assert read_yaml(path, 100) == {"a": "x" * 97}
    with pytest.raises(YamlError, match="larger than 99 bytes"):
        read_yaml(path, 99)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(YamlError, match="no plain file"):
        read_yaml(tmp_path / "pipe", 100)
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "b.yaml", 100)
