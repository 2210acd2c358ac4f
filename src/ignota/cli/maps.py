"""Raw maps of anomaly scores on the grid of the images: DIR/SCORE/NAME.npy, float32, higher = more anomalous.

A call that was stopped goes on where it was. `--maps` of `evaluate anomaly` and `compare` reads such a folder back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_backend, add_world, command
from ignota.cli.terminal import complain, progress, say
from ignota.errors import InputError

if TYPE_CHECKING:
    from ignota.cli.inputs import Picture
    from ignota.world.model import OpenWorldModel


def arguments(parser: Parser) -> None:
    parser.add_argument(
        "images", nargs="+", type=str, help="images and videos, folders of them, or patterns such as '*.jpg'"
    )
    parser.add_argument("--scores", type=str, required=True, metavar="A,B", help="names, as for `evaluate anomaly`")
    add_world(parser)
    add_backend(parser)
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="where the maps go")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of videos, take each N-th frame alone")
    parser.add_argument("--again", action="store_true", help="do what is finished once more")


@command(
    "maps IMAGE… --scores a,b,… [--world WORLD] --out DIR [--every N] [--again]",
    "ignota maps photos/ --scores raml,max_logit,region:knn --out maps",
    arguments,
)
def run(args: Namespace) -> None:
    if args.every < 1:
        raise UsageError(f"--every is 1 or more, not {args.every}")

    from ignota.cli.inputs import image_files, picture_count, read_pictures, still_to_do, targets
    from ignota.cli.measuring import words_of
    from ignota.cli.results import score_marks
    from ignota.data.drafts import sweep
    from ignota.evaluation.choices import chosen_scores

    out = Path(args.out)
    sweep(out)
    named = targets(image_files(args.images, out), out)
    faults: list[InputError] = []
    names: list[str] = []
    done = 0
    with opened_world(args) as world:
        marks = score_marks(world, chosen_scores(words_of(args.scores) or [], world))
        with progress(picture_count(named.values(), args.every), "maps", "image", args.quiet) as bar:

            def wanted(name: str, path: Path, frame: int | None) -> bool:
                return args.again or bool(_missing(out, name, path, marks))

            for picture in still_to_do(read_pictures(named, args.every, wanted), names, faults, bar):
                missing = list(marks) if args.again else _missing(out, picture.name, picture.path, marks)
                _write(out, picture, world, missing, marks)
                done += 1
    if names and not args.quiet:
        before = f", {len(names) - done} of them finished before" if done < len(names) else ""
        folders = ", ".join(str(out / folder_of(score)) for score in marks)
        say(f"{len(names)} image{'' if len(names) == 1 else 's'}{before} → {folders}")
    complain(faults)


def folder_of(score: str) -> str:
    """The folder of a score's maps: a colon is none that every file system takes."""
    return score.replace(":", "-")


def _missing(out: Path, name: str, path: Path, marks: Mapping[str, str]) -> list[str]:
    """The scores whose map of an image is not there, or comes from another world or image."""
    made = _made(out, name, path)
    return [s for s, mark in marks.items() if made.get(s) != mark or not _file(out, s, name).is_file()]


def _made(out: Path, name: str, path: Path) -> dict[str, str]:
    """By what each map of an image was made, as NAME.json tells; empty where the image is another one now."""
    from ignota.cli.results import image_fingerprint, read_result

    made_by = (read_result(out / f"{name}.json") or {"made_by": {}})["made_by"]
    made = made_by.get("maps")
    same = made_by.get("image") and made_by["image"] == image_fingerprint(path)
    return made if same and isinstance(made, dict) else {}


def _write(out: Path, picture: Picture, world: OpenWorldModel, scores: Sequence[str], marks: Mapping[str, str]) -> None:
    """Writes maps of an image, then NAME.json, which says where all of them come from."""
    from ignota.cli.results import image_fingerprint
    from ignota.data.files import as_text, write_json
    from ignota.evaluation.component_reading import to_size
    from ignota.formats.score_maps import write_map

    assert picture.image is not None
    height, width = picture.image.shape[:2]
    for score, found in world.scores(world.encode(picture.image), scores).items():
        write_map(_file(out, score, picture.name), to_size(found.cpu().numpy(), (height, width)))
    made = _made(out, picture.name, picture.path) | {score: marks[score] for score in scores}
    size = {"width": width, "height": height, "frame": picture.frame}
    made_by = {"image": image_fingerprint(picture.path), "maps": made}
    write_json(out / f"{picture.name}.json", {"image": as_text(str(picture.path)), **size, "made_by": made_by})


def _file(out: Path, score: str, name: str) -> Path:
    return out / folder_of(score) / f"{name}.npy"
