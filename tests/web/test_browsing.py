"""The folder that the server was started on, and groups of `discover`: listed, safe, bounded, and named."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from ignota.cli import main
from ignota.cli.earlier import shown_folder
from ignota.structures import InputError
from ignota.web import folder as folder_module
from ignota.web.app import create_app
from ignota.web.limits import Limits
from ignota.world.model import OpenWorldModel

UNUSUAL = ["a\nb.png", "<img src=x onerror=alert(1)>.png", "10.png", "2.png"]


@pytest.fixture
def album(tmp_path: Path, files: list[bytes]) -> Path:
    """Four pictures under unusual names, one broken, one too large, and what is no picture of the folder."""
    album = tmp_path / "album"
    album.mkdir()
    for name, data in zip(UNUSUAL, [*files, files[0]], strict=True):
        (album / name).write_bytes(data)
    (album / "broken.png").write_bytes(files[0][:99])
    (album / "text.jpg").write_text("words")
    (album / "vast.png").write_bytes(bytes(200_000))
    (album / os.fsdecode(b"\xff.png")).write_bytes(files[1])
    secret = tmp_path / "secret.png"
    secret.write_bytes(files[2])
    (album / "link.png").symlink_to(secret)
    (album / "loop.png").symlink_to(album / "loop.png")
    os.mkfifo(album / "pipe.png")
    (album / "folder.png").mkdir()
    return album


def served(world: OpenWorldModel, album: Path, *results: Path, **options: Any) -> TestClient:
    shown = shown_folder(world, str(album), [str(place) for place in results])
    app = create_app(world, "tiny", shown=shown, **options)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture
def client(world: OpenWorldModel, album: Path) -> Iterator[TestClient]:
    with served(world, album, limits=Limits(body=100_000)) as opened:
        yield opened


def listed(client: TestClient, **query: object) -> list[dict[str, Any]]:
    answer = client.get("/api/folder", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["images"])


def test_a_folder_lists_what_lies_in_it_and_nothing_else(client: TestClient) -> None:
    names = [image["name"] for image in listed(client)]
    assert sorted(names) == sorted([*UNUSUAL, "broken.png", "text.jpg", "vast.png", "\\xff.png"])
    assert names.index("2.png") < names.index("10.png")
    assert [image["name"] for image in listed(client, first=2, count=3)] == names[2:5]
    assert all(image["unknown"] is None and not image["current"] for image in listed(client))


def test_thumbnails_are_small_and_kept_within_bounds(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {image["name"]: image["number"] for image in listed(client)}
    for name in (*UNUSUAL, "\\xff.png"):
        answer = client.get(f"/api/folder/{places[name]}/thumbnail")
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
        picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        assert max(picture.shape[:2]) <= folder_module.SIDE
    shown = shown_folder_of(client)
    weight = sum(map(len, shown._thumbnails.values()))
    assert weight == shown._weight and len(shown._thumbnails) == 5
    monkeypatch.setattr(folder_module, "_KEPT", weight // 2)
    shown.thumbnail(places["2.png"], Limits())
    assert sum(map(len, shown._thumbnails.values())) == shown._weight <= weight // 2


def shown_folder_of(client: TestClient) -> folder_module.Folder:
    """The folder behind the routes."""
    route = next(route for route in client.app.routes if getattr(route, "path", "") == "/api/folder")  # type: ignore[attr-defined]
    found = next(cell.cell_contents for cell in route.endpoint.__closure__ if hasattr(cell.cell_contents, "matching"))
    assert isinstance(found, folder_module.Folder)
    return found


def test_hostile_files_are_refused_in_a_line(client: TestClient, album: Path, tmp_path: Path) -> None:
    places = {image["name"]: image["number"] for image in listed(client)}
    for name, path in ((n, p) for n in ("broken.png", "text.jpg", "vast.png") for p in ("thumbnail", "file")):
        if (name, path) == ("broken.png", "file"):
            continue  # its header is sound: `segment` refuses it
        answer = client.get(f"/api/folder/{places[name]}/{path}")
        assert answer.status_code == 400 and name in answer.json()["error"], (name, path, answer.text)
        assert str(tmp_path) not in answer.text
    number = places["2.png"]
    (album / "2.png").unlink()
    assert client.get(f"/api/folder/{number}/file").status_code == 400
    (album / "2.png").symlink_to(tmp_path / "secret.png")  # swapped after the list was made
    for path in ("thumbnail", "file"):
        answer = client.get(f"/api/folder/{number}/{path}")
        assert answer.status_code == 400 and "link" in answer.json()["error"]
    assert client.get("/api/folder/99/file").status_code == 404
    assert client.get("/api/folder/..%2f..%2fsecret.png/file").status_code in (404, 422)


def test_an_image_that_is_opened_gets_its_figures(client: TestClient, files: list[bytes]) -> None:
    number = next(image["number"] for image in listed(client) if image["name"] == "10.png")
    data = client.get(f"/api/folder/{number}/file").content
    assert data == files[2]
    seen = client.post("/api/segment", content=data).json()
    image = next(image for image in listed(client) if image["number"] == number)
    assert image["current"] and image["unknown"] == pytest.approx(seen["unknown_share"], abs=0.02)
    assert listed(client, order="anomaly")[0]["number"] == number
    name = max(image["shares"], key=image["shares"].get)
    assert [found["number"] for found in listed(client, name=name)] == [number]
    mark = {"image": seen["image"], "box": [10, 12, 50, 44]}
    form = {"name": "moose", "examples": [mark], "force": True, "relabel": [seen["image"]]}
    assert client.post("/api/learn", json=form).status_code == 200
    after = next(image for image in listed(client) if image["number"] == number)
    assert after["current"]
    assert ("moose" in after["shares"]) == (number in [found["number"] for found in listed(client, name="moose")])


@pytest.fixture
def photos_folder(tmp_path: Path, files: list[bytes]) -> Path:
    place = tmp_path / "photos"
    place.mkdir()
    for number, data in enumerate(files):
        (place / f"p{number}.png").write_bytes(data)
    return place


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


@pytest.mark.parametrize("engine", [(), ("--engine", "local")], ids=["files", "lake"])
def test_earlier_results_fill_the_list(
    folder: Path, world: OpenWorldModel, photos_folder: Path, tmp_path: Path, engine: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    run("segment", photos_folder, "--world", folder, "--out", out, "--quiet", *engine)
    (photos_folder / "p2.png").write_bytes((photos_folder / "p1.png").read_bytes())  # changed since
    with served(world, photos_folder, out) as client:
        found = listed(client)
        assert [image["unknown"] is None for image in found] == [False, False, True]
        for image in found[:2]:
            scene = world.segment(photos_folder / image["name"])
            assert image["current"] and image["unknown"] == pytest.approx(scene.unknown_mask().mean(), abs=1e-6)
            assert sum(image["shares"].values()) + image["unknown"] == pytest.approx(1, abs=0.01)
        most = max(found[:2], key=lambda image: image["unknown"])
        assert listed(client, order="anomaly")[0]["number"] == most["number"]
        assert listed(client, least=most["unknown"] - 1e-9)[0]["number"] == most["number"]
        run("learn", "moose", "--image", photos_folder / "p0.png", "--box", "10,12,50,44", "--world", folder, "--force")
        client.post("/api/relabel", json={"images": []})
        assert not any(image["current"] for image in listed(client))


def test_damaged_results_are_left_aside(folder: Path, world: OpenWorldModel, photos_folder: Path) -> None:
    run("segment", photos_folder, "--world", folder, "--out", photos_folder, "--quiet")
    names = [image["name"] for image in listed(served(world, photos_folder))]
    assert names == ["p0.png", "p1.png", "p2.png"]  # and none of the pictures that `segment` wrote there
    result = photos_folder / "p0.json"
    told = json.loads(result.read_text())
    for change in (
        {"unknown_share": 7},
        {"unknown_share": True},
        {"unknown_share": 10**400},
        {"classes": [{"name": 3, "share": 0.1}]},
        {"classes": 1},
    ):
        result.write_text(json.dumps(told | change))
        found = listed(served(world, photos_folder))
        assert [image["unknown"] is None for image in found] == [True, False, False], change
    with pytest.raises(InputError, match="is no folder"):
        shown_folder(world, str(photos_folder), [str(photos_folder / "none")])


def test_parts_beside_the_images_are_left_aside(world: OpenWorldModel, photos_folder: Path) -> None:
    (photos_folder / "source=x").mkdir()
    (photos_folder / "source=x" / "part-0.parquet").write_bytes(b"words")
    assert len(shown_folder(world, str(photos_folder), []).folder.names) == 3


def test_damaged_groups_beside_the_images_are_left_aside(
    world: OpenWorldModel, photos_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may be anybody's; a folder that `--results` names is another matter."""
    (photos_folder / "groups.json").write_text("{")
    assert shown_folder(world, str(photos_folder), []).groups is None
    error = capsys.readouterr().err
    assert "left aside" in error and error.count("\n") == 1
    with pytest.raises(InputError, match=r"groups\.json"):
        shown_folder(world, str(photos_folder), [str(photos_folder)])


def test_classes_are_listed_while_figures_arrive(tmp_path: Path) -> None:
    class Arriving(dict[str, float]):
        def __iter__(self) -> Iterator[str]:
            folder.figures[len(folder.figures)] = folder_module.Figures(0.0, {})
            return super().__iter__()

    folder = folder_module.Folder(tmp_path, ["a.png"], {"a.png": folder_module.Figures(0.0, Arriving(road=1.0))})
    assert folder.classes() == ["road"]


@pytest.fixture
def grouped(folder: Path, world: OpenWorldModel, photos_folder: Path, tmp_path: Path) -> Iterator[TestClient]:
    found = tmp_path / "found"
    run("discover", photos_folder, "--world", folder, "--out", found, "--smallest", 2, "--quiet")
    with served(world, photos_folder, found) as client:
        yield client


def test_a_group_is_named_and_unnamed(grouped: TestClient, world: OpenWorldModel) -> None:
    told = grouped.get("/api/groups").json()
    first = told["groups"][0]
    assert told["total"] >= 1 and first["name"] is None and first["rows"]
    picture = grouped.get(f"/api/regions/{first['rows'][0]}")
    assert picture.status_code == 200 and picture.headers["content-type"] == "image/jpeg"
    images = grouped.get("/api/folder", params={"group": first["key"]}).json()
    assert 1 <= images["matching"] == first["images"] and first["key"] in images["groups"]
    assert all(image["unknown"] is not None for image in images["images"])
    form = {"group": first["key"], "name": "thing", "without": first["rows"][:1], "force": True}
    answer = grouped.post("/api/groups/learn", json=form)
    assert answer.status_code == 200, answer.text
    taught = [card.name for card in world.store.cards()]
    assert taught == ["thing"] * min(first["exemplars"], first["regions"] - 1)
    assert grouped.get("/api/groups").json()["groups"][0]["name"] == "thing"
    again = grouped.post("/api/groups/learn", json=form).json()
    assert again["done"] == "thing has these regions already" and len(world.store.cards()) == len(taught)
    assert grouped.post("/api/undo", json={}).status_code == 200
    assert grouped.get("/api/groups").json()["groups"][0]["name"] is None and not world.store.cards()


def test_what_is_wrong_with_a_group_is_said_in_a_line(grouped: TestClient, client: TestClient) -> None:
    first = grouped.get("/api/groups").json()["groups"][0]
    wrong = [
        {"group": "99", "name": "thing"},
        {"group": first["key"], "name": "road"},
        {"group": first["key"], "name": "thing", "without": list(range(10_000))},
    ]
    for form in wrong:
        answer = grouped.post("/api/groups/learn", json=form)
        assert answer.status_code == 400 and answer.json()["error"], form
    assert grouped.get("/api/regions/99999").status_code == 400
    assert client.get("/api/groups").json() == {"total": 0, "groups": []}
    assert client.post("/api/groups/learn", json=wrong[0]).status_code == 404
    assert client.get("/api/regions/0").status_code == 404
