"""Options of a command: jsonargparse's types, our own one-line errors."""

from __future__ import annotations

import re
from argparse import HelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import nan
from typing import Any, Literal, NoReturn, cast, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from ignota.cli.commands import COMMANDS, hint
from ignota.cli.outcome import UsageError, collapsed
from ignota.training.configuration import System
from ignota.training.settings import LARGEST, SMALLEST, in_words

DEFAULT_WORLD = "camvid-11"
LABEL_FORMATS = "indexed, cityscapes, coco, labelme, label-studio, cvat, datumaro, fiftyone, smiyc"
OLD_SPELLINGS = {
    "--allow_code": "--allow-code",
    "--allow_download": "--allow-download",
    "--target_fpr": "--target-fpr",
}
"""Options that were written otherwise in 0.1: no help shows them, and every command takes them until 1.0."""
Device = Literal["auto", "cpu", "cuda"]
Recipe = Literal["auto", "full", "light"]
Backend = Literal["torch", "torch-bf16", "compile", "onnx", "onnx-int8"]
"""The keys of `ignota.backends.choosing.BACKENDS`, which `--help` is not to wait for."""
Method = Literal["raml", "raml_paper", "raml_released", "raml_tuned", "raml_urs", "npm_frozen"]
"""The methods of `ignota.world.labelling.METHODS`."""


@dataclass(frozen=True)
class Command:
    """A command. usage: as in the list of commands. example: a call that can be typed. run: its docstring, or that of
    its module, describes the command."""

    usage: str
    example: str
    arguments: Callable[[Parser], None]
    run: Callable[[Namespace], None]


def command(
    usage: str, example: str, arguments: Callable[[Parser], None]
) -> Callable[[Callable[[Namespace], None]], Command]:
    """Makes a function a command that `ignota.cli.commands.COMMANDS` can name."""
    return partial(Command, usage, example, arguments)


class Parser(ArgumentParser):
    """jsonargparse's parser: it checks types, errors are in the project's form.

    renamed: option as people write it -> as the parser knows it, where the two must differ.
    """

    def __init__(self, name: str) -> None:
        module, _, function = COMMANDS[name].place.partition(":")
        found = import_module(f"ignota.cli.{module}")
        self.command: Command = getattr(found, function)
        self.kinds: dict[str, Any] = {}
        self.renamed: dict[str, str] = {}
        super().__init__(
            prog=f"ignota {name}",
            usage=f"ignota {self.command.usage}",
            description=self.command.run.__doc__ or found.__doc__,
            formatter_class=HelpFormatter,
            allow_abbrev=False,
        )
        self.command.arguments(self)
        for option, kind, meaning in _EVERYWHERE:
            if option not in self._option_string_actions:
                self.add_argument(option, type=kind, default="auto" if kind in (Device, Recipe) else None, help=meaning)
        self.add_argument(
            "--plugin",
            action="append",
            default=[],
            metavar="FILE.py",
            help="code of your own that brings scores or data sets; may be repeated",
        )
        self.add_argument("--quiet", action="store_true", help="no progress, only the result")
        self.add_argument("--verbose", action="store_true", help="what the program does and how long it takes")
        self.add_argument("--version", action="store_true", help="print the version")

    def add_argument(self, *names: str, **options: Any) -> Any:
        """As argparse's; the type is kept, so that errors can tell what is asked for."""
        if names[0] not in ("-h",) and hasattr(self, "kinds"):
            self.kinds[names[0].lstrip("-").replace("-", "_")] = options.get("type", str)
        return super().add_argument(*names, **options)

    def parse(self, words: Sequence[str]) -> Namespace:
        """The values of a call, and under `words` the call itself; raises UsageError."""
        for word in words:
            if not word or (word.startswith("--") and word.endswith("=")):
                raise UsageError("a word of the call is empty, as from a variable that is not set: give it a value")
        args: Namespace = self.parse_args([self._known_option(word) for word in words])
        args.words = [*self.prog.split()[1:], *words]
        size = args.get("size")
        if isinstance(size, int) and not SMALLEST <= size <= LARGEST:
            raise UsageError(f"--size is the short side in pixels, {SMALLEST} to {LARGEST}, not {size}")
        seed = args.get("seed")
        if isinstance(seed, int) and not 0 <= seed < 2**32:
            raise UsageError(f"--seed is a whole number from 0 to {2**32 - 1}, not {seed}")
        return args

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """Help with the options as people write them."""
        text = str(super().format_help(formatter))
        for shown, inner in self.renamed.items():
            pad = " " * (len(inner) - len(shown))
            text = re.sub(rf"{re.escape(inner)}(?![\w.])( \S+)?( *)", rf"{shown}\1\2{pad}", text)
        return f"{text}\nexample: {self.command.example}\n"

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """One line for whatever jsonargparse complains of."""
        text = str(message)
        found = re.search(r'key "([\w.-]+)":', text)
        value = re.search(r"(?:Got|Given) value: (.*)", text, re.DOTALL)
        if found and value and found[1] in self.kinds:
            option, kind = self._as_written(found[1]), self.kinds[found[1]]
            raise UsageError(
                f"{option} wants {in_words(kind)}, not {collapsed(value[1])[:80]!r}{_choice(value[1], kind)}"
            )
        text = re.sub(
            r"required: (.*)", lambda m: "required: " + ", ".join(map(self._as_written, m[1].split(", "))), text
        )
        raise UsageError(f"{collapsed(text)}; `{self.prog} --help` shows an example")

    def _known_option(self, word: str) -> str:
        if not word.startswith("--") or word == "--":
            return word
        name, equals, value = word.partition("=")
        name = OLD_SPELLINGS.get(name, name)
        known = [option for option in self._option_string_actions if option.startswith("--")]
        inner = self.renamed.get(name, name)
        if inner not in known:
            inner = "--" + name[2:].replace("-", "_")
        if inner not in known:
            shown = [option for option in known if option not in self.renamed.values()]
            raise UsageError(f"`{self.prog}` has no option {name}{hint(name, [*shown, *self.renamed])}")
        return f"{inner}{equals}{value}"

    def _as_written(self, key: str) -> str:
        for option in (f"--{key}", f"--{key.replace('_', '-')}"):
            if option in self._option_string_actions:
                return {inner: shown for shown, inner in self.renamed.items()}.get(option, option)
        return key.upper()


def add_world(parser: Parser, own: bool = False) -> None:
    """`--world`; own: it is changed, so it must be somebody's own."""
    if own:
        parser.add_argument("--world", type=str, required=True, help="a world of your own, from `ignota init`")
    else:
        parser.add_argument("--world", type=str, default=DEFAULT_WORLD, help=f"a bundle or shipped ({DEFAULT_WORLD})")
    add_code(parser)
    add_download(parser)


def add_dataset(parser: Parser, kind: str) -> None:
    """DATASET, `--data`, `--split`, and the world that is measured on it; kind: which data sets serve."""
    parser.add_argument("dataset", type=str, help=f"name of a data set{kind}")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where it lies")
    parser.add_argument("--split", type=str | None, default=None, help="val, or else the only one present")
    add_world(parser)
    add_backend(parser)


def add_code(parser: Parser) -> None:
    """`--allow-code`: without it no code that a world names is run."""
    parser.add_argument("--allow-code", action="store_true", help="run the code that a world's segmenter is made of")


def add_download(parser: Parser) -> None:
    """`--allow-download`: without it no command asks a hub for weights, whatever a file says."""
    parser.add_argument("--allow-download", action="store_true", help="let a hub be asked for weights named `hub`")


def add_branches(parser: Parser, text: str) -> None:
    """`--branches`: systems by name, separated by commas."""
    parser.add_argument("--branches", type=str | None, default=None, metavar="A,B", help=text)


def branches_of(args: Namespace) -> tuple[System, ...] | None:
    """The systems that `--branches` names, None where it was not given; raises UsageError for an unknown one."""
    if args.branches is None:
        return None
    names = tuple(dict.fromkeys(word.strip() for word in args.branches.split(",") if word.strip()))
    for name in names:
        if name not in get_args(System):
            raise UsageError(f"--branches: no system {name!r}{hint(name, get_args(System))}")
    return cast(tuple[System, ...], names)


def three_numbers(args: Namespace, name: str) -> tuple[float, float, float] | None:
    """The option `name`, one number a colour, or None where it was left out; raises UsageError."""
    if args[name] is None:
        return None
    try:
        red, green, blue = (float(word) for word in args[name].split(","))
    except ValueError:
        red = green = blue = nan
    least = 1e-3 if name.endswith("std") else -1e3
    if not all(least <= value <= 1e3 for value in (red, green, blue)):  # as world.json has them; NaN is none
        option = f"--{name.replace('_', '-')}"
        raise UsageError(f"{option} wants three numbers R,G,B from {least:g} to 1000, not {args[name]!r}")
    return red, green, blue


def add_shard(parser: Parser) -> None:
    """`--shard` and `--state`, for data sets that several machines measure."""
    parser.add_argument("--shard", type=str | None, default=None, metavar="K/N", help="every N-th image, from the K-th")
    parser.add_argument(
        "--state",
        type=str | None,
        default=None,
        metavar="DIR",
        help="where its state goes, for `ignota evaluate merge`",
    )


def check_shard(args: Namespace) -> None:
    """Raises UsageError where one is given without the other, or figures are asked for that a part cannot have."""
    if args.shard is not None and args.state is None:
        raise UsageError("--shard measures a part: say by --state DIR where its state goes")
    if args.state is not None and args.json is not None:
        raise UsageError("a part has no figures: `ignota evaluate merge DIR… --json FILE` gives those of all")


def add_outside(parser: Parser) -> None:
    """`--maps`: anomaly maps that another method has written."""
    parser.add_argument(
        "--maps",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="maps of another method to measure beside the scores, one .npy or .hdf5 an image; may be repeated",
    )


def add_backend(parser: Parser) -> None:
    """`--backend`, `--calibrate` and `--tile`: how the networks are run."""
    parser.add_argument("--backend", type=Backend, default="torch", help="what runs the networks; see `benchmark`")
    parser.add_argument(
        "--calibrate", type=str | None, default=None, metavar="IMAGES", help="training images for onnx-int8, once"
    )
    parser.add_argument(
        "--tile", type=int | None, default=None, metavar="N", help="side of tiles; 0 none; by default for large images"
    )


_EVERYWHERE: tuple[tuple[str, Any, str], ...] = (
    ("--device", Device, "where to compute; auto takes the GPU if there is one"),
    ("--size", int | None, "short side of the working images in pixels"),
    ("--seed", int | None, "start of all random numbers"),
    ("--recipe", Recipe, "of the world's own score: full (with objectness) where it can be followed, else light"),
)


def _choice(value: str, kind: Any) -> str:
    if get_origin(kind) is not Literal:
        return ""
    close = hint(collapsed(value), [str(choice) for choice in get_args(kind)])
    return close if "did you mean" in close else ""
