"""names.csv: what it may say of which groups, and how the regions of a class follow from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ignota.discovery.groups import Group
from ignota.discovery.naming import NamedRows, read_names, unnamed
from ignota.structures import InputError


def group(key: str, rows: tuple[int, ...], exemplars: int = 2, parts: tuple[Group, ...] = ()) -> Group:
    return Group(key, rows, 1, 0.5, 0.5, 1.0, (("road", 0.4),), exemplars, parts)


GROUPS = (
    group("1", (3, 1, 2), parts=(group("1a", (3,)), group("1b", (1, 2)))),
    group("2", (5, 4), 4),
    group("3", (9,)),
)


def read(tmp_path: Path, text: str | bytes, warnings: list[str] | None = None) -> tuple[NamedRows, ...]:
    path = tmp_path / "names.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_names(path, GROUPS, "abc", ([] if warnings is None else warnings).append)


def test_a_file_that_does_not_name_its_run_is_taken_with_a_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert read(tmp_path, "group,name\n1,x\n", warnings)[0].name == "x"
    assert len(warnings) == 1 and "does not tell which run" in warnings[0]
    read(tmp_path, "group,name,of\n1,x,abc\n", warnings)
    read(tmp_path, "group,name\n", warnings)
    assert len(warnings) == 1


def test_groups_of_one_name_are_merged_by_turns(tmp_path: Path) -> None:
    (cow,) = read(tmp_path, "group,name,without,of\n1,cow,,abc\n2, cow ,4,abc\n3,,,abc\n")
    assert cow == NamedRows("cow", ("1", "2"), (3, 5, 1, 2), 4)


def test_two_columns_are_enough_and_a_mark_of_byte_order_is_no_fault(tmp_path: Path) -> None:
    found = read(tmp_path, '\ufeffgroup,name\r\n3,moose\r\n1a,"a, b"\r\n')
    assert [(each.name, each.rows) for each in found] == [("moose", (9,)), ("a, b", (3,))]


def test_a_part_and_its_sister_may_bear_two_names(tmp_path: Path) -> None:
    assert [each.name for each in read(tmp_path, "group,name\n1a,x\n1b,y\n")] == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no columns"),
        ("group;name\n1;x\n", "no columns"),
        ("group,name\n7,x\n", "line 2: there is no group '7'"),
        ("group,name\n1,x\n1,y\n", "line 3"),
        ("group,name\n1,x\n1a,y\n", "1 is 'x' already"),
        ("group,name\n1b,x\n1,y\n", "1b is 'x' already"),
        ("group,name,without\n1,x,three\n", "'without' lists numbers"),
        ("group,name,without\n3,x,9\n", "every region"),
        ("group,name,without,of\n1,x,,zzz\n", "another run"),
        ("group,name,without,of\n1,x,,abc\n2,y,,\n", "line 3: it names groups of another run"),
        ("group,name\n1,x,y,z\n", "more or fewer cells"),
        ("group,name\n1\n", "more or fewer cells"),
        ('group,name\n1,"x\n', "cannot be read"),
        (b"group,name\n1,\xff\xfe\n", "cannot be read"),
        (b"group,name\n1,x\x00y\n", ""),
    ],
)
def test_what_it_must_not_say(tmp_path: Path, text: str | bytes, said: str) -> None:
    if not said:  # a name that the world will refuse, not the file
        assert read(tmp_path, text)[0].name == "x\x00y"
        return
    with pytest.raises(InputError, match=said) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_names(tmp_path / "none.csv", GROUPS, "abc")


def test_unnamed_groups_get_numbers_that_are_free(tmp_path: Path) -> None:
    named = read(tmp_path, "group,name\n1b,x\n")
    found = unnamed(GROUPS, named, 5, ["road", "unknown-1"])
    assert [(each.name, each.keys) for each in found] == [("unknown-2", ("2",)), ("unknown-3", ("3",))]
    assert unnamed(GROUPS, (), 1, [])[0].keys == ("1",)
    assert unnamed(GROUPS, named, 0, []) == ()
