"""Runs a command of `ignota` in this process, counts how often its networks run, and reads how much memory it holds.

    python benchmarks/evaluation_memory.py evaluate anomaly camvid --data $IGNOTA_DATA/camvid --world WORLD

Passes are counted by a hook on every segmenter and frozen encoder; memory is the resident set of this process from
/proc, read at each pass of the segmenter, that is once an image if no score runs the networks again. Prints both after
10, 40 and 100 passes and at the end.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from ignota.cli import main
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.segmenter import ClosedSetSegmenter

STOPS = (10, 40, 100)


def resident(kind: str = "VmRSS") -> float:
    """MiB of this process now; VmHWM: the most it ever was."""
    return int(re.findall(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


class Watch:
    """Counts passes and reads memory; a global forward hook."""

    def __init__(self) -> None:
        self.passes: Counter[str] = Counter()
        self.memory: list[float] = []
        self.started = time.monotonic()

    def __call__(self, module: nn.Module, *_: object) -> None:
        if isinstance(module, FrozenEncoder):
            self.passes["frozen encoder"] += 1
        if isinstance(module, ClosedSetSegmenter):
            self.passes["segmenter"] += 1
            self.memory.append(resident())
            if len(self.memory) in STOPS:
                self.say(f"{len(self.memory)} passes")

    def say(self, when: str) -> None:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.passes.items()))
        held = f"{resident():.0f} MiB now, {resident('VmHWM'):.0f} at most"
        print(f"{when}: {counts}; {held}; {time.monotonic() - self.started:.0f} s", flush=True)

    def slope(self, first: int = 10) -> float:
        """MiB that each further image adds, from the tenth on."""
        tail = self.memory[first - 1 :]
        return float(np.polyfit(range(len(tail)), tail, 1)[0]) if len(tail) > 1 else 0.0


if __name__ == "__main__":
    watch = Watch()
    register_module_forward_hook(watch)
    code = main(sys.argv[1:])
    watch.say("the end")
    print(f"{watch.slope():+.2f} MiB an image from the tenth on")
    sys.exit(code)
