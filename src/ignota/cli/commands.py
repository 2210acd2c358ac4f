"""Every command by name: a new one is a module with USAGE, EXAMPLE, `arguments` and `run`, and one row here."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ignota.cli.outcome import UsageError


@dataclass(frozen=True)
class Command:
    """The module of a command, imported only when it is called, and what the command does in one line."""

    module: str
    summary: str


COMMANDS: dict[str, Command] = {
    "demo": Command("ignota.cli.demo", "the whole loop on the built-in synthetic world"),
    "run": Command("ignota.cli.run", "all stages of an experiment, resumable"),
    "adapt": Command("ignota.cli.adapt", "a world around a segmenter that you already have"),
    "init": Command("ignota.cli.init", "a writable copy of a world"),
    "segment": Command("ignota.cli.segment", "labels, anomaly and unknown regions of images"),
    "serve": Command("ignota.cli.serve", "a world on a web page and over HTTP"),
    "learn": Command("ignota.cli.learn", "teaches a class from a few images and what shows it there"),
    "calibrate": Command("ignota.cli.calibrate", "reference and threshold from unlabelled images of your camera"),
    "forget": Command("ignota.cli.forget", "drops a taught class"),
    "undo": Command("ignota.cli.undo", "takes the last change of a world back"),
    "rename": Command("ignota.cli.rename", "gives a taught class another name"),
    "merge": Command("ignota.cli.merge", "gives the examples of one taught class to another"),
    "recolour": Command("ignota.cli.recolour", "gives a taught class another colour"),
    "history": Command("ignota.cli.history", "lists what a world was taught and what was taken back"),
    "classes": Command("ignota.cli.classes", "lists the classes of a world"),
    "seal": Command("ignota.cli.seal", "checks a world whose document was edited, and seals it again"),
    "upgrade": Command("ignota.cli.upgrade", "brings a world of an older schema to today's"),
    "push": Command("ignota.cli.push", "writes a world to a repository on a hub"),
    "pull": Command("ignota.cli.pull", "fetches a world from a repository on a hub"),
    "maps": Command("ignota.cli.maps", "raw maps of any anomaly scores, one .npy an image and score"),
    "evaluate anomaly": Command("ignota.cli.evaluate_anomaly", "measures anomaly scores on a data set"),
    "evaluate closed": Command("ignota.cli.evaluate_closed", "measures the known classes on a data set"),
    "evaluate incremental": Command("ignota.cli.evaluate_incremental", "measures few-shot learning of new classes"),
    "evaluate wild": Command("ignota.cli.evaluate_wild", "teaches every object of a data set of anomalies once"),
    "evaluate merge": Command("ignota.cli.evaluate_merge", "joins what several machines measured of one data set"),
    "discover": Command("ignota.cli.discover", "sorts what is unknown in many images into groups to be named"),
    "suggest": Command("ignota.cli.suggest", "says which images are worth labelling next"),
    "compare": Command("ignota.cli.compare", "ranks anomaly scores on your own data"),
    "fit": Command("ignota.cli.fit", "adds further anomaly scores to a world"),
    "reproduce": Command("ignota.cli.reproduce", "the paper's tables and figures, its numbers beside ours"),
    "export": Command("ignota.cli.export", "a world as one ONNX file or exported program"),
    "benchmark": Command("ignota.cli.benchmark", "which backend is fastest on this machine"),
    "export-labels": Command("ignota.cli.export_labels", "labels in the format of another program"),
    "import-labels": Command("ignota.cli.import_labels", "labels of another program as a data set"),
    "data check": Command("ignota.cli.data_check", "looks a data set through and explains every fault"),
    "data synthesize": Command("ignota.cli.data_synthesize", "writes synthetic scenes in a data set's layout"),
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
