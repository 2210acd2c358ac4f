"""A segmenter from a program written by `torch.export.save`."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignota.models.program import Program
from ignota.models.segmenter import AdaptedSegmenter
from ignota.structures import InputError, Preprocessing

_SAME_GRID = re.compile(r"^torch\.ops\.aten\.(upsample_\w+|_upsample_\w+|contiguous|clone|_to_copy|to|alias|dropout)\.")
_CLASSIFIERS = re.compile(r"^torch\.ops\.aten\.(conv2d|convolution)\.")
_MULTIPLE = re.compile(r"^(?:Mul\(Integer\((\d+)\), Symbol\([^()]*\)\)|(\d+)\*s\d+|Symbol\([^()]*\)|s\d+)$")


class ExportedSegmenter(AdaptedSegmenter):
    """The network in a .pt2 file, read without running code from it (see Program).

    The program takes one batch of images and returns logits, or a tuple that starts with them, or a dict with
    "logits" or "out"; further outputs that are maps become taps of the same name ("featureN" in a tuple). The tap
    `decoder`, where it is not among them, is what the last convolution before the logits reads, and the logits are
    then that convolution's, before the program's own enlargement. A program exported for one image size gets images
    resized to it, one exported for one batch size gets its batches so; free sizes are padded to the multiple that the
    program declares, or to `multiple`. encoder_parameters are those under `encoder` or `backbone`, else all.
    Raises InputError.
    """

    def __init__(
        self, path: str | Path, preprocessing: Preprocessing | None = None, multiple: int | None = None
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.origin = str(path)
        self.preprocessing = preprocessing or Preprocessing()
        self.program = Program(self.path)
        batch, _, height, width = self.program.input_sizes
        self._batch = batch if isinstance(batch, int) else None
        if isinstance(height, int) and isinstance(width, int):
            self.fixed_size = (height, width)
            self.multiple = 1
        elif isinstance(height, int) or isinstance(width, int):
            raise InputError(f"{path} fixes one side of the image alone: export it with both free or both fixed")
        else:
            self.multiple = multiple or max(self._declared_multiple(height), self._declared_multiple(width))
        self._logits = next((name for name in ("logits", "out", "", "0") if name in self.program.outputs), None)
        if self._logits is None:
            names = ", ".join(self.program.outputs)
            raise InputError(
                f"{path} returns {names} and no logits: export it to return a tensor or a dict with 'logits'"
            )
        self._classifier = None if "decoder" in self.program.outputs else self._find_classifier()
        self.measure()

    def _declared_multiple(self, size: dict[str, Any]) -> int:
        text = str(size.get("as_expr", {}).get("expr_str", "")).strip()
        match = _MULTIPLE.match(text)
        if match is None:
            raise InputError(f"{self.path}: a side of the image is {text!r}: export it with a free side or a multiple")
        return int(match[1] or match[2] or 1)

    def _find_classifier(self) -> tuple[str, str]:
        """Names of the values that the last convolution reads and writes, going back from the logits."""
        value = self.program.outputs[str(self._logits)]
        while (node := self.program.producer(value)) is not None:
            if _CLASSIFIERS.match(node.target):
                return node.reads[0], value
            if not _SAME_GRID.match(node.target):
                break
            value = node.reads[0]
        raise InputError(
            f"{self.path}: its logits come from no convolution: export it to return 'decoder' beside 'logits'"
        )

    def grids(self, images: Tensor) -> dict[str, Tensor]:
        if self._batch is None or len(images) == self._batch:
            return self._run(images)
        parts = [self._run(torch.cat([part, part[-1:].expand(self._batch - len(part), -1, -1, -1)]))
                 for part in images.split(self._batch)]  # fmt: skip
        return {name: torch.cat([part[name] for part in parts])[: len(images)] for name in parts[0]}

    def _run(self, images: Tensor) -> dict[str, Tensor]:
        found = self.program(images, also=self._classifier or ())
        grids = {"logits": found[str(self._logits)]}
        if self._classifier is not None:
            grids = {"decoder": found[self._classifier[0]], "logits": found[self._classifier[1]]}
        for name in self.program.outputs:
            if name != self._logits and found[name].ndim == 4:
                grids[f"feature{name}" if name.isdigit() else name] = found[name]
        return grids

    def encoder_parameters(self) -> list[nn.Parameter]:
        named = dict(self.program.named_parameters())
        for prefix in ("encoder/", "backbone/"):
            found = [parameter for name, parameter in named.items() if name.startswith(prefix)]
            if found:
                return found
        return list(named.values())


def copy_program(source: Path, target: Path) -> None:
    """Writes the part of an exported program that is ever read, so that no pickle travels with it.

    Raises InputError if `source` cannot be run from a file at all.
    """
    Program(source)
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            if name in ("byteorder", "models/model.json") or name.startswith(("data/weights/", "data/constants/")):
                copy.writestr(zipfile.ZipInfo(info.filename), archive.read(info))
