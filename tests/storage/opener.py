"""Opens worlds in a process of its own, with everything watched that could reach the network or run code.

Reads cases from standard input, a JSON list of {"world": folder, "options": […], "document": world.json or null}, and
prints {"code", "error", "events", "ran"} of `ignota classes` for each; ran: whether code made the folder $IGNOTA_SIGN.
With "--no-sockets" a socket cannot even be made.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class", "urllib.")
events: list[str] = []
strict = "--no-sockets" in sys.argv


def watch(event: str, details: tuple[Any, ...]) -> None:
    if event.startswith(WATCHED):
        events.append(f"{event} {details}"[:200])
        if strict and event.startswith("socket."):
            raise OSError("there is no network here")


def resealed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its right digest, as somebody would seal it who means harm."""
    from ignota.storage.seals import canonical

    return document | {"digest": hashlib.sha256(canonical(document)).hexdigest()}


def opened(case: dict[str, Any]) -> dict[str, Any]:
    from ignota.cli import main

    if case["document"] is not None:
        (Path(case["world"]) / "world.json").write_text(json.dumps(resealed(case["document"])))
    events.clear()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as error:
        code = main(["classes", "--world", case["world"], *case["options"]])
    sign = Path(os.environ["IGNOTA_SIGN"])
    ran = sign.exists()
    if ran:
        sign.rmdir()
    return {"code": code, "error": error.getvalue(), "events": list(events), "ran": ran}


if __name__ == "__main__":
    if strict:
        sys.addaudithook(watch)
    cases = json.load(sys.stdin)
    for library in ("segmentation_models_pytorch", "timm", "transformers"):
        import_module(library)  # what they do when they are imported is not the world's doing
    if not strict:
        sys.addaudithook(watch)
    answers = [opened(case) for case in cases]
    sys.stdout.write(json.dumps(answers))
