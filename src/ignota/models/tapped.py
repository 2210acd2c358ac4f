"""Any nn.Module as a segmenter, by naming the layers whose outputs are the taps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ignota.models.allowed_code import is_allowed, remember
from ignota.models.segmenter import AdaptedSegmenter, ClosedSetSegmenter, evaluating, is_resized, prefixed_parameters
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import nearest

_ONE_AT_A_TIME = threading.RLock()  # hooks belong to the module, not to the call: calls from two threads must not mix


@contextmanager
def captured(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, tuple[Any, Any]]]:
    """While open, {layer: (its first input, its output)} of the last call of each named layer."""
    calls: dict[str, tuple[Any, Any]] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def keep(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] = (inputs[0] if inputs else None, output)

        return keep

    with _ONE_AT_A_TIME:
        handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in layers]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()


def find_layer(network: nn.Module, name: str, origin: str) -> str:
    """`name`, if the network has such a layer; raises InputError with the nearest name."""
    names = [found for found, _ in network.named_modules() if found]
    if name not in names:
        hint = nearest(name, names)
        if "did you mean" not in hint:  # the list of a deep network's layers would fill the screen
            hint = nearest(name, [found for found in names if "." not in found])
        raise InputError(f"{origin} has no layer {name!r}{hint}")
    return name


def logits_of(output: Any, origin: str) -> Tensor:
    """The logits in a network's output: a tensor, a mapping with "logits" or "out", `.logits`, or the first item."""
    if isinstance(output, Mapping):
        output = output.get("logits", output.get("out"))
    elif hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise InputError(f"{origin} gives no logits: return a tensor, or a dict with 'logits' or 'out'")
    return output


def find_classifier(network: nn.Module, images: Tensor, logits: Callable[[Any], Tensor]) -> str | None:
    """The last convolution whose output is the logits, enlarged or not: the paper's G. None if there is none."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    with captured(network, names) as calls:
        final = logits(network(images))
    fitting = [name for name, (_, output) in calls.items() if is_resized(output, final)]
    return fitting[-1] if fitting else None


def _select(output: Any, key: str, where: str) -> Any:
    """The item `key` of a layer's output, by name or by position."""
    try:
        return output[key] if isinstance(output, Mapping) else output[int(key)]
    except (KeyError, IndexError, ValueError, TypeError):
        raise InputError(f"the output of {where} has no item {key!r}") from None


class TappedModule(AdaptedSegmenter):
    """Any network whose forward maps images "B 3 H W" to logits, with taps at named layers.

    layers: {tap: layer}, a layer being its dotted name ("backbone.layer3") or, where its output is a list or a dict,
    "name:item" ("backbone:out", "encoder:-1"). classifier: the layer that maps the decoder's features to logits: its
    input is the tap `decoder`, its output, before any enlargement, the logits; found by itself when neither it nor a
    layer `decoder` is given. encoder: the submodule that counts as encoder (default: `backbone` or `encoder`, else
    all but the classifier). multiple: sides of images are padded to it. Raises InputError.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Mapping[str, str] | None = None,
        num_classes: int | None = None,
        preprocessing: Preprocessing | None = None,
        classifier: str | None = None,
        encoder: str | None = None,
        multiple: int = 32,
        fixed_size: tuple[int, int] | None = None,
        origin: str | None = None,
    ) -> None:
        super().__init__()
        self.origin = origin or type(module).__name__
        self.module = module
        self.training = module.training
        self.preprocessing = preprocessing or Preprocessing()
        self.multiple = multiple
        self.fixed_size = (int(fixed_size[0]), int(fixed_size[1])) if fixed_size else None
        self.layers = dict(layers or {})
        for layer in self.layers.values():
            find_layer(module, layer.partition(":")[0], self.origin)
        self.encoder_name = find_layer(module, encoder, self.origin) if encoder else None
        self.classifier_name = find_layer(module, classifier, self.origin) if classifier else None
        if self.classifier_name is None and "decoder" not in self.layers:
            self.classifier_name = self._find_classifier()
        self.measure()
        if num_classes is not None and num_classes != self.num_classes:
            raise InputError(f"{self.origin} gives {self.num_classes} logits, not {num_classes}: correct num_classes")
        self.multiple = 1 if fixed_size else multiple

    def _find_classifier(self) -> str:
        height, width = self.probe_size()
        with evaluating(self.module):
            try:
                found = find_classifier(
                    self.module, torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)),
                    lambda output: logits_of(output, self.origin),
                )  # fmt: skip
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                if isinstance(error, InputError):
                    raise
                cause = (str(error).splitlines() or [type(error).__name__])[0]
                raise InputError(f"{self.origin} cannot take an image of {height}×{width}: {cause}") from None
        if found is None:
            raise InputError(f"{self.origin}: no convolution gives its logits: name the layer as classifier or decoder")
        return found

    def grids(self, images: Tensor) -> dict[str, Tensor]:
        read = {tap: layer.partition(":") for tap, layer in self.layers.items()}
        names = dict.fromkeys(layer for layer, _, _ in read.values())
        if self.classifier_name:
            names[self.classifier_name] = None
        with captured(self.module, list(names)) as calls:
            logits = logits_of(self.module(images), self.origin)
        idle = [name for name in names if name not in calls]
        if idle:
            raise InputError(f"{self.origin}: layer {idle[0]!r} takes no part in the forward pass: name another")
        grids = {}
        if self.classifier_name:
            grids["decoder"], logits = calls[self.classifier_name]
        for tap, (layer, colon, key) in read.items():
            grids[tap] = _select(calls[layer][1], key, layer) if colon else calls[layer][1]
        return {"logits": logits} | grids

    def options(self) -> dict[str, Any]:
        """What builds this adapter again around the same module: plain values, fit for JSON."""
        return {
            "layers": self.layers,
            "classifier": self.classifier_name,
            "encoder": self.encoder_name,
            "multiple": self.multiple,
            "fixed_size": list(self.fixed_size) if self.fixed_size else None,
        }

    def encoder_parameters(self) -> list[nn.Parameter]:
        found = prefixed_parameters(self.module, (self.encoder_name,) if self.encoder_name else ("backbone", "encoder"))
        if found:
            return found
        last = prefixed_parameters(self.module, (self.classifier_name,)) if self.classifier_name else []
        head = {id(parameter) for parameter in last}
        return [parameter for parameter in self.module.parameters() if id(parameter) not in head]


def from_factory(factory: str, allow_code: bool = False, **options: Any) -> ClosedSetSegmenter:
    """The segmenter that "package.module:function" returns; a plain nn.Module is wrapped by TappedModule(**options).

    Importing runs the package's code, so it is refused unless `allow_code`, or where it was allowed before on this
    machine in the same files (see `allowed_code`). Raises InputError.
    """
    package, _, name = factory.partition(":")
    if not package or not name:
        raise InputError(f"{factory!r} names no factory: write package.module:function")
    if not allow_code and not is_allowed(factory):
        raise InputError(f"{factory} would run code of the package {package!r}", "pass allow_code=True if you trust it")
    try:
        module = import_module(package)
    except ImportError as error:
        raise InputError(f"cannot import {package!r} for {factory}: {error}") from None
    if not callable(getattr(module, name, None)):
        names = [found for found in dir(module) if callable(getattr(module, found)) and not found.startswith("_")]
        raise InputError(f"{package} has no function {name!r}{nearest(name, names)}")
    made = getattr(module, name)()
    if allow_code:
        remember(factory)
    if isinstance(made, ClosedSetSegmenter):
        made.factory = factory
        return made
    if not isinstance(made, nn.Module):
        raise InputError(f"{factory} returned {type(made).__name__}: return an nn.Module or a ClosedSetSegmenter")
    tapped = TappedModule(made, origin=factory, **options)
    tapped.factory = factory
    return tapped
