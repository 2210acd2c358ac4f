"""Programs written by torch.export.save, run without trusting the file."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ignota.models.exported import ExportedSegmenter, copy_program
from ignota.models.program import Program
from ignota.structures import InputError, Preprocessing

Programs = tuple[Path, Path, nn.Module]
GRAPH = "models/model.json"


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of an archive in which each entry is what `change(name, content)` returns; None leaves it out."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for info in archive.infolist():
            content = change(info.filename.partition("/")[2], archive.read(info))
            if content is not None:
                copy.writestr(info.filename, content)
    return target


def with_graph(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy whose graph `change` has edited."""

    def edit(name: str, content: bytes) -> bytes:
        if name != GRAPH:
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return rewritten(source, target, edit)


def one_line(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        ExportedSegmenter(path)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@torch.no_grad()
def test_it_runs_as_the_network_that_was_exported(programs: Programs) -> None:
    free, fixed, network = programs
    images = torch.randn(3, 3, 40, 72)
    found, expected = Program(free)(images), network(images)
    assert list(found) == ["logits", "early", "more.0", "more.1"]
    for name, value in zip(found, (expected["logits"], expected["early"], *expected["more"]), strict=True):
        assert torch.equal(found[name], value), name
    image = torch.randn(1, 3, 64, 96)
    assert torch.equal(Program(fixed)(image)["logits"], network(image)["logits"])


@torch.no_grad()
def test_taps_are_its_outputs_and_the_last_convolution_s_input(programs: Programs) -> None:
    segmenter = ExportedSegmenter(programs[0]).eval()
    network: Any = programs[2]
    assert {name: (tap.channels, tap.stride) for name, tap in segmenter.taps.items()} == {
        "decoder": (10, 8), "early": (8, 2), "more.0": (16, 8),
    }  # fmt: skip
    images = torch.randn(2, 3, 64, 96)
    output, expected = segmenter(images), network(images)
    assert torch.equal(output.features["early"], expected["early"])
    assert torch.equal(output.logits, network.head[-1](output.features["decoder"]))
    torch.testing.assert_close(F.interpolate(output.logits, (64, 96), mode="bilinear"), expected["logits"])


@torch.no_grad()
def test_one_size_and_one_image_serve_any(programs: Programs) -> None:
    segmenter = ExportedSegmenter(programs[1]).eval()
    assert segmenter.fixed_size == (64, 96)
    images = torch.randn(3, 3, 64, 96)
    torch.testing.assert_close(segmenter(images).logits, ExportedSegmenter(programs[0])(images).logits)
    for height, width in ((32, 48), (160, 200)):
        other = torch.randn(2, 3, height, width)
        resized = F.interpolate(other, (64, 96), mode="bilinear", antialias=True)
        expected = F.interpolate(segmenter(resized).logits, (height // 8, width // 8), mode="bilinear")
        torch.testing.assert_close(segmenter(other).logits, expected)


@torch.no_grad()
def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    class Regroup(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(x.shape[0] * 2, -1).view(x.shape)  # writes the batch size into the program

    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Regroup(), nn.Conv2d(4, 5, 1)).eval()
    segmenter = ExportedSegmenter(_save(network, tmp_path / "p.pt2", torch.randn(2, 3, 32, 64)))
    for count in (1, 2, 5):
        images = torch.randn(count, 3, 32, 64)
        torch.testing.assert_close(segmenter(images).logits, network(images))


def test_the_declared_multiple_is_padded_to(programs: Programs) -> None:
    assert ExportedSegmenter(programs[0]).multiple == 8
    assert ExportedSegmenter(programs[0], Preprocessing((0.0,) * 3), multiple=16).multiple == 16


def test_encoder_parameters_are_those_below_encoder(programs: Programs) -> None:
    segmenter = ExportedSegmenter(programs[0])
    names = {id(parameter): name for name, parameter in segmenter.named_parameters()}
    assert {names[id(parameter)].split("/")[1] for parameter in segmenter.encoder_parameters()} == {"stem", "backbone"}
    assert len(segmenter.head_parameters()) == 4


def test_shared_tensors_stay_shared(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.last.weight = self.first.weight

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(images).relu())

    network, images = Tied().eval(), torch.randn(1, 3, 64, 64)
    torch.export.save(torch.export.export(network, (images,)), tmp_path / "tied.pt2")
    segmenter = ExportedSegmenter(tmp_path / "tied.pt2")
    assert len(list(segmenter.parameters())) == 3
    assert torch.equal(segmenter(images).logits, network(images))


def test_memory_is_given_back_while_it_runs(programs: Programs) -> None:
    program = Program(programs[0])
    dropped = [name for node in program._nodes for name in node.drops]
    assert len(dropped) == len(set(dropped)) > 10
    assert not set(dropped) & set(program.outputs.values())


def test_a_copy_holds_no_pickle_and_runs_the_same(programs: Programs, tmp_path: Path) -> None:
    copy_program(programs[0], tmp_path / "copy.pt2")
    with zipfile.ZipFile(tmp_path / "copy.pt2") as archive:
        assert not any(name.endswith((".pt", ".pkl")) for name in archive.namelist())
        assert b"\x80\x02" not in b"".join(archive.read(name) for name in archive.namelist() if "/weights/" not in name)
        assert {info.date_time for info in archive.infolist()} == {
            (1980, 1, 1, 0, 0, 0)
        }  # so that its digest is stable
    images = torch.randn(1, 3, 64, 64)
    one, other = ExportedSegmenter(tmp_path / "copy.pt2"), ExportedSegmenter(programs[0])
    assert torch.equal(one(images).logits, other(images).logits)
    copy_program(tmp_path / "copy.pt2", tmp_path / "again.pt2")
    assert (tmp_path / "again.pt2").read_bytes() == (tmp_path / "copy.pt2").read_bytes()


class Bomb:
    def __init__(self, sign: Path) -> None:
        self.sign = str(sign)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.sign,)


def test_a_pickle_in_the_archive_is_never_opened(programs: Programs, tmp_path: Path) -> None:
    sign, buffer = tmp_path / "executed", io.BytesIO()
    torch.save((Bomb(sign),), buffer)
    hostile = rewritten(
        programs[0], tmp_path / "p.pt2", lambda name, x: buffer.getvalue() if "sample_inputs" in name else x
    )
    ExportedSegmenter(hostile)
    assert not sign.exists()

    def pickled(name: str, content: bytes) -> bytes:
        if name.endswith("model_weights_config.json"):
            config = json.loads(content)
            config["config"]["head.3.bias"] |= {"use_pickle": True}
            return json.dumps(config).encode()
        return content

    one_line(rewritten(programs[0], tmp_path / "q.pt2", pickled), "no readable exported program")
    assert not sign.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system", "_operator.attrgetter", "torch.load", "torch.ops.aten.from_file.default", "builtins.eval",
        "torch.ops.aten.save.default", "torch.ops.aten.warn.default",
        "torch.ops.aten.__class__.default", "torch.ops.aten.conv2d.__globals__", "torch.ops.higher_order.cond",
        "torch.ops.aten._embedding_bag.default", "torch.ops.mkldnn._linear_pointwise.default", "",
    ],
)  # fmt: skip
def test_only_harmless_operators_are_run(programs: Programs, tmp_path: Path, target: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["graph_module"]["graph"]["nodes"][0]["target"] = target

    one_line(with_graph(programs[0], tmp_path / "p.pt2", change), "allow_code=True", repr(target))


def test_expressions_are_not_evaluated(programs: Programs, tmp_path: Path) -> None:
    sign = tmp_path / "executed"
    evil = f"__import__('os').mkdir({str(sign)!r})"

    def change(document: dict[str, Any]) -> None:
        graph = document["graph_module"]["graph"]
        for value in graph["sym_int_values"].values():
            value["as_expr"]["expr_str"] = evil
        for meta in graph["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = evil
        document["guards_code"] = [evil]

    one_line(with_graph(programs[0], tmp_path / "p.pt2", change), "a side of the image is")
    assert not sign.exists()


def test_other_files_are_one_line(programs: Programs, tmp_path: Path) -> None:
    free = programs[0]
    one_line(tmp_path / "nowhere.pt2", "does not exist")
    (tmp_path / "p.pt2").write_bytes(bytes(range(256)) * 4)
    one_line(tmp_path / "p.pt2", "write it by torch.export.save")
    (tmp_path / "p.pt2").write_bytes(free.read_bytes()[:5000])
    one_line(tmp_path / "p.pt2")
    torch.save({"a": torch.zeros(2)}, tmp_path / "p.pt2")
    one_line(tmp_path / "p.pt2")
    one_line(rewritten(free, tmp_path / "p.pt2", lambda name, x: None if name == GRAPH else x))
    one_line(rewritten(free, tmp_path / "p.pt2", lambda name, x: x[:8] if name == "data/weights/weight_0" else x))
    one_line(rewritten(free, tmp_path / "p.pt2", lambda name, x: b"big" if name == "byteorder" else x))

    def newer(document: dict[str, Any]) -> None:
        document["schema_version"]["major"] = 99

    one_line(with_graph(free, tmp_path / "p.pt2", newer), "schema 99")


def test_compressed_archives_are_refused(programs: Programs, tmp_path: Path) -> None:
    """Torch stores; a small archive that grows a thousandfold is an attack."""
    with (
        zipfile.ZipFile(programs[0]) as archive,
        zipfile.ZipFile(tmp_path / "p.pt2", "w", zipfile.ZIP_DEFLATED) as copy,
    ):
        for info in archive.infolist():
            copy.writestr(info.filename, archive.read(info))
    one_line(tmp_path / "p.pt2")


def test_damage_in_the_graph_is_one_line(programs: Programs, tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def break_one(document: Any) -> None:
        """Replaces one random leaf by a value of another kind."""
        place, key = document, None
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = keys[int(random.integers(len(keys)))]
            if not isinstance(place[key], dict | list) or not place[key]:
                break
            place = place[key]
        place[key] = [None, -1, "x", {}, [], 1e30][int(random.integers(6))]

    for _ in range(40):
        path = with_graph(
            programs[0], tmp_path / "p.pt2", lambda document: break_one(document["graph_module"]["graph"])
        )
        try:
            ExportedSegmenter(path)
        except InputError as error:
            assert "\n" not in str(error)


def _save(network: nn.Module, path: Path, *inputs: torch.Tensor, train: bool = False) -> Path:
    torch.export.save(torch.export.export(network.train(train), inputs), path)
    return path


def test_programs_that_are_no_segmenters(tmp_path: Path) -> None:
    class Dictionary(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"boxes": x}

    path, image = tmp_path / "p.pt2", torch.randn(1, 3, 32, 64)
    one_line(_save(Dictionary(), path, image), "returns boxes and no logits")
    one_line(_save(nn.ReLU(), path, image), "come from no convolution")
    one_line(_save(nn.Conv2d(4, 2, 1), path, torch.randn(1, 4, 8, 8)), "does not take one batch of images")
    one_line(_save(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), path, image, train=True), ".eval()")
