"""Routes of the folder that the server was started on, and of the groups that `discover` found."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import FastAPI, Path, Query, Response
from starlette.exceptions import HTTPException

from ignota.discovery.naming import prepared_rows, rows_to_learn
from ignota.web import forms, views
from ignota.web.folder import Folder, Order
from ignota.web.folder import Query as Wanted
from ignota.web.grouped import Groups
from ignota.web.session import Session
from ignota.world.teaching import Prepared

Changed = Callable[..., bytes]
First = Annotated[int, Query(ge=0, le=10**9)]
Count = Annotated[int, Query(ge=1, le=200)]
Number = Annotated[int, Path(ge=0, le=10**9)]
_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
_BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}


def add_folder(app: FastAPI, session: Session, folder: Folder) -> None:
    """Its list, and of each image a thumbnail and the file."""

    def there(number: int) -> int:
        if number >= len(folder.names):
            raise HTTPException(404, f"the folder has no image {number}")
        return number

    @app.get("/api/folder", tags=["folder"], response_model=forms.FolderPage)
    async def images(
        order: Order = "name",
        name: Annotated[str, Query(max_length=200, description="a class: those that show it")] = "",
        group: Annotated[str, Query(max_length=20, description="a group of `discover`: those that show it")] = "",
        least: Annotated[float, Query(ge=0, le=1, description="share of unknown pixels")] = 0.0,
        first: First = 0,
        count: Count = 60,
    ) -> Any:
        """Images of the folder that the server was started on, page by page."""
        state = session.world.snapshot.state

        def read() -> dict[str, Any]:
            found = folder.matching(Wanted(order, name, group, least))
            return {
                "total": len(folder.names),
                "matching": len(found),
                "classes": folder.classes(),
                "groups": folder.group_keys(),
                "images": [folder.described(number, state) for number in found[first : first + count]],
            }

        return await to_thread.run_sync(read)

    @app.get("/api/folder/{number}/thumbnail", tags=["folder"], response_class=Response, responses=_JPEG)
    async def thumbnail(number: Number) -> Response:
        """A small picture of an image."""
        kept = folder.kept_thumbnail(there(number))
        if kept is None:
            kept = await session.run(lambda: folder.thumbnail(number, session.limits))
        return Response(kept, media_type="image/jpeg")

    @app.get("/api/folder/{number}/file", tags=["folder"], response_class=Response, responses=_BYTES)
    async def file(number: Number) -> Response:
        """An image as it is. Sent to `segment`, it gives the folder its figures."""
        there(number)
        data = await session.run(lambda: folder.file(number, session.limits))
        return Response(data, media_type="application/octet-stream")


def add_groups(
    app: FastAPI, session: Session, groups: Groups | None, changed: Changed, refused: dict[int | str, dict[str, Any]]
) -> None:
    """Their list, the picture of a region, and naming. groups: None where nothing was discovered."""

    def there() -> Groups:
        if groups is None:
            raise HTTPException(404, "no groups: name the folder that `ignota discover` wrote by --results")
        return groups

    @app.get("/api/groups", tags=["groups"], response_model=forms.GroupPage)
    async def listed(first: First = 0, count: Count = 20) -> Any:
        """Groups of unknown regions that look alike, the most useful first."""
        if groups is None:
            return {"total": 0, "groups": []}
        found = await to_thread.run_sync(groups.described, session.world, first, count)
        return {"total": len(groups.made.groups), "groups": found}

    @app.get("/api/regions/{number}", tags=["groups"], response_class=Response, responses=_JPEG)
    async def region(number: Number) -> Response:
        """The picture of a region, one of a group's `rows`."""
        kept = there().kept_tile(number)
        if kept is None:
            kept = await session.run(lambda: there().tile(number))
        return Response(kept, media_type="image/jpeg")

    @app.post("/api/groups/learn", tags=["groups"], response_model=forms.Changed, responses=refused)
    async def learn(form: forms.GroupForm) -> Response:
        """Teaches a class from the regions of a group, as `discover --accept` does; `undo` takes it back."""
        name = session.world.usable_name(form.name.strip())
        named = there().named(form.group, name, frozenset(form.without))
        made: list[Prepared] = []
        for rows in rows_to_learn(there().found, named):  # a job for each image, so that others get their turn
            made += await session.run(partial(prepared_rows, session.world, there().found, name, rows))

        def job() -> bytes:
            session.world.follow()
            if not made:
                return changed(session, form.relabel, done=f"{name} has these regions already")
            told = session.world.teach(name, made, form.force, form.author)
            return changed(session, form.relabel, lesson=views.lesson(told), done=f"learnt {name}")

        return Response(await session.run(job), media_type="application/json")
