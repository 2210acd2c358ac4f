"""Every endpoint of the server, against the world that it serves."""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from ignota.formats.rle import decode_rle, encode_rle
from ignota.storage import bundle
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.world.model import OpenWorldModel
from ignota.world.previewing import Preview
from ignota.world.teaching import Prepared

if TYPE_CHECKING:
    from tests.web.conftest import Thing

Picture = NDArray[np.uint8]
BOX = [10, 12, 50, 44]


def opened(client: TestClient, data: bytes, **query: object) -> dict:
    answer = client.post("/api/segment", params=query, content=data)
    assert answer.status_code == 200, answer.text
    return answer.json()


def taught(client: TestClient, data: bytes, name: str = "moose", mark: dict | None = None) -> dict:
    key = opened(client, data, name="a.png")["image"]
    example = {"image": key, **(mark or {"box": BOX})}
    form = {"name": name, "examples": [example], "force": True, "relabel": [key]}
    answer = client.post("/api/learn", json=form)
    assert answer.status_code == 200, answer.text
    return answer.json()


def planes(body: bytes, size: tuple[int, int]) -> list[np.ndarray]:
    """What `layers` sends: anomaly, regions, channels, labels, objects."""
    cells = size[0] * size[1]
    wide = [np.frombuffer(body, "<u2", cells, place * cells * 2).reshape(size) for place in range(3)]
    labels = np.frombuffer(body, np.uint8, cells, 6 * cells).reshape(size)
    return [*wide, labels, np.frombuffer(body, "<u2", cells, 7 * cells).reshape(size)]


def patched(anomaly: np.ndarray, labels: np.ndarray, patch: str) -> tuple[np.ndarray, np.ndarray]:
    """Planes with a patch over them, run by run."""
    code = base64.b64decode(patch)
    count = int(np.frombuffer(code, "<u4", 1)[0])
    first, length = np.frombuffer(code, "<u4", 2 * count, 4).reshape(2, count)
    pixels = int(length.sum())
    left = np.frombuffer(code, "<u2", pixels, 4 + 8 * count)
    ids = np.frombuffer(code, np.uint8, pixels, 4 + 8 * count + 2 * pixels)
    anomaly, labels = anomaly.copy(), labels.copy()
    at = 0
    for start, run in zip(first, length, strict=True):
        anomaly.flat[start : start + run] = left[at : at + run]
        labels.flat[start : start + run] = ids[at : at + run]
        at += run
    return anomaly, labels


def test_segment_tells_what_the_library_says(
    client: TestClient, world: OpenWorldModel, photos: list[Picture], files: list[bytes]
) -> None:
    n = max(range(len(photos)), key=lambda i: len(world.segment(photos[i]).unknown))
    told = opened(client, files[n], name="a.png", maps=True, embeddings=True)
    scene = world.segment(photos[n])
    assert (told["name"], told["width"], told["height"], told["grid"]) == ("a.png", 96, 48, [48, 96])
    assert len(told["regions"]) == len(scene.unknown) > 0
    for row, region in zip(told["regions"], scene.unknown, strict=True):
        np.testing.assert_array_equal(decode_rle(row["rle"]), region.mask)
        assert (row["box"], row["area"], row["nearest"]) == (list(region.box), region.area, region.nearest)
        assert row["score"] == pytest.approx(region.score)
        np.testing.assert_allclose(row["embedding"], region.embedding, rtol=1e-6)
    labels = np.asarray(Image.open(io.BytesIO(base64.b64decode(told["maps"]["labels"]))))
    np.testing.assert_array_equal(labels, scene.labels_with_unknown())
    code = np.frombuffer(base64.b64decode(told["maps"]["anomaly"]), np.uint8)
    anomaly = cv2.imdecode(code, cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(anomaly / 65535, scene.anomaly, atol=1e-5)
    assert told["unknown_share"] == pytest.approx((labels == UNKNOWN_INDEX).mean())


def test_layers_and_patch_give_the_scene_at_any_threshold(
    client: TestClient, world: OpenWorldModel, thing: Thing
) -> None:
    key = opened(client, thing.photo)["image"]
    photo = np.asarray(Image.open(io.BytesIO(thing.photo)))
    before = world.segment(photo)
    patch = taught(client, thing.photo, mark={"rle": encode_rle(thing.mask)})["patches"][key]
    anomaly, regions, _, closed, objects = planes(client.get(f"/api/images/{key}/layers").content, (48, 96))
    np.testing.assert_array_equal(closed, before.working_labels)
    np.testing.assert_array_equal(regions, before.regions.ids)
    np.testing.assert_array_equal(objects, before.object_ids())
    np.testing.assert_allclose(anomaly / 65535, before.anomaly, atol=1e-5)
    left, labels = patched(anomaly, closed, patch)
    world.follow()
    after = world.segment(photo)
    assert (after.working_labels >= len(world.taxonomy)).any()
    np.testing.assert_array_equal(labels, after.working_labels)
    np.testing.assert_allclose(left / 65535, after.anomaly, atol=1e-5)


def test_the_whole_life_of_a_class(client: TestClient, files: list[bytes]) -> None:
    told = taught(client, files[0])
    assert told["done"] == "learnt moose" and told["lesson"]["examples"] == 1
    moose = next(label for label in told["classes"] if label["name"] == "moose")
    assert moose["taught"] and moose["examples"] == 1 and moose["thumbnail"].startswith("data:image/jpeg;base64,")

    def post(path: str, **form: object) -> list[str]:
        answer = client.post(f"/api/{path}", json=form)
        assert answer.status_code == 200, answer.text
        assert answer.json()["classes"] == client.get("/api/classes").json()["classes"]
        return [label["name"] for label in answer.json()["classes"] if label["taught"]]

    assert post("rename", name="moose", new="elk") == ["elk"]
    assert post("recolour", name="elk", colour="#102030") == ["elk"]
    assert client.get("/api/classes").json()["classes"][-1]["colour"] == "#102030"
    taught(client, files[1], "boat")
    assert post("merge", name="boat", into="elk") == ["elk"]
    assert client.get("/api/classes").json()["classes"][-1]["examples"] == 2
    assert post("undo") == ["elk", "boat"]
    assert post("forget", name="boat") == ["elk"]
    events = client.get("/api/history").json()
    assert [event["action"] for event in events] == [
        "learn", "rename", "recolour", "learn", "merge", "undo", "forget",
    ]  # fmt: skip
    assert events[4]["undone_by"] == events[5]["key"]
    assert post("undo", event=events[6]["key"]) == ["elk", "boat"]
    cards = client.get("/api/exemplars", params={"name": "elk"}).json()
    assert [(card["name"], card["source"], card["given"]) for card in cards] == [("elk", "a.png", "box")]
    assert len(client.get("/api/exemplars").json()) == 2


def test_forgetting_gives_every_bit_back(client: TestClient, thing: Thing) -> None:
    first = opened(client, thing.photo, maps=True)
    taught(client, thing.photo, mark={"click": {"x": thing.x, "y": thing.y, "extent": "region"}})
    assert opened(client, thing.photo, maps=True)["maps"]["labels"] != first["maps"]["labels"]
    client.post("/api/forget", json={"name": "moose"})
    again = opened(client, thing.photo, maps=True)
    assert again["maps"] == first["maps"] and again["patch"] == "AAAAAA=="


def test_every_mark_picks_a_region(client: TestClient, files: list[bytes]) -> None:
    key = opened(client, files[0])["image"]
    mask = np.zeros((48, 96), bool)
    mask[5:20, 8:30] = True
    marks: list[dict] = [
        {"rle": encode_rle(mask)},
        {"rle": {"size": [2, 2], "counts": [0, 4]}},
        {"polygon": [[8, 5], [29, 5], [29, 19], [8, 19]]},
        {"box": BOX},
        {"click": {"x": 20, "y": 20, "extent": "region"}},
        {"click": {"x": 20, "y": 20, "extent": "unknown", "threshold": 0}},
    ]
    answers = [client.post("/api/select", json={"image": key, **mark}) for mark in marks]
    assert [answer.status_code for answer in answers] == [200, 400, 200, 200, 200, 200]
    np.testing.assert_array_equal(decode_rle(answers[0].json()["rle"]), mask)
    np.testing.assert_array_equal(decode_rle(answers[2].json()["rle"]), mask)
    for answer in answers[3:]:
        region = answer.json()
        assert decode_rle(region["rle"]).sum() == region["area"] > 0
    assert client.post("/api/select", json={"image": key, "box": BOX, "polygon": []}).status_code == 422


def test_a_class_that_floods_its_own_image_is_refused_and_says_how(
    client: TestClient, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(_: OpenWorldModel, name: str, examples: Sequence[Prepared]) -> Preview:
        return Preview(name, len(examples), 100, 0.9, 0.8, 0.75, 0.2, {"road": 0.5, "sky": 0.1}, {"car": 0.3})

    monkeypatch.setattr("ignota.world.model.preview", greedy)
    key = opened(client, files[0])["image"]
    form = {"name": "thief", "examples": [{"image": key, "box": BOX}]}
    answer = client.post("/api/learn", json=form)
    assert answer.status_code == 409, answer.text
    told = answer.json()
    doubt = "75 % of what it would cover on these images is outside your mark, 50 % of 'road' among it"
    assert told["lesson"]["doubts"] == [doubt]
    assert (told["lesson"]["recognised"], told["lesson"]["outside"], told["lesson"]["iou"]) == (0.9, 0.8, 0.2)
    assert told["lesson"]["stolen"] == {"road": 0.5, "sky": 0.1} and told["lesson"]["stolen_held"] == {"car": 0.3}
    assert all(doubt in told["error"] for doubt in told["lesson"]["doubts"])
    assert not [label for label in client.get("/api/classes").json()["classes"] if label["taught"]]
    assert client.post("/api/learn", json=form | {"force": True}).status_code == 200


def runs_mask(code: str) -> np.ndarray:
    """The mask that `preview` sends of an image."""
    data = base64.b64decode(code)
    count = int(np.frombuffer(data, "<u4", 1)[0])
    first, length = np.frombuffer(data, "<u4", 2 * count, 4).reshape(2, count)
    mask = np.zeros((48, 96), bool)
    for start, run in zip(first, length, strict=True):
        mask.flat[start : start + run] = True
    return mask


def test_a_preview_tells_what_learning_does_and_stores_nothing(client: TestClient, thing: Thing) -> None:
    key, twin = (opened(client, data)["image"] for data in (thing.photo, thing.twin))
    mark = {"image": key, "rle": encode_rle(thing.mask)}
    form = {"name": "moose", "examples": [mark], "relabel": [key, twin, "0" * 24]}
    before = client.get("/api/classes").json()
    found = client.post("/api/preview", json=form)
    assert found.status_code == 200, found.text
    assert client.get("/api/classes").json() == before and client.get("/api/history").json() == []
    seen = found.json()
    assert list(seen["covered"]) == [key, twin] and seen["left"] == []
    told = client.post("/api/learn", json=form | {"force": True}).json()
    assert seen["lesson"] == told["lesson"] and seen["covers"] == told["lesson"]["recognised"]
    for image, code in seen["covered"].items():
        anomaly, _, _, closed, _ = planes(client.get(f"/api/images/{image}/layers").content, (48, 96))
        _, labels = patched(anomaly, closed, told["patches"][image])
        np.testing.assert_array_equal(runs_mask(code), labels == told["classes"][-1]["id"])
    here = runs_mask(seen["covered"][key])
    assert here.any() and seen["covers"] == pytest.approx((here & thing.mask).sum() / thing.mask.sum())
    assert seen["iou"] == pytest.approx((here & thing.mask).sum() / (here | thing.mask).sum())
    assert seen["outside"] == pytest.approx((here & ~thing.mask).sum() / here.sum())


def test_a_preview_goes_on_with_the_images_that_are_left(
    client: TestClient, thing: Thing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ignota.web.app._PREVIEWED", 1)
    blank = cv2.imencode(".png", np.zeros((48, 96, 3), np.uint8))[1].tobytes()
    keys = [opened(client, data)["image"] for data in (thing.photo, thing.twin, blank)]
    form = {"name": "moose", "examples": [{"image": keys[0], "box": BOX}], "relabel": keys}
    first = client.post("/api/preview", json=form).json()
    assert (list(first["covered"]), first["left"]) == (keys[:2], keys[2:])
    rest = client.post("/api/preview", json=form | {"relabel": first["left"]}).json()
    assert (list(rest["covered"]), rest["left"]) == ([keys[0], keys[2]], [])


def test_a_preview_refuses_what_learning_refuses(client: TestClient, files: list[bytes]) -> None:
    example = {"image": opened(client, files[0])["image"], "box": BOX}
    known = client.get("/api/classes").json()["classes"][0]["name"]
    for name in (known, "unknown", " "):
        answers = [
            client.post(f"/api/{path}", json={"name": name, "examples": [example]}) for path in ("preview", "learn")
        ]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert answers[0].json() == answers[1].json()
    lost = {"name": "moose", "examples": [{"image": "0" * 24, "box": BOX}]}
    assert client.post("/api/preview", json=lost).status_code == 404


def test_what_is_not_the_class_is_stored_with_it(client: TestClient, thing: Thing) -> None:
    key = opened(client, thing.photo)["image"]
    outside = ~cv2.dilate(thing.mask.astype(np.uint8), np.ones((9, 9))).astype(bool)
    against = [{"image": key, "rle": encode_rle(outside)}]
    form = {"name": "moose", "examples": [{"image": key, "rle": encode_rle(thing.mask)}], "against": against}
    seen = client.post("/api/preview", json=form).json()
    told = client.post("/api/learn", json=form | {"force": True}).json()
    assert told["lesson"] == seen["lesson"] and told["lesson"]["examples"] == 1
    cards = client.get("/api/exemplars", params={"name": "moose"}).json()
    assert [card["given"] for card in cards] == ["mask", "not"]
    assert told["classes"][-1]["thumbnail"] == cards[0]["thumbnail"] != cards[1]["thumbnail"]
    alone = {"name": "moose", "examples": [], "against": against, "force": True}
    assert client.post("/api/learn", json=alone).status_code == 200
    assert client.post("/api/learn", json=alone | {"name": "boat"}).status_code == 400
    assert client.post("/api/learn", json=alone | {"against": []}).status_code == 422


def test_export_holds_what_is_shown(
    client: TestClient, world: OpenWorldModel, photos: list[Picture], files: list[bytes]
) -> None:
    keys = [opened(client, data, name="street.png")["image"] for data in files[:2]]
    answer = client.post("/api/export", json={"images": keys, "threshold": 0.3})
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert sorted(archive.namelist()) == sorted(
        ["classes.json", *(f"street{n}{end}" for n in ("", "-2") for end in ("_labels.png", "_anomaly.png", ".json"))]
    )
    for name, photo in zip(("street", "street-2"), photos, strict=False):
        scene = world.segment(photo)
        labels = np.asarray(Image.open(io.BytesIO(archive.read(f"{name}_labels.png"))))
        np.testing.assert_array_equal(labels, scene.labels_with_unknown(0.3))
        assert len(json.loads(archive.read(f"{name}.json"))["regions"]) == len(scene.unknown_at(0.3))


def test_a_click_and_the_planes_agree_at_every_threshold(client: TestClient, thing: Thing) -> None:
    key = opened(client, thing.photo)["image"]
    patch = taught(client, thing.photo, mark={"rle": encode_rle(thing.mask)})["patches"][key]
    anomaly, _, _, closed, _ = planes(client.get(f"/api/images/{key}/layers").content, (48, 96))
    shown, _ = patched(anomaly, closed, patch)
    rng = np.random.default_rng(0)
    for level in rng.choice(np.unique(shown), 12):
        for threshold in (float(level) / 65535, (float(level) - 0.4) / 65535, (float(level) + 0.4) / 65535):
            unknown = shown > math.floor(threshold * 65535)
            y, x = (int(place) for place in rng.choice(np.argwhere(unknown if unknown.any() else ~unknown)))
            click = {"x": x + 0.5, "y": y + 0.5, "extent": "unknown", "threshold": threshold}
            answer = client.post("/api/select", json={"image": key, "click": click})
            assert (answer.status_code == 200) == bool(unknown[y, x])
            if unknown[y, x]:
                _, ids = cv2.connectedComponents(unknown.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
                np.testing.assert_array_equal(decode_rle(answer.json()["rle"]), ids == ids[y, x])


@pytest.mark.parametrize("size", [(48, 96), (75, 113)])
def test_labels_regions_and_anomaly_of_an_export_agree(
    client: TestClient, photos: list[Picture], size: tuple[int, int]
) -> None:
    photo = cv2.resize(photos[0], size[::-1])
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG")
    key = opened(client, stream.getvalue(), name="a.png")["image"]

    def exported(threshold: float) -> tuple[Picture, NDArray[np.uint16], dict]:
        answer = client.post("/api/export", json={"images": [key], "threshold": threshold})
        archive = zipfile.ZipFile(io.BytesIO(answer.content))
        read = [cv2.imdecode(np.frombuffer(archive.read(f"a_{what}.png"), np.uint8), -1) for what in ("anomaly",)]
        labels = np.asarray(Image.open(io.BytesIO(archive.read("a_labels.png"))))
        return labels, read[0], json.loads(archive.read("a.json"))

    values = np.unique(exported(0.5)[1])
    for level in (values[len(values) // 4], values[len(values) // 2], values[-2]):
        for threshold in (float(level) / 65535, (float(level) + 0.3) / 65535, (float(level) - 0.3) / 65535):
            labels, anomaly, told = exported(threshold)
            unknown = anomaly > math.floor(told["threshold"] * 65535)
            np.testing.assert_array_equal(labels == UNKNOWN_INDEX, unknown)
            for region in told["regions"]:
                mask = decode_rle(region["rle"])
                assert region["score"] == int(anomaly[mask].sum(dtype=np.int64)) / region["area"] / 65535


def test_images_are_closed_and_missed(client: TestClient, files: list[bytes]) -> None:
    key = opened(client, files[0])["image"]
    assert client.get("/api/health").json()["images"] == 1
    assert client.delete(f"/api/images/{key}").status_code == 204
    answer = client.get(f"/api/images/{key}/layers")
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        f"no open image {key}: send it to /api/segment again",
    )
    assert client.post("/api/relabel", json={"images": [key]}).json()["patches"] == {}


def test_another_program_s_lesson_is_seen_at_once(client: TestClient, thing: Thing, world: OpenWorldModel) -> None:
    key = opened(client, thing.photo)["image"]
    path = world.store.path
    assert path is not None
    other = bundle.load(path.parent, writable=True)
    photo = np.asarray(Image.open(io.BytesIO(thing.photo)))
    other.learn("moose", (photo, thing.mask), force=True)
    other.store.close()
    told = client.post("/api/relabel", json={"images": [key]}).json()
    assert [label["name"] for label in told["classes"] if label["taught"]] == ["moose"]
    assert told["patches"][key] != "AAAAAA=="


def test_a_calibration_is_told_and_open_images_are_read_again(
    client: TestClient, files: list[bytes], photos: list[NDArray[np.uint8]], world: OpenWorldModel
) -> None:
    seen = client.post("/api/segment", content=files[0]).json()
    layers = f"/api/images/{seen['image']}/layers"
    before = client.get(layers).content
    assert client.get("/api/classes").json()["calibration"] == ""
    other = bundle.load(world.store.path.parent, writable=True)  # type: ignore[union-attr]
    other.calibrate(photos, target_fpr=0.1)
    told = client.post("/api/relabel", json={"images": [seen["image"]]}).json()
    assert told["calibration"] == client.get("/api/classes").json()["calibration"] != ""
    assert told["calibration"].startswith("3 images, target FPR 10 %")
    tables = other.segment(photos[0])
    assert client.get(layers).content[: 2 * tables.working_levels.size] == tables.working_levels.tobytes() != before
    other.store.close()
    told = client.post("/api/undo", json={"relabel": [seen["image"]]}).json()
    assert (told["calibration"], told["done"]) == ("", "undid calibrate light")
    assert client.get(layers).content == before


def test_metrics_count_by_route(client: TestClient, files: list[bytes]) -> None:
    opened(client, files[0])
    client.get("/nothing/here")
    text = client.get("/api/metrics").text
    assert 'ignota_requests_total{route="/api/segment",status="200"} 1.0' in text
    assert 'ignota_requests_total{route="none",status="404"} 1.0' in text
    assert "ignota_open_images 1.0" in text


def test_the_page_comes_whole_and_strict(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200 and "<title>Ignota</title>" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for name, kind in {"main.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}.items():
        answer = client.get(f"/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert "https://" not in answer.text and "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")


def test_openapi_bears_examples(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    assert told["components"]["schemas"]["LearnForm"]["examples"][0]["name"] == "moose"
    assert set(told["paths"]) == {
        f"/api/{name}"
        for name in (
            "health", "metrics", "classes", "history", "exemplars", "segment", "images/{image}/layers", "select",
            "relabel", "export", "images/{image}", "folder", "folder/{number}/thumbnail", "folder/{number}/file",
            "groups", "regions/{number}", "groups/learn", "learn", "preview", "forget", "rename", "merge", "recolour",
            "undo",
        )
    }  # fmt: skip
