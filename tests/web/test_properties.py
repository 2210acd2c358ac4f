"""The server keeps to what its OpenAPI document says, whatever is sent (schemathesis)."""

from __future__ import annotations

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from ignota.web.app import Shown, create_app
from ignota.web.folder import Folder
from ignota.world.model import OpenWorldModel

BEARER = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("examples", [12, pytest.param(40, marks=pytest.mark.long)])
def test_answers_are_as_described(
    world: OpenWorldModel, files: list[bytes], tmp_path: Path, mode: GenerationMode, examples: int
) -> None:
    for number, data in enumerate(files):
        (tmp_path / f"{number}.png").write_bytes(data)
    shown = Shown(Folder(tmp_path.resolve(), [f"{number}.png" for number in range(len(files))]))
    app = create_app(world, "tiny", token="secret", shown=shown)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 24
    tried = 0
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue  # it takes nothing that could be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def holds(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            # a name of the right form need not be the name of a class, and bytes need not be a picture
            case.call_and_validate(headers=BEARER, excluded_checks=[positive_data_acceptance])

        holds()
    assert tried > 5 * examples
