"""The forms of requests and answers; their examples appear in OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ignota.web.session import KEY

ImageKey = Annotated[str, StringConstraints(pattern=KEY, min_length=24, max_length=24)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Author = Annotated[str, StringConstraints(max_length=64)]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
_EXAMPLE_KEY = "5f70bf18a086007016e948b0"


class Form(BaseModel):
    """Unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ClickForm(Form):
    """A point in pixels of the original image, and how far round it the thing reaches. plus, minus: further points that
    lie on the thing, and points that do not."""

    x: Coordinate
    y: Coordinate
    extent: Literal["object", "unknown", "region", "channels", "union"] = "object"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    plus: Annotated[list[tuple[Coordinate, Coordinate]], Field(max_length=32)] = []
    minus: Annotated[list[tuple[Coordinate, Coordinate]], Field(max_length=32)] = []


class RleForm(Form):
    """A mask in COCO's run-length code, packed or as a list, on the original image or on the working grid."""

    size: Annotated[list[Annotated[int, Field(ge=1, le=65_000)]], Field(min_length=2, max_length=2)]
    counts: (
        Annotated[str, StringConstraints(max_length=8_000_000)]
        | Annotated[list[Annotated[int, Field(ge=0, le=1_000_000_000)]], Field(max_length=2_000_000)]
    )


class MarkForm(Form):
    """One of four ways to show a thing on an open image."""

    image: ImageKey
    rle: RleForm | None = None
    polygon: Annotated[list[tuple[Coordinate, Coordinate]], Field(max_length=10_000)] | None = None
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    click: ClickForm | None = None

    @model_validator(mode="after")
    def one(self) -> MarkForm:
        if sum(given is not None for given in (self.rle, self.polygon, self.box, self.click)) != 1:
            raise ValueError("give one of rle, polygon, box, click")
        return self


class ByForm(Form):
    """author: who does it, for the history. relabel: open images that are to be labelled again."""

    author: Author = ""
    relabel: Annotated[list[ImageKey], Field(max_length=1000)] = []


class LearnForm(ByForm):
    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {"name": "moose", "examples": [{"image": _EXAMPLE_KEY, "click": {"x": 812, "y": 340}}]},
                {"name": "moose", "examples": [{"image": _EXAMPLE_KEY, "box": [700, 250, 930, 470]}], "force": True},
            ]
        },
    )
    name: Name
    examples: Annotated[list[MarkForm], Field(max_length=20)]
    against: Annotated[list[MarkForm], Field(max_length=20, description="marks of what is not the class")] = []
    force: bool = False

    @model_validator(mode="after")
    def something(self) -> LearnForm:
        if not self.examples and not self.against:
            raise ValueError("give an example at least; a taught class may get marks against it alone")
        return self


class GroupForm(ByForm):
    """group: its key. without: regions that are left out."""

    group: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    name: Name
    without: Annotated[list[Annotated[int, Field(ge=0, le=10**9)]], Field(max_length=10_000)] = []
    force: bool = False


class ForgetForm(ByForm):
    name: Name


class RenameForm(ByForm):
    name: Name
    new: Name


class MergeForm(ByForm):
    name: Name
    into: Name


class RecolourForm(ByForm):
    name: Name
    colour: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$", max_length=7)]


class UndoForm(ByForm):
    event: Annotated[int, Field(ge=1, le=2**62)] | None = None


class RelabelForm(Form):
    images: Annotated[list[ImageKey], Field(max_length=1000)]


class ExportForm(Form):
    images: Annotated[list[ImageKey], Field(min_length=1, max_length=64)]
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5


class Problem(BaseModel):
    """Every refusal: one line that says what is wrong and how to fix it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "no taught class 'mose' to forget"}]})
    error: str


class LessonView(BaseModel):
    """What the class covers of the marks, what outside them, and what it takes from others; shares in 0..1."""

    name: str
    examples: int
    pixels: int
    recognised: float
    outside: float
    iou: float
    stolen: dict[str, float]
    stolen_held: dict[str, float]
    doubts: list[str]


class Refusal(Problem):
    lesson: LessonView


class RegionView(BaseModel):
    """box: left, top, right, bottom. score: mean anomaly in 0..1. nearest: the class it would most often be."""

    box: list[int]
    area: int
    score: float
    nearest: str
    rle: dict[str, Any]
    embedding: list[float] | None = None


class ClassView(BaseModel):
    """thumbnail: the newest example, as a data URI."""

    id: int
    name: str
    colour: str
    taught: bool
    examples: int
    thumbnail: str | None


class Seen(BaseModel):
    """An image as the world sees it. regions: unknown ones at the world's own threshold.

    grid: height and width of the working grid. patch: what taught classes changed in `layers`, see there. maps: PNG in
    base64.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "image": _EXAMPLE_KEY,
                    "name": "street.jpg",
                    "width": 1280,
                    "height": 720,
                    "grid": [540, 960],
                    "state": 3,
                    "unknown_share": 0.021,
                    "shares": {"road": 0.4, "sky": 0.2},
                    "patch": "AAAAAA==",
                    "regions": [
                        {
                            "box": [700, 250, 930, 470],
                            "area": 19500,
                            "score": 0.87,
                            "nearest": "car",
                            "rle": {"size": [720, 1280], "counts": "…"},
                            "embedding": None,
                        }
                    ],
                    "maps": None,
                }
            ]
        }
    )
    image: str
    name: str
    width: int
    height: int
    grid: list[int]
    state: int
    unknown_share: float
    shares: dict[str, float]
    patch: str
    regions: list[RegionView]
    maps: dict[str, str] | None = None


class Changed(BaseModel):
    """The world after a change, and the patches of the images that were to be labelled again.

    left: open images whose patches did not fit into this answer; `relabel` gives them. calibration: in words, empty
    where there is none; where it has changed, the layers of open images have changed as well.
    """

    state: int
    calibration: str = ""
    classes: list[ClassView]
    patches: dict[str, str]
    left: list[str] = []
    lesson: LessonView | None = None
    done: str = ""


class Previewed(BaseModel):
    """What a class would do; shares in 0..1, as in a refusal.

    covers: of the marked pixels, how many. outside: of what it covers on the marked images, how much lies outside the
    marks. conflicts: of each other class, the share that it would take. covered: per open image, the marked ones
    first, the pixels that it would cover, as runs: the head of a patch. left: images to ask for next.
    """

    state: int
    covers: float
    outside: float
    iou: float
    conflicts: dict[str, float]
    covered: dict[str, str]
    left: list[str]
    lesson: LessonView


class ClassList(BaseModel):
    state: int
    calibration: str
    writable: bool
    world: str
    classes: list[ClassView]


class FolderImage(BaseModel):
    """unknown: share of its pixels, null for an image that was not opened yet. shares: of each class that is there.

    current: whether these figures are of the world as it is now. groups: of `discover`, those that show in it.
    """

    number: int
    name: str
    unknown: float | None
    shares: dict[str, float]
    current: bool
    groups: list[str]


class FolderPage(BaseModel):
    """total: images in the folder. matching: those that the query means. classes, groups: what can be asked for."""

    total: int
    matching: int
    classes: list[str]
    groups: list[str]
    images: list[FolderImage]


class GroupView(BaseModel):
    """anomaly: mean, in 0..1. nearest: known classes. exemplars: how many of its regions teach it. rows: regions, those
    that show most of the group first. name: the class that they were taught to. parts: what a split makes of it."""

    key: str
    regions: int
    images: int
    compactness: float
    anomaly: float
    nearest: list[str]
    exemplars: int
    rows: list[int]
    name: str | None
    parts: list[GroupView]


class GroupPage(BaseModel):
    total: int
    groups: list[GroupView]


class EventView(BaseModel):
    key: int
    at: str
    author: str
    action: str
    name: str
    detail: str
    exemplars: int
    undone_by: int | None


class ExemplarView(BaseModel):
    key: int
    name: str
    image_sha256: str
    source: str
    given: str
    author: str
    at: str
    mask: dict[str, Any] | None
    thumbnail: str | None


class Health(BaseModel):
    status: str
    version: str
    world: str
    writable: bool
    images: int
    waiting: int
