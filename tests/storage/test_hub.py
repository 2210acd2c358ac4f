"""Worlds go to a hub and come back whole: a server on the loopback speaks the few endpoints that this takes."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from ignota.cli import main
from ignota.storage import bundle
from ignota.storage.hub import FILES, pull, push
from ignota.structures import InputError

REPO = "me/my-world"


class Hub:
    """Repositories in memory, and what was asked."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []
        self.address = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status, and JSON or the bytes of a file."""
        self.asked.append(f"{method} {path}")
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or 'me'}/{wanted['name'].rpartition('/')[2]}"
            self.private.setdefault(name, wanted.get("private", wanted.get("visibility") == "private"))
            fresh = self.repositories.setdefault(name, {".gitattributes": b""}) == {".gitattributes": b""}
            return 200 if fresh else 409, {"url": f"{self.address}/{name}", "name": name}
        name = next((name for name in self.repositories if f"/{name}/" in f"{path}/"), None)
        if name is None:
            return 404, {"error": "Repository not found"}
        files = self.repositories[name]
        if "/preupload/" in path:
            modes = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for one in json.loads(body)["files"]
            ]
            return 200, {"files": modes}
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            return 200, {
                "commitUrl": f"{self.address}/{name}/commit/{'1' * 40}",
                "commitOid": "1" * 40,
                "success": True,
            }
        if "/resolve/" in path:
            return 200, files[path.rpartition("/")[2]]
        siblings = [{"rfilename": key, "size": len(value)} for key, value in files.items()]
        return 200, {"id": name, "sha": "1" * 40, "siblings": siblings}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub")
    held = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, found = held.answer(self.command, self.path.partition("?")[0], body)
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.send_header("etag", f'"{len(data)}"')
            self.send_header("x-repo-commit", "1" * 40)
            if status == 404:
                self.send_header("x-error-code", "RepoNotFound")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_POST = do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    held.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", held.address)
    template = held.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield held
    server.shutdown()
    server.server_close()


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Path:
    """A world that was taught something."""
    path = Path(shutil.copytree(trained, tmp_path / "mine"))
    taught = bundle.load(path, writable=True)
    image = np.full((48, 96, 3), 90, np.uint8)
    image[10:30, 20:60] = (200, 40, 40)
    mask = np.zeros((48, 96), bool)
    mask[10:30, 20:60] = True
    taught.learn("moose", (image, mask), force=True)
    taught.store.close()
    return path


def test_a_world_comes_back_as_it_was(
    hub: Hub, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(world), REPO]) == 0
    assert hub.private[REPO] and set(hub.repositories[REPO]) <= {*FILES, ".gitattributes"}
    assert main(["pull", REPO, "--out", str(tmp_path / "back")]) == 0
    assert "weights.safetensors, " in capsys.readouterr().err
    before, after = (json.loads((path / "world.json").read_text()) for path in (world, tmp_path / "back"))
    assert after == before
    for name in before["files"]:
        assert (tmp_path / "back" / name).read_bytes() == (world / name).read_bytes()
    back = bundle.load(tmp_path / "back")
    assert [taught.name for taught in back.snapshot.taught] == ["moose"]
    back.store.close()


def test_a_push_replaces_the_world_before_and_makes_public_what_is_to_be(hub: Hub, world: Path) -> None:
    hub.repositories[REPO] = {"branch-dmlnet.safetensors": b"old", "README.md": b"# Mine", "world.json": b"{}"}
    push(world, REPO)
    assert set(hub.repositories[REPO]) == {"README.md"} | FILES - {"branch-dmlnet.safetensors"}
    push(world, "me/open", public=True)
    assert hub.private["me/open"] is False


def changed(files: dict[str, bytes], name: str, old: bytes, new: bytes) -> None:
    assert old in files[name]
    files[name] = files[name].replace(old, new, 1)


def of_schema_1(files: dict[str, bytes]) -> None:
    files["world.json"] = json.dumps({"schema": 1}).encode()


SPOILT: dict[str, tuple[Callable[[dict[str, bytes]], object], str, str | None]] = {
    "a pickle": (lambda files: files.update({"model.pkl": b"x"}), "'model.pkl', which belongs to no world", "resolve"),
    "code": (lambda files: files.update({"a/ignota.py": b"x"}), "'a/ignota.py', which belongs", "resolve"),
    "no document": (lambda files: files.pop("world.json"), "no world.json", "resolve"),
    "no weights": (lambda files: files.pop("weights.safetensors"), "no weights.safetensors", None),
    "edited": (
        lambda files: changed(files, "world.json", b'"size": 48', b'"size": 64'),
        "was changed after",
        "weights",
    ),
    "large": (lambda files: changed(files, "weights.safetensors", b"}", b"}" * 9), "bytes, at most", "/weights"),
    "bits": (lambda files: changed(files, "weights.safetensors", b"known", b"knewn"), "SHA-256", None),
    "a row": (lambda files: changed(files, "exemplars.sqlite", b"moose", b"goose"), "damaged", None),
    "schema 1": (of_schema_1, "is of schema 1, without seals", "weights"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_is_no_sealed_world_is_refused(case: str, hub: Hub, world: Path, tmp_path: Path) -> None:
    push(world, REPO)
    spoil, line, unasked = SPOILT[case]
    spoil(hub.repositories[REPO])
    hub.asked.clear()
    with pytest.raises(InputError, match=line) as caught:
        pull(REPO, tmp_path / "back")
    assert "/tmp" not in str(caught.value) and not (tmp_path / "back").exists()
    assert unasked is None or not any(unasked in asked for asked in hub.asked)


def test_a_world_with_a_program_is_not_pushed(
    hub: Hub, world: Path, reseal: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ignota.storage.hub.FILES", FILES - {"weights.safetensors"})
    with pytest.raises(InputError, match=r"holds 'weights.safetensors': worlds on a hub are"):
        push(world, REPO)
    assert not hub.asked


def test_a_repository_of_other_things_is_left_alone(hub: Hub, world: Path) -> None:
    hub.repositories[REPO] = {"model.bin": b"x"}
    with pytest.raises(InputError, match=r"'model\.bin', which belongs to no world"):
        push(world, REPO)
    assert hub.repositories[REPO] == {"model.bin": b"x"}


def test_what_goes_wrong_with_the_hub_is_one_line(
    hub: Hub, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["pull", "me/nothing"], ["pull", "no/such/name"]):
        assert main([*words, "--out", str(tmp_path / "back")]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "refuses" in line, line
    assert main(["pull", REPO, "--out", str(world)]) == 2
    assert "exists already" in capsys.readouterr().err
