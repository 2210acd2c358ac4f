"""Any module, by the names of its layers."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ignota.models.segmenter import Tap
from ignota.models.tapped import TappedModule, from_factory
from ignota.structures import InputError


class Net(nn.Module):
    """A stem, a backbone that returns a dict and a list inside it, a classifier, and logits wrapped as asked."""

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda logits: logits, enlarge: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.backbone = nn.ModuleDict({"deep": nn.Conv2d(4, 6, 3, 2, 1), "pair": Pair()})
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Conv2d(6, 5, 1)
        self.idle = nn.Conv2d(6, 5, 1)
        self.wrap, self.enlarge = wrap, enlarge

    def forward(self, images: Tensor) -> Any:
        deep = self.backbone["deep"](self.stem(images))
        self.backbone["pair"](deep)
        self.pool(deep)
        logits = self.classifier(deep)
        return self.wrap(F.interpolate(logits, size=images.shape[-2:], mode="bilinear") if self.enlarge else logits)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"first": x, "rest": [x, x + 1]}


def test_taps_are_the_layers_outputs() -> None:
    net = Net().eval()
    segmenter = TappedModule(net, {"early": "stem", "late": "backbone.pair:first"}, multiple=4)
    assert segmenter.taps == {"decoder": Tap(6, 4), "early": Tap(4, 2), "late": Tap(6, 4)}
    images = torch.randn(2, 3, 32, 48)
    output = segmenter(images)
    assert torch.equal(output.features["early"], net.stem(images))
    deep = net.backbone["deep"](net.stem(images))
    assert torch.equal(output.features["decoder"], deep) and torch.equal(output.features["late"], deep)
    assert torch.equal(output.logits, net.classifier(deep))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: {"out": x, "aux": x},
        lambda x: {"logits": x},
        lambda x: SimpleNamespace(logits=x),
        lambda x: (x, None),
    ],
)
def test_logits_are_found_in_every_usual_output(wrap: Callable[[Tensor], Any]) -> None:
    segmenter = TappedModule(Net(wrap), multiple=4)
    assert segmenter.num_classes == 5 and segmenter.classifier_name == "classifier" and segmenter.logits_stride == 4


def test_a_named_decoder_leaves_the_network_s_own_logits() -> None:
    net = Net().eval()
    segmenter = TappedModule(net, {"decoder": "backbone.deep"}, 5, multiple=4).eval()
    images = torch.randn(1, 3, 33, 21)
    assert segmenter.logits_stride == 1
    assert torch.equal(segmenter(images[..., :32, :20]).logits, net(images[..., :32, :20]))
    assert segmenter(images).logits.shape == (1, 5, 33, 21)


def test_one_size_only() -> None:
    segmenter = TappedModule(Net(), {"early": "stem"}, fixed_size=(32, 64)).eval()
    output = segmenter(torch.randn(1, 3, 100, 70))
    assert output.logits.shape == (1, 5, 25, 18) and output.features["early"].shape == (1, 4, 50, 35)


def test_encoder_and_head() -> None:
    net = Net()
    assert len(TappedModule(net, multiple=4).encoder_parameters()) == 2  # `backbone` by itself
    assert len(TappedModule(net, encoder="stem", multiple=4).encoder_parameters()) == 2
    nameless = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1))
    segmenter = TappedModule(nameless, multiple=2)
    assert segmenter.encoder_parameters() == list(nameless[0].parameters())
    assert segmenter.head_parameters() == list(nameless[1].parameters())


def test_hooks_do_not_outlive_the_call_and_copies_work() -> None:
    segmenter = TappedModule(Net(), {"early": "stem"}, multiple=4).eval()
    twin = copy.deepcopy(segmenter)
    nn.init.zeros_(twin.module.stem.weight)
    images = torch.randn(1, 3, 32, 32)
    assert not torch.equal(segmenter(images).features["early"], twin(images).features["early"])
    assert not any(module._forward_hooks for module in segmenter.modules())
    segmenter.module.classifier = nn.Conv2d(7, 5, 1)  # fails in the middle of a call
    with pytest.raises(RuntimeError):
        segmenter(images)
    assert not any(module._forward_hooks for module in segmenter.modules())


def test_two_threads_do_not_mix() -> None:
    net = Net()
    net.classifier.register_forward_hook(lambda *_: time.sleep(0.005))  # long enough for another thread to come between
    segmenter = TappedModule(net, {"early": "stem"}, multiple=4).eval()
    images = [torch.full((1, 3, 32, 32), float(i)) for i in range(8)]
    expected = [segmenter(image).features["early"] for image in images]
    found: dict[int, Tensor] = {}

    def run(index: int) -> None:
        found[index] = segmenter(images[index]).features["early"]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], expected[i]) for i in range(8))


def test_training_mode_is_left_as_it_was() -> None:
    net = Net().train()
    net.stem.eval()
    segmenter = TappedModule(net, multiple=4)
    assert segmenter.training and net.backbone.training and not net.stem.training
    assert not TappedModule(Net().eval(), multiple=4).training


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": {"early": "stemm"}}, "no layer 'stemm'; did you mean 'stem'?"),
        ({"classifier": "clasifier"}, "did you mean 'classifier'?"),
        ({"encoder": "bakbone"}, "did you mean 'backbone'?"),
        ({"layers": {"early": "idle"}}, "'idle' takes no part"),
        ({"layers": {"early": "pool"}}, "is no grid over an image"),
        ({"layers": {"early": "backbone.pair"}}, "is no feature map B F h w but dict"),
        ({"layers": {"early": "backbone.pair:second"}}, "has no item 'second'"),
        ({"num_classes": 7}, "gives 5 logits, not 7"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        TappedModule(Net(), multiple=4, **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Net(lambda x: {"masks": x}), "gives no logits"),
        (Net(lambda x: x.exp()), "name the layer as classifier or decoder"),
        (nn.Conv2d(4, 5, 1), "cannot take an image of 64×128"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), "no convolution gives its logits"),
    ],
)
def test_networks_that_are_no_segmenters(net: nn.Module, words: str) -> None:
    with pytest.raises(InputError) as caught:
        TappedModule(net, multiple=32)
    assert words in str(caught.value) and "\n" not in str(caught.value)


FACTORY = """
from pathlib import Path
from torch import nn
Path(__file__).with_suffix(".imported").touch()
number = 3
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1))
def nothing():
    return None
"""


def test_a_factory_needs_leave_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebodys_factory.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="allow_code=True"):
        from_factory("somebodys_factory:network")
    assert not (tmp_path / "somebodys_factory.imported").exists()
    segmenter = from_factory("somebodys_factory:network", allow_code=True, layers={"first": "0"}, multiple=2)
    assert segmenter.taps == {"decoder": Tap(4, 2), "first": Tap(4, 2)}
    assert segmenter.factory == "somebodys_factory:network"
    for name, words in [
        ("netwrk", "did you mean 'network'"), ("number", "no function 'number'"), ("nothing", "returned NoneType"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            from_factory(f"somebodys_factory:{name}", allow_code=True)
    with pytest.raises(InputError, match="cannot import 'no_such_module_here'"):
        from_factory("no_such_module_here:f", allow_code=True)
    with pytest.raises(InputError, match="write package"):
        from_factory("package", allow_code=True)
