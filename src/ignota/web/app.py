"""The HTTP interface of a world: thin routes over the session, one line for every refusal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse

from ignota import __version__
from ignota.data.files import one_line
from ignota.web import forms, views
from ignota.web.archive import Archive
from ignota.web.browsing import add_folder, add_groups
from ignota.web.folder import Folder
from ignota.web.grouped import Groups
from ignota.web.limits import Limits
from ignota.web.marking import images_of, picked, prepared
from ignota.web.metrics import Metrics
from ignota.web.middleware import AdmissionMiddleware
from ignota.web.page import add_page
from ignota.web.refusals import handle_errors
from ignota.web.session import KEY, Session
from ignota.world.model import OpenWorldModel
from ignota.world.previewing import preview as foreseen

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": forms.Problem, "description": text}
    for status, text in {
        400: "the request is wrong", 401: "a token is wanted", 403: "not allowed", 404: "no such open image",
        408: "too slow", 413: "too large", 421: "called by another name", 422: "a field is wrong",
        503: "busy: come back after Retry-After seconds",
    }.items()
}  # fmt: skip
_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": forms.Refusal, "description": "the class would take too much; `force` teaches it all the same"}
}
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "description": "the file itself: JPEG, PNG, WebP, BMP, TIFF, GIF, PPM or AVIF",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
    }
}
_PREVIEWED = 24
"""Images of one preview beside the marked ones: about a second of work."""
ImagePath = Annotated[str, InPath(pattern=KEY, min_length=24, max_length=24)]
FileName = Annotated[str, Query(max_length=200, description="what the image is called, for the history")]


@dataclass(frozen=True)
class Shown:
    """What the page shows of a folder. groups: None where nothing was discovered in it."""

    folder: Folder
    groups: Groups | None = None


def create_app(
    world: OpenWorldModel,
    name: str,
    limits: Limits | None = None,
    token: str | None = None,
    unread: Callable[[], int] = int,
    shown: Shown | None = None,
) -> FastAPI:
    """The application around a world, which it closes in the end. token: None serves this machine alone.

    unread: bytes of answers that clients have not read yet. shown: the folder that it was started on.
    """
    limits = limits or Limits()
    session, metrics = Session(world, limits), Metrics()
    shown = shown or Shown(Folder(Path(), ()))
    session.watch = lambda key, scene: shown.folder.note(key, scene, world.snapshot.state)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        session.close()

    app = FastAPI(
        title="Ignota", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=_PROBLEMS,
        description="See the unknown in images, name it, and see it known. Images are sent as they are and named by "
        "their digest; nothing of a request ever names a file.",
    )  # fmt: skip
    handle_errors(app)
    _add_reading(app, session, name, metrics)
    _add_images(app, session)
    _add_teaching(app, session)
    add_folder(app, session, shown.folder)
    add_groups(app, session, shown.groups, _changed, _REFUSED)
    add_page(app)
    app.add_middleware(AdmissionMiddleware, limits=limits, token=token, watch=metrics.watch, unread=unread)
    return app


def _add_reading(app: FastAPI, session: Session, name: str, metrics: Metrics) -> None:
    world = session.world

    @app.get("/api/health", tags=["server"])
    async def health() -> forms.Health:
        """Whether the server is well."""
        return forms.Health(
            status="ok", version=__version__, world=name, writable=world.store.writable, images=len(session.images),
            waiting=session.waiting,
        )  # fmt: skip

    @app.get("/api/metrics", tags=["server"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def figures() -> Response:
        """Counters and durations in Prometheus' text format."""
        body, kind = metrics.text(len(session.images), session.waiting)
        return Response(body, media_type=kind)

    @app.get("/api/classes", tags=["world"], response_model=forms.ClassList)
    async def classes() -> Any:
        """Known and taught classes."""

        def read() -> dict[str, Any]:
            snapshot = world.newest()
            listed = views.classes(world, snapshot)
            return {
                "state": snapshot.state,
                "calibration": views.calibration(snapshot),
                "writable": world.store.writable,
                "world": name,
                "classes": listed,
            }

        return await to_thread.run_sync(read)

    @app.get("/api/history", tags=["world"], response_model=list[forms.EventView])
    async def history() -> Any:
        """Every change of the world, the oldest first."""
        events = await to_thread.run_sync(world.store.history)
        return [event.__dict__ for event in events]

    @app.get("/api/exemplars", tags=["world"], response_model=list[forms.ExemplarView])
    async def exemplars(name: Annotated[str | None, Query(max_length=200)] = None) -> Any:
        """What taught classes were taught from, or one of them."""
        return await to_thread.run_sync(views.exemplars, world, name)


def _add_images(app: FastAPI, session: Session) -> None:
    @app.post("/api/segment", tags=["images"], response_model=forms.Seen, openapi_extra=_IMAGE_BODY)
    async def segment(
        request: Request,
        name: FileName = "",
        maps: Annotated[bool, Query(description="label and anomaly maps as PNG in base64")] = False,
        embeddings: Annotated[bool, Query(description="the embedding of each region")] = False,
    ) -> Response:
        """Labels, anomaly and unknown regions of an image, which stays open under its key."""
        data = await request.body()

        def job() -> bytes:
            session.world.follow()
            image, scene = session.scene(session.open(data, one_line(name)))
            return json.dumps(views.seen(session, image, scene, maps, embeddings), ensure_ascii=False).encode()

        return _json(await session.run(job))

    @app.get(
        "/api/images/{image}/layers", tags=["images"], response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )  # fmt: skip
    async def layers(image: ImagePath) -> Response:
        """Five planes on the working grid, little-endian: uint16 anomaly × 65535 before anything was taught, uint16
        region ids, uint16 meta-channel bits, uint8 labels of the closed set, uint16 unknown objects from 1."""
        body = await session.run(lambda: session.layers(session.image(image)))
        return Response(body, media_type="application/octet-stream")

    @app.post("/api/select", tags=["images"], response_model=forms.RegionView)
    async def select(form: forms.MarkForm) -> Response:
        """The region that a click, a box or a polygon picks."""

        def job() -> bytes:
            image, scene = session.scene(session.image(form.image))
            return json.dumps(views.region(picked(session, image, scene, form), embedding=True)).encode()

        return _json(await session.run(job))

    @app.post("/api/relabel", tags=["images"], response_model=forms.Changed)
    async def relabel(form: forms.RelabelForm) -> Response:
        """Classes, and open images labelled again, after whatever changed the world. left: images to ask for next."""
        return _json(await session.run(lambda: _changed(session, form.images)))

    @app.post(
        "/api/export", tags=["images"], response_class=Response,
        responses={200: {"content": {"application/zip": {}}}},
    )  # fmt: skip
    async def export(form: forms.ExportForm) -> Response:
        """A ZIP with labels, anomaly and regions of open images."""
        archive = Archive(form.threshold)
        try:
            await session.run(lambda: archive.begin(session, form.images))
            for key in dict.fromkeys(form.images):  # one job for each, so that others get their turn
                await session.run(partial(archive.add, session, key))
            return StreamingResponse(archive.parts(), media_type="application/zip")
        except BaseException:
            archive.close()
            raise

    @app.delete("/api/images/{image}", tags=["images"], status_code=204)
    async def close(image: ImagePath) -> None:
        """Closes an open image."""
        await session.run(lambda: session.images.pop(image, None))


def _add_teaching(app: FastAPI, session: Session) -> None:
    world = session.world

    @app.post("/api/learn", tags=["world"], response_model=forms.Changed, responses=_REFUSED)
    async def learn(form: forms.LearnForm) -> Response:
        """Teaches a class from examples on open images; answers when it is on the disk."""

        def job() -> bytes:
            world.follow()
            name = form.name.strip()
            told = world.teach(name, prepared(session, form), form.force, form.author)
            return _changed(session, form.relabel, lesson=views.lesson(told), done=f"learnt {name}")

        return _json(await session.run(job))

    @app.post("/api/preview", tags=["world"], response_model=forms.Previewed)
    async def preview(form: forms.LearnForm) -> Response:
        """What `learn` would do with the same form, before it is done: nothing is stored."""
        return _json(await session.run(lambda: _previewed(session, form)))

    def change(path: str, form_type: Any, act: Callable[[Any], str]) -> None:
        async def route(form: Any) -> Response:
            def job() -> bytes:
                world.follow()
                done = act(form)
                return _changed(session, form.relabel, done=done)

            return _json(await session.run(job))

        route.__doc__, route.__name__ = act.__doc__, path
        route.__annotations__["form"] = form_type
        app.post(f"/api/{path}", tags=["world"], response_model=forms.Changed)(route)

    def forget(form: forms.ForgetForm) -> str:
        """Drops a taught class; `undo` brings it back."""
        world.forget(form.name, form.author)
        return f"forgot {form.name}"

    def rename(form: forms.RenameForm) -> str:
        """Gives a taught class another name."""
        world.rename(form.name, form.new, form.author)
        return f"renamed {form.name} to {form.new.strip()}"

    def merge(form: forms.MergeForm) -> str:
        """Gives the examples of one taught class to another."""
        world.merge(form.name, form.into, form.author)
        return f"merged {form.name} into {form.into}"

    def recolour(form: forms.RecolourForm) -> str:
        """Gives a taught class another colour."""
        red, green, blue = bytes.fromhex(form.colour[1:])
        world.recolour(form.name, (red, green, blue), form.author)
        return f"recoloured {form.name}"

    def undo(form: forms.UndoForm) -> str:
        """Takes the last change back, or the given one."""
        event = world.undo(form.event, form.author)
        return f"undid {event.action} {event.name}"

    change("forget", forms.ForgetForm, forget)
    change("rename", forms.RenameForm, rename)
    change("merge", forms.MergeForm, merge)
    change("recolour", forms.RecolourForm, recolour)
    change("undo", forms.UndoForm, undo)


def _previewed(session: Session, form: forms.LearnForm) -> bytes:
    """The answer to `preview`; at most so many other images at a time."""
    session.world.follow()
    name, marked = session.world.usable_name(form.name.strip()), list(images_of(form))
    others = [key for key in dict.fromkeys(form.relabel) if key in session.images and key not in marked]
    now, left = others[:_PREVIEWED], others[_PREVIEWED:]
    examples = prepared(session, form)  # it may close images
    kept = [key for key in now if key in session.images]
    pairs = [(image.bare, image.tables) for image in map(session.image, kept)]
    found = foreseen(session.world, name, examples, pairs)
    covered = {key: session.runs(each.mask) for key, each in zip([*marked, *kept], found.images, strict=True)}
    named = {"covers": found.coverage, "outside": found.outside, "iou": found.iou, "conflicts": found.conflicts}
    body = {
        "state": session.world.snapshot.state,
        **named,
        "covered": covered,
        "left": left,
        "lesson": views.lesson(found),
    }
    return json.dumps(body, ensure_ascii=False).encode()


def _changed(session: Session, keys: Sequence[str], lesson: dict[str, Any] | None = None, done: str = "") -> bytes:
    session.world.follow()
    patches, left = session.patches(keys)
    snapshot = session.world.snapshot
    told = {
        "state": snapshot.state,
        "calibration": views.calibration(snapshot),
        "classes": views.classes(session.world, snapshot),
        "patches": patches,
        "left": left,
        "lesson": lesson,
        "done": done,
    }
    return json.dumps(told, ensure_ascii=False).encode()


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
