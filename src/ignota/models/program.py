"""Runs a program written by `torch.export.save` without trusting it.

`torch.export.load` unpickles parts of the archive and resolves operators and expressions by name, so a hostile file
runs code. Here only two things are read: the graph, which is JSON, and raw tensors; the graph is then run node by node,
and a node may only be an ATen operator or plain arithmetic on sizes. Whatever else an archive holds (sample inputs,
compiled kernels, custom objects) is never opened.
"""

from __future__ import annotations

import json
import math
import operator
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignota.structures import InputError

_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
_SCHEMA_MAJOR = 8

# operators on sizes, and the private ATen operators that ordinary networks export to
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge")
} | {
    "math.ceil": math.ceil, "math.floor": math.floor, "math.trunc": math.trunc, "torch.sym_max": max,
    "torch.sym_min": min, "torch.sym_int": int, "torch.sym_float": float,
}  # fmt: skip
_PRIVATE = {
    "_adaptive_avg_pool2d", "_assert_scalar", "_assert_tensor_metadata", "_log_softmax", "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training", "_scaled_dot_product_flash_attention_for_cpu", "_softmax", "_to_copy",
    "_unsafe_view", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_weight_norm",
}  # fmt: skip
_REFUSED = {"from_file"}  # opens a path of its choice


class Program(nn.Module):
    """A traced network read from `path`: forward maps one image batch to its outputs by name.

    outputs: the leaves of what the traced network returned, named by their place ("logits", "pair.0"; "" where it
    returned one tensor), each with the name of its value in the graph. input_sizes: the declared sizes "B 3 H W" of
    the input, each an int where it is fixed and a dict of the expression where it may vary. Raises InputError.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                graph, self._tensors = self._read(_Archive(archive))
        except FileNotFoundError:
            raise InputError(f"{path} does not exist") from None
        except InputError:
            raise
        except (OSError, zipfile.BadZipFile, RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError,
                RecursionError, NotImplementedError) as error:  # fmt: skip
            raise InputError(
                f"{path} is no readable exported program ({type(error).__name__}): write it by torch.export.save"
            ) from None
        self._check(graph)

    def _read(self, archive: _Archive) -> tuple[dict[str, Any], dict[str, str]]:
        """The graph, and for each of its lifted inputs the name under which the tensor is registered here."""
        content = archive.json("models/model.json")
        major = content["schema_version"]["major"]
        if major != _SCHEMA_MAJOR:
            raise InputError(
                f"{self.path} has schema {major}, not {_SCHEMA_MAJOR}: export it again by torch 2.8 or later"
            )
        module = content["graph_module"]
        tensors = archive.tensors("data/weights/", "model_weights_config.json")
        tensors |= archive.tensors("data/constants/", "model_constants_config.json")
        lifted: dict[str, str] = {}
        owners: dict[int, str] = {}
        for spec in module["signature"]["input_specs"]:
            ((kind, value),) = spec.items()
            if kind == "user_input":
                self._input = value["arg"]["as_tensor"]["name"]
                self.input_count = getattr(self, "input_count", 0) + 1
                continue
            if kind == "constant_input":
                continue
            if kind not in ("parameter", "buffer", "tensor_constant"):
                raise InputError(
                    f"{self.path} holds a {kind.replace('_', ' ')}, which is not run: export it without one"
                )
            source = value[f"{kind}_name"]
            name = owners.setdefault(id(tensors[source]), source.replace(".", "/"))
            if name not in self._parameters and name not in self._buffers:
                self._register(name, tensors[source], kind == "parameter")
            lifted[value["arg"]["name"]] = name
        self.input_sizes = [size.get("as_int", size) for size in module["graph"]["tensor_values"][self._input]["sizes"]]
        self.outputs = _output_names(module)
        return module["graph"], lifted

    def _register(self, name: str, tensor: Tensor, learns: bool) -> None:
        if learns and tensor.is_floating_point():
            self.register_parameter(name, nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor)

    def _check(self, graph: Mapping[str, Any]) -> None:
        if getattr(self, "input_count", 0) != 1 or len(self.input_sizes) != 4 or self.input_sizes[1] != 3:
            raise InputError(f"{self.path} does not take one batch of images B 3 H W: its input is {self.input_sizes}")
        self._nodes = [_Node(node, self.path) for node in graph["nodes"]]
        last = {name: index for index, node in enumerate(self._nodes) for name in node.reads}
        kept = set(self.outputs.values())
        for index, node in enumerate(self._nodes):
            node.drops = [name for name in node.reads if last[name] == index and name not in kept]

    def forward(self, images: Tensor, also: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """The outputs by name, and the inner values `also` by their names in the graph."""
        values: dict[str, Any] = {name: getattr(self, registered) for name, registered in self._tensors.items()}
        values[self._input] = images
        found: dict[str, Any] = {}
        for node in self._nodes:
            node.run(values, images.device)
            found |= {name: values[name] for name in also if name in values and name not in found}
            for name in node.drops:
                values.pop(name, None)
        return {name: values[source] for name, source in self.outputs.items()} | found

    def producer(self, value: str) -> _Node | None:
        """The node that computes a value; None for an input."""
        return next((node for node in self._nodes if value in node.writes), None)


class _Node:
    """One operator call of the graph, checked when it is read."""

    def __init__(self, node: Mapping[str, Any], path: Path) -> None:
        self.target = str(node["target"])
        self.function = _resolve(self.target, path)
        self.arguments = [(str(given["name"]), given["arg"]) for given in node["inputs"]]
        if any(name in ("training", "train") and argument.get("as_bool") for name, argument in self.arguments):
            raise InputError(f"{path} was exported in training mode: call .eval() on the network before exporting")
        self.writes = [name for output in node["outputs"] for name in _names(output)]
        self.structure = node["outputs"]
        self.reads = list(dict.fromkeys(name for _, argument in self.arguments for name in _names(argument)))
        self.drops: list[str] = []
        self.path = path

    def run(self, values: dict[str, Any], device: torch.device) -> None:
        given = {name: _value(argument, values, device) for name, argument in self.arguments}
        schema = getattr(self.function, "_schema", None)
        if schema is None:
            result = self.function(*given.values())
        else:
            first = [a.name for a in schema.arguments[:1] if a.name in given and not a.kwarg_only]
            result = self.function(*[given.pop(name) for name in first], **given)
        if len(self.structure) == 1 and "as_tensors" not in self.structure[0]:
            result = (result,)
        for name, value in zip(self.writes, result if isinstance(result, (tuple, list)) else (), strict=False):
            values[name] = value


class _Archive:
    """The parts of a .pt2 archive that are read, and its checks."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.root = archive.namelist()[0].split("/")[0]
        if self.bytes("byteorder") != b"little":
            raise ValueError("big-endian tensors")

    def bytes(self, name: str) -> bytes:
        info = self.archive.getinfo(f"{self.root}/{name}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError("compressed entry")  # torch never writes one: a small file must not grow in memory
        return self.archive.read(info)

    def json(self, name: str) -> Any:
        return json.loads(self.bytes(name))

    def tensors(self, folder: str, index: str) -> dict[str, Tensor]:
        """Raw tensors by name; those that share their bytes and shape are one tensor."""
        shared: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}
        for name, entry in self.json(folder + index)["config"].items():
            if entry["use_pickle"] or entry["tensor_meta"] is None:
                raise ValueError(f"{name} is pickled")
            key = json.dumps([entry["path_name"], entry["tensor_meta"]], sort_keys=True)
            if key not in shared:
                shared[key] = self._tensor(folder + entry["path_name"], entry["tensor_meta"])
            found[name] = shared[key]
        return found

    def _tensor(self, name: str, meta: Mapping[str, Any]) -> Tensor:
        dtype = _DTYPES[meta["dtype"]]
        sizes, strides = [s["as_int"] for s in meta["sizes"]], [s["as_int"] for s in meta["strides"]]
        content = bytearray(self.bytes(name))
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()


def _resolve(target: str, path: Path) -> Callable[..., Any]:
    """The operator called `target`, if it is one that a network needs and that touches nothing but its operands."""
    if target in _ARITHMETIC:
        return _ARITHMETIC[target]
    parts = target.split(".")
    if parts[:3] == ["torch", "ops", "aten"] and len(parts) == 5:
        name, overload = parts[3:]
        if name not in _REFUSED and (not name.startswith("_") or name in _PRIVATE):
            packet = getattr(torch.ops.aten, name, None)
            if isinstance(packet, torch._ops.OpOverloadPacket) and overload in packet.overloads():
                function = getattr(packet, overload)
                if torch._C._dispatch_has_kernel(function.name()):  # TorchScript's own, such as `save`, have none
                    return function
    raise InputError(
        f"{path} calls {target!r}, which is not run from a file",
        "give the network as package:factory with allow_code=True",
    )


def _names(argument: Mapping[str, Any]) -> list[str]:
    """The values that an argument refers to."""
    ((kind, content),) = argument.items()
    if kind in ("as_tensor",):
        return [content["name"]]
    if kind == "as_tensors":
        return [item["name"] for item in content]
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return [content["as_name"]] if "as_name" in content else []
    if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
        return [item["as_name"] for item in content if "as_name" in item]
    if kind == "as_optional_tensors":
        return [item["as_tensor"]["name"] for item in content if "as_tensor" in item]
    if kind == "as_optional_tensor":
        return [content["as_tensor"]["name"]] if "as_tensor" in content else []
    return []


def _value(argument: Mapping[str, Any], values: Mapping[str, Any], device: torch.device) -> Any:
    """An argument's value; tensors that the program makes for itself live on the device of the images."""
    ((kind, content),) = argument.items()
    if kind == "as_none":
        return None
    if kind in ("as_int", "as_bool", "as_ints", "as_bools", "as_string", "as_int_lists"):
        return content
    if kind == "as_float":
        return float(content)  # infinities are written as words
    if kind == "as_floats":
        return [float(item) for item in content]
    if kind == "as_tensor":
        return values[content["name"]]
    if kind == "as_tensors":
        return [values[item["name"]] for item in content]
    if kind == "as_optional_tensor":
        return values[content["as_tensor"]["name"]] if "as_tensor" in content else None
    if kind == "as_optional_tensors":
        return [values[item["as_tensor"]["name"]] if "as_tensor" in item else None for item in content]
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return _symbol(content, values)
    if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
        return [_symbol(item, values) for item in content]
    if kind == "as_device":
        return device
    if kind == "as_scalar_type":
        return _DTYPES[content]
    if kind == "as_memory_format":
        return _MEMORY_FORMATS[content]
    if kind == "as_layout" and content == 7:
        return torch.strided
    raise InputError(f"an exported program has an argument of kind {kind}, which is not run: export it without")


def _symbol(content: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    return values[content["as_name"]] if "as_name" in content else next(iter(content.values()))


def _output_names(module: Mapping[str, Any]) -> dict[str, str]:
    """{place in what the traced network returned: name of the value}; raises InputError for a program that learns."""
    sources = []
    for spec in module["signature"]["output_specs"]:
        ((kind, value),) = spec.items()
        if kind != "user_output":
            raise InputError("an exported program changes its own state: call .eval() on the network before exporting")
        sources.append(value["arg"].get("as_tensor", {}).get("name"))
    tree = json.loads(module["module_call_graph"][0]["signature"]["out_spec"])[1]
    places = _places(tree, "")
    return {place: source for place, source in zip(places, sources, strict=True) if source is not None}


def _places(tree: Mapping[str, Any], place: str) -> list[str]:
    """The leaves of a tree specification in order: "logits", "features.0"."""
    if tree["type"] is None:
        return [place]
    children = tree["children_spec"]
    keys = json.loads(tree["context"]) if tree["context"] else None
    if not isinstance(keys, list) or len(keys) != len(children):
        keys = range(len(children))
    return [leaf for key, child in zip(keys, children, strict=True)
            for leaf in _places(child, f"{place}.{key}" if place else str(key))]  # fmt: skip
