"""Every command by name: a new one is a function decorated by `parsing.command`, and one row here."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ignota.cli.outcome import UsageError


@dataclass(frozen=True)
class Entry:
    """The place of a command, MODULE:NAME, imported only when it is called, and what the command does in one line."""

    place: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "demo": Entry("experiments:demo", "the whole loop on the built-in synthetic world"),
    "run": Entry("experiments:run", "all stages of an experiment, resumable"),
    "adapt": Entry("adapt:run", "a world around a segmenter that you already have"),
    "init": Entry("world_folders:init", "a writable copy of a world"),
    "segment": Entry("segment:run", "labels, anomaly and unknown regions of images"),
    "serve": Entry("serve:run", "a world on a web page and over HTTP"),
    "learn": Entry("learn:run", "teaches a class from a few images and what shows it there"),
    "calibrate": Entry("calibrate:run", "reference and threshold from unlabelled images of your camera"),
    "forget": Entry("taught_classes:forget", "drops a taught class"),
    "undo": Entry("taught_classes:undo", "takes the last change of a world back"),
    "rename": Entry("taught_classes:rename", "gives a taught class another name"),
    "merge": Entry("taught_classes:merge", "gives the examples of one taught class to another"),
    "recolour": Entry("taught_classes:recolour", "gives a taught class another colour"),
    "history": Entry("taught_classes:history", "lists what a world was taught and what was taken back"),
    "classes": Entry("taught_classes:classes", "lists the classes of a world"),
    "seal": Entry("world_folders:seal", "checks a world whose document was edited, and seals it again"),
    "upgrade": Entry("world_folders:upgrade", "brings a world of an older schema to today's"),
    "push": Entry("world_folders:push", "writes a world to a repository on a hub"),
    "pull": Entry("world_folders:pull", "fetches a world from a repository on a hub"),
    "maps": Entry("maps:run", "raw maps of any anomaly scores, one .npy an image and score"),
    "evaluate anomaly": Entry("evaluate:anomaly", "measures anomaly scores on a data set"),
    "evaluate closed": Entry("evaluate:closed", "measures the known classes on a data set"),
    "evaluate incremental": Entry("evaluate:incremental", "measures few-shot learning of new classes"),
    "evaluate wild": Entry("evaluate_wild:run", "teaches every object of a data set of anomalies once"),
    "evaluate merge": Entry("evaluate:merge", "joins what several machines measured of one data set"),
    "discover": Entry("discover:run", "sorts what is unknown in many images into groups to be named"),
    "suggest": Entry("suggest:run", "says which images are worth labelling next"),
    "compare": Entry("compare:run", "ranks anomaly scores on your own data"),
    "fit": Entry("fit:run", "adds further anomaly scores to a world"),
    "reproduce": Entry("experiments:reproduce", "the paper's tables and figures, its numbers beside ours"),
    "export": Entry("backends:export", "a world as one ONNX file or exported program"),
    "benchmark": Entry("backends:benchmark", "which backend is fastest on this machine"),
    "export-labels": Entry("labels:export", "labels in the format of another program"),
    "import-labels": Entry("labels:import_", "labels of another program as a data set"),
    "data check": Entry("data_sets:check", "looks a data set through and explains every fault"),
    "data synthesize": Entry("data_sets:synthesize", "writes synthetic scenes in a data set's layout"),
}


def find_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command at the head of `words` and what is left; raises UsageError naming the nearest one."""
    groups = {name.partition(" ")[0] for name in COMMANDS if " " in name}
    first = words[0]
    if first in groups:
        inner = [name.partition(" ")[2] for name in COMMANDS if name.startswith(f"{first} ")]
        if len(words) > 1 and words[1] in ("-h", "--help"):
            return first, []
        if len(words) < 2:
            raise UsageError(f"{first} what? there are: {', '.join(f'{first} {word}' for word in inner)}")
        if words[1] not in inner:
            raise UsageError(f"no command {f'{first} {words[1]}'!r}{hint(words[1], inner, f'{first} ')}")
        return f"{first} {words[1]}", list(words[2:])
    if first not in COMMANDS:
        raise UsageError(f"no command {first!r}{hint(first, [*COMMANDS, *groups])}")
    return first, list(words[1:])


def hint(word: str, candidates: Sequence[str], prefix: str = "") -> str:
    """The nearest candidate, or all of them where none is near."""
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {prefix + close[0]!r}?"
    return f"; there are: {', '.join(prefix + name for name in candidates)}" if len(candidates) <= 25 else ""


def overview(version: str, group: str = "") -> str:
    """The commands, one line each."""
    shown = {name: command for name, command in COMMANDS.items() if name.startswith(group)}
    width = max(map(len, shown))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in shown.items()]
    head = f"ignota {version}: open-world semantic segmentation. See the unknown, learn it, prove it."
    tail = "`ignota COMMAND --help` shows its options and an example, `--print-completion bash` completes them."
    return "\n".join([head, "", *lines, "", tail, ""])
