"""The server under load and at its end: queue, limits, token, graceful stop, kill -9."""

from __future__ import annotations

import http.client
import json
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ignota.storage import bundle
from ignota.web.app import create_app
from ignota.web.limits import Limits
from ignota.web.serving import Address, network_address, shown_hosts
from ignota.web.session import Session
from ignota.world.model import OpenWorldModel

if TYPE_CHECKING:
    from tests.web.conftest import Served, Thing


def client(world: OpenWorldModel, base: str = "http://localhost", **options: Any) -> TestClient:
    return TestClient(create_app(world, "tiny", **options), base_url=base, raise_server_exceptions=False)


def asked(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_full_queue_answers_503_with_retry_after(
    world: OpenWorldModel, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    going, entered = threading.Event(), threading.Event()
    encode = world.encode

    def slow(image: Any) -> Any:
        entered.set()
        assert going.wait(30)
        return encode(image)

    monkeypatch.setattr(world, "encode", slow)
    with client(world, limits=Limits(queue=1)) as opened:
        answers: list[int] = []
        first = threading.Thread(
            target=lambda: answers.append(opened.post("/api/segment", content=files[0]).status_code)
        )
        first.start()
        assert entered.wait(30)
        refused = opened.post("/api/segment", content=files[1])
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert opened.get("/api/health").json()["waiting"] == 1
        going.set()
        first.join()
        assert answers == [200]
        assert opened.post("/api/segment", content=files[1]).status_code == 200


def test_what_takes_too_long_is_given_up_and_the_queue_goes_on(
    world: OpenWorldModel, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    going, encode = threading.Event(), world.encode
    monkeypatch.setattr(world, "encode", lambda image: (going.wait(30), encode(image))[1])
    with client(world, limits=Limits(seconds=2)) as opened:
        answer = opened.post("/api/segment", content=files[0])
        assert answer.status_code == 503 and "retry-after" in answer.headers
        going.set()
        answers = (opened.post("/api/segment", content=files[0]).status_code for _ in range(20))
        assert 200 in answers
        assert opened.get("/api/health").json()["waiting"] == 0


def failing(error: Exception, world: OpenWorldModel | None = None) -> Any:
    """A job that fails; in a world, after something has changed that."""

    def fail(*_: Any) -> Any:
        if world is not None:
            state = world.store.state()
            world.store.state = lambda: state + 1  # type: ignore[method-assign]
        raise error

    return fail


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("disk I/O error"), OSError(28, "No space left on device"), MemoryError()]
)
def test_a_store_or_disk_that_fails_is_no_fault_of_the_program(
    world: OpenWorldModel, files: list[bytes], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with client(world) as opened:
        monkeypatch.setattr(world, "scene", failing(error))
        answer = opened.post("/api/segment", content=files[0])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_world_that_changes_under_a_request_asks_to_come_back_but_a_fault_stays_one(
    world: OpenWorldModel, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(world) as opened:
        monkeypatch.setattr(world, "scene", failing(IndexError("tuple index out of range"), world))
        answer = opened.post("/api/segment", content=files[0])
        assert answer.status_code == 503 and "changed" in answer.json()["error"]
        monkeypatch.setattr(world, "scene", failing(IndexError("tuple index out of range")))
        assert opened.post("/api/segment", content=files[0]).status_code == 500


def test_a_key_counts_once_and_patches_that_do_not_fit_are_left_for_the_next_answer(
    world: OpenWorldModel, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, asked_for = Session.patch, list[str]()
    monkeypatch.setattr(Session, "patch", lambda self, image: asked_for.append(image.key) or patch(self, image))
    with client(world) as opened:
        keys = [opened.post("/api/segment", content=data).json()["image"] for data in files]
        asked_for.clear()
        told = opened.post("/api/relabel", json={"images": keys[:1] * 1000}).json()
        assert asked_for == keys[:1] and list(told["patches"]) == keys[:1] and told["left"] == []
        monkeypatch.setattr(Limits, "answer", 0)
        left, found = keys, {}
        while left:
            told = opened.post("/api/relabel", json={"images": left}).json()
            assert len(told["patches"]) == 1
            found |= told["patches"]
            left = told["left"]
        assert list(found) == keys


def test_features_and_images_go_where_the_process_takes_too_much(
    world: OpenWorldModel, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [2000]
    monkeypatch.setattr("ignota.web.session.resident_memory", lambda: taken[0])
    monkeypatch.setattr("ignota.web.session.return_freed_memory", lambda: taken.__setitem__(0, taken[0] - 300))
    with client(world, limits=Limits(process=2000)) as opened:
        for data in files:
            opened.post("/api/segment", content=data)
        assert opened.get("/api/health").json()["images"] == 3
        taken[0] = 3500  # once for what was freed, three times for features, then images
        opened.post("/api/relabel", json={"images": []})
        assert opened.get("/api/health").json()["images"] == 2
        taken[0] = 10**6
        opened.post("/api/relabel", json={"images": []})
        assert opened.get("/api/health").json()["images"] == 1


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\x07", "a\u202eb", "a\nb", "\x9bb"])
def test_control_characters_do_not_enter_the_store(world: OpenWorldModel, files: list[bytes], name: str) -> None:
    with client(world) as opened:
        key = opened.post("/api/segment", params={"name": f"{name}.png"}, content=files[0]).json()["image"]
        form: dict[str, Any] = {"name": "moose", "examples": [{"image": key, "box": [10, 12, 50, 44]}], "force": True}
        for wrong in ({"author": name}, {"name": name}):
            answer = opened.post("/api/learn", json=form | wrong)
            assert answer.status_code == 400 and "printable" in answer.json()["error"]
            assert answer.json()["error"].isprintable()
        assert world.store.history() == ()
        assert opened.post("/api/learn", json=form | {"author": "Ana"}).status_code == 200
        for wrong in ({"author": name}, {"new": name}):
            assert opened.post("/api/rename", json={"name": "moose", "new": "elk"} | wrong).status_code == 400
        assert [card.source.isprintable() for card in world.store.cards()] == [True]


def test_what_is_too_large_is_refused(world: OpenWorldModel, files: list[bytes]) -> None:
    with client(world, limits=Limits(body=len(files[0]) - 1)) as opened:
        assert opened.post("/api/segment", content=files[0]).status_code == 413
        assert opened.post("/api/segment", content=iter([files[0][:100], files[0][100:]])).status_code == 413


def test_an_image_of_too_many_pixels_is_refused(world: OpenWorldModel, files: list[bytes]) -> None:
    with client(world, limits=Limits(pixels=48 * 96 - 1)) as opened:
        assert "pixels" in opened.post("/api/segment", content=files[0]).json()["error"]


def test_the_oldest_image_is_closed_where_there_are_too_many(world: OpenWorldModel, files: list[bytes]) -> None:
    with client(world, limits=Limits(images=2)) as opened:
        keys = [opened.post("/api/segment", content=data).json()["image"] for data in files]
        states = [opened.get(f"/api/images/{key}/layers").status_code for key in keys]
        assert states == [404, 200, 200]


def test_dropped_features_are_computed_again(
    world: OpenWorldModel, files: list[bytes], photos: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, count = world.encode, [0]
    encoding = encode(photos[0])
    features = sum(tensor.nbytes for tensor in (encoding.logits, *encoding.features.values()))
    tables = max(world.tables(encode(photo)).nbytes for photo in photos)
    kept = max(map(len, files)) + encoding.image.nbytes + tables + world.channel_bits(encoding).nbytes

    def counted(image: Any) -> Any:
        count[0] += 1
        return encode(image)

    monkeypatch.setattr(world, "encode", counted)
    with client(world, limits=Limits(memory=2 * kept + features)) as opened:
        keys = [opened.post("/api/segment", content=data).json()["image"] for data in files[:2]]
        assert count == [2]
        told = opened.post("/api/relabel", json={"images": keys}).json()
        assert set(told["patches"]) == set(keys) and count == [2]  # labelling again needs no features
        assert opened.post("/api/select", json={"image": keys[0], "box": [4, 4, 40, 40]}).status_code == 200
        assert count == [3]


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": "secret2"}])
def test_off_loopback_nothing_is_told_without_the_token(world: OpenWorldModel, header: dict[str, str]) -> None:
    with client(world, "http://192.0.2.1", token="secret") as opened:
        answer = opened.get("/api/classes", headers=header)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert opened.get("/api/classes", headers={"authorization": "Bearer secret"}).status_code == 200
        assert opened.get("/").status_code == 200  # the page, which takes the token from its link


def test_loopback_answers_to_its_own_names_alone(world: OpenWorldModel) -> None:
    with client(world, "http://evil.example") as opened:
        assert opened.get("/api/classes").status_code == 421


def test_pages_from_elsewhere_are_turned_away(world: OpenWorldModel) -> None:
    with client(world) as opened:
        assert opened.get("/api/classes", headers={"origin": "http://evil.example"}).status_code == 403
        assert opened.get("/api/classes", headers={"origin": "http://localhost"}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_token_is_made_up_for_every_other_address(host: str) -> None:
    token = Address(host).needed_token
    assert token is not None and len(token) >= 32 and token != Address(host).needed_token
    assert Address(host, token="mine").needed_token == "mine"
    assert Address().needed_token is None


def test_a_real_server_on_all_addresses_wants_the_token_of_its_link(folder: Path, serve: Callable[..., Served]) -> None:
    served = serve(folder, "--host", "0.0.0.0")
    token = served.link.partition("#token=")[2]
    assert asked(served.port, "GET", "/api/classes")[0] == 401
    assert asked(served.port, "GET", "/api/classes", authorization=f"Bearer {token}")[0] == 200
    hosts = dict.fromkeys((network_address() or "127.0.0.1", "127.0.0.1"))
    assert served.links == [f"http://{host}:{served.port}/#token={token}" for host in hosts]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_server_on_all_addresses_is_shown_where_others_reach_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for found, shown in (("192.0.2.7", ["192.0.2.7", "127.0.0.1"]), (None, ["127.0.0.1"])):
        monkeypatch.setattr("ignota.web.serving.network_address", lambda found=found: found)
        assert shown_hosts(host) == shown


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "192.0.2.7"])
def test_any_other_address_is_shown_as_it_was_given(host: str) -> None:
    assert shown_hosts(host) == [host]


def test_stopping_finishes_what_was_accepted(folder: Path, serve: Callable[..., Served], files: list[bytes]) -> None:
    served = serve(folder)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.putrequest("POST", "/api/segment")
    connection.putheader("content-length", str(len(files[0])))
    connection.endheaders(files[0][:50])
    time.sleep(0.3)
    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    connection.send(files[0][50:])
    answer = connection.getresponse()
    assert answer.status == 200 and json.loads(answer.read())["width"] == 96
    connection.close()
    assert served.process.wait(30) == 0
    with pytest.raises(ConnectionRefusedError):
        asked(served.port, "GET", "/api/health")


@pytest.mark.parametrize("lives", [pytest.param(1, marks=pytest.mark.long), pytest.param(6, marks=pytest.mark.soak)])
def test_what_was_acknowledged_outlives_kill_9(
    folder: Path, serve: Callable[..., Served], thing: Thing, lives: int
) -> None:
    acknowledged: list[str] = []
    for life in range(lives):
        served = serve(folder)
        port = served.port
        key = asked(port, "POST", "/api/segment", thing.photo)[1]["image"]

        def teach(number: int, port: int = port, key: str = key, life: int = life) -> None:
            for n in range(1000):
                name = f"life {life} client {number} class {n}"
                example = {"image": key, "click": {"x": thing.x, "y": thing.y, "extent": "region"}}
                form = {"name": name, "examples": [example], "force": True}
                try:
                    if asked(port, "POST", "/api/learn", json.dumps(form).encode())[0] == 200:
                        acknowledged.append(name)
                except (OSError, http.client.HTTPException):
                    return

        clients = [threading.Thread(target=teach, args=(number,)) for number in range(3)]
        for one in clients:
            one.start()
        time.sleep(1.5)
        assert served.stop(signal.SIGKILL) == -signal.SIGKILL
        for one in clients:
            one.join()
    assert len(acknowledged) > lives
    world = bundle.load(folder, writable=True)
    classes = {label.name: label.exemplars for label in world.store.classes()}
    assert set(acknowledged) <= classes.keys()
    assert len(classes) <= len(acknowledged) + 3 * lives  # of each client at most one not acknowledged, in each life
    assert set(classes.values()) == {1}
    world.store.close()
    with sqlite3.connect(folder / "exemplars.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
