"""YAML from outside, as plain values: size, depth and the expansion of aliases are bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ignota.data.files import one_line

MOST_NODES, MOST_DEPTH = 100_000, 32

_ALSO = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What SafeLoader lets through for dates, numbers and tags that are none."""


class YamlError(Exception):
    """A file is no YAML that is taken: one line that says why."""


def read_yaml(path: Path, largest: int) -> Any:
    """The plain values in a file of at most `largest` bytes.

    Raises YamlError for whatever is no such YAML, also where aliases expand to more than `MOST_NODES` values, and
    OSError where the file cannot be read.
    """
    if path.exists() and not path.is_file():
        raise YamlError("it is no plain file")
    with path.open("rb") as stream:
        data = stream.read(largest + 1)
    if len(data) > largest:
        raise YamlError(f"it is larger than {largest:,} bytes")
    return parse_yaml(data)


def parse_yaml(data: bytes | str) -> Any:
    """The plain values that a text stands for; raises YamlError."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        return yaml.load(text, _Bounded)
    except (yaml.YAMLError, *_ALSO) as error:
        raise YamlError(f"it is no YAML: {one_line(' '.join(str(error).split()))[:160]}") from None


class _Bounded(yaml.SafeLoader):
    """Counts values as they are composed, an alias as all that it stands for, before any of them is built."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[int, int] = {}
        """Number of values in each node that is complete, by identity."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise yaml.YAMLError("an alias stands inside what it names")
            return node
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise yaml.YAMLError(f"it is nested deeper than {MOST_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = size = 1 + sum(self._sizes[id(inner)] for inner in _inner(node))
        if size > MOST_NODES:
            raise yaml.YAMLError(f"its aliases expand to more than {MOST_NODES:,} values")
        return node


def _inner(node: Any) -> list[Any]:
    """The nodes directly in a node."""
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
