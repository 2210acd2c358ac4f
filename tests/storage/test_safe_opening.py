"""Opening a world never reaches the network and never runs code, whatever its document names."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ignota.models.exported import ExportedSegmenter
from ignota.models.opening import open_segmenter
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.perception.branch import Branches
from ignota.perception.known import KnownEvidence
from ignota.perception.networks import Networks
from ignota.storage import bundle
from ignota.storage.seals import sealed
from ignota.structures import InputError

pytest.importorskip("transformers")
HERE = Path(__file__).parent
Place = tuple[str | int, ...]

FACTORY = """
import os
from torch import nn
from ignota.models.tapped import TappedModule

def network():
    if "IGNOTA_SIGN" in os.environ:
        os.makedirs(os.environ["IGNOTA_SIGN"], exist_ok=True)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, CLASSES, 1))
    return TappedModule(layers, {"stage4": "1"}, multiple=8)
"""


class Exportable(nn.Module):
    """The smallest network with a tap `stage4`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        grid = self.stem(images)
        return {"logits": self.head(grid), "stage4": grid.relu()}


class Bomb:
    """Leaves a sign where a pickle of it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["IGNOTA_SIGN"],)


def _smp(folder: Path, classes: int) -> ClosedSetSegmenter:
    import segmentation_models_pytorch as smp

    smp.FPN("tu-tf_efficientnet_lite0", encoder_weights=None, classes=classes, decoder_segmentation_channels=32,
            decoder_pyramid_channels=32).save_pretrained(folder)  # fmt: skip
    return open_segmenter(str(folder))


def _transformers(folder: Path, classes: int) -> ClosedSetSegmenter:
    from transformers import TimmBackboneConfig, UperNetConfig, UperNetForSemanticSegmentation

    backbone = TimmBackboneConfig(backbone="resnet10t", out_indices=[1, 2, 3, 4])
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=16, num_labels=classes, pool_scales=[1, 2], use_auxiliary_head=False
    )
    UperNetForSemanticSegmentation(config).save_pretrained(folder)
    return open_segmenter(str(folder))


def _exported(folder: Path, classes: int) -> ClosedSetSegmenter:
    side = torch.export.Dim
    free = {2: 8 * side("h", min=2, max=512), 3: 8 * side("w", min=2, max=512)}
    program = torch.export.export(Exportable(classes).eval(), (torch.randn(1, 3, 64, 96),), dynamic_shapes=(free,))
    folder.mkdir()
    torch.export.save(program, folder / "net.pt2")
    return ExportedSegmenter(folder / "net.pt2")


def _module(folder: Path, classes: int) -> ClosedSetSegmenter:
    folder.mkdir()
    (folder / "a_world_factory.py").write_text(FACTORY.replace("CLASSES", str(classes)))
    sys.path.insert(0, str(folder))
    try:
        return open_segmenter("a_world_factory:network", allow_code=True)
    finally:
        sys.path.remove(str(folder))


def fitted_to(networks: Networks, known: KnownEvidence) -> KnownEvidence:
    """Known evidence of the shapes that other networks ask for; what it holds is nothing."""
    taps = dict(networks.segmenter.taps) | ({} if networks.frozen is None else dict(networks.frozen.taps))
    width = sum(taps[tap].channels for tap in known.recipe.taps)
    state = known.states["knn"]
    shapes = {"mean": (width,), "std": (width,), "coreset": (len(state["owner"]), width)}
    blank = {name: torch.ones(shape, dtype=state[name].dtype) for name, shape in shapes.items()}
    held_out = dataclasses.replace(known.held_out, vectors=torch.zeros(len(known.held_out.label), width))
    means = torch.zeros(len(known.means), taps["decoder"].channels)
    states = known.states | {"knn": state | blank}
    return dataclasses.replace(known, states=states, held_out=held_out, means=means, spaces={})


@pytest.fixture(scope="module")
def worlds(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A world around each kind of segmenter, and one with a frozen encoder that no package holds."""
    folder = tmp_path_factory.mktemp("worlds")
    base = bundle.load(trained)
    frozen = copy.copy(base.networks.frozen)
    assert frozen is not None
    frozen.source = "/home/somebody/encoder.pth"
    kinds: dict[str, Callable[[Path, int], ClosedSetSegmenter]] = {
        "config": _smp, "transformers": _transformers, "exported": _exported, "module": _module,
    }  # fmt: skip
    networks = {name: make(folder / f"{name}-source", len(base.taxonomy)) for name, make in kinds.items()}
    made = {name: dataclasses.replace(base.networks, segmenter=net) for name, net in networks.items()}
    made |= {"smp": base.networks, "own weights": dataclasses.replace(base.networks, frozen=frozen)}
    for name, given in made.items():
        branches = base.branches if name == "smp" else Branches()  # a branch is built like the closed set
        known = base.known if given.segmenter is base.networks.segmenter else fitted_to(given, base.known)
        fitting = dataclasses.replace(base, networks=given, branches=branches, fitted=known)
        bundle.save(fitting, folder / name)
    base.store.close()
    return {name: folder / name for name in made}


class Server(ThreadingHTTPServer):
    """A hub on the loopback that has nothing, and keeps what it was asked."""

    asked: list[str]


class Refusal(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path} {self.headers.get('Authorization')}")
        self.send_error(404)

    do_GET = do_HEAD = do_POST = do_CONNECT = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Refusal) as listening:
        listening.asked = []
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    """The folder that code from a world would make."""
    return tmp_path / "executed"


@pytest.fixture
def trap(tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What timm calls a local folder, with a pickle in it that runs code."""
    monkeypatch.setenv("IGNOTA_SIGN", str(sign))
    folder = tmp_path / "trap"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architecture": "tf_efficientnet_lite0", "num_classes": 1000}))
    for name in ("pytorch_model.bin", "bomb.pkl", "bomb.pth"):
        torch.save({"conv_stem.weight": Bomb()}, folder / name)
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(sign)!r})\nclass Net: pass\n")
    return folder


@pytest.fixture
def opener(server: Server, tmp_path: Path, sign: Path) -> Callable[..., list[dict[str, Any]]]:
    """Runs cases in a process whose hub, whatever asks for it, is the server."""

    def run(cases: list[dict[str, Any]], *words: str, modules: Path | None = None) -> list[dict[str, Any]]:
        where = f"http://127.0.0.1:{server.server_address[1]}"
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        own |= {"HF_ENDPOINT": where, "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1",
                "TORCH_HOME": str(tmp_path / "torch"), "IGNOTA_SIGN": str(sign)}  # fmt: skip
        own |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), where)
        own["PYTHONPATH"] = os.pathsep.join(str(p) for p in (*sys.path, *([modules] if modules else [])) if p)
        server.asked.clear()
        done = subprocess.run(
            [sys.executable, str(HERE / "opener.py"), *words], input=json.dumps(cases), env=own, cwd=tmp_path,
            capture_output=True, text=True, timeout=2900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        assert len(answers) == len(cases)
        return answers

    return run


def forms(trap: Path, where: str) -> list[str]:
    """Names that are hubs, addresses, paths or pickles."""
    return [
        "hf-hub:timm/resnet18.a1_in1k", "hf_hub:timm/resnet18.a1_in1k", "tu-hf-hub:timm/resnet18.a1_in1k",
        "timm/resnet18.a1_in1k", "HF-HUB:somebody/something@main", f"{where}/weights.pth", "https://example.org/w.pkl",
        f"file://{trap}/bomb.pkl", f"local-dir:{trap}", f"tu-local-dir:{trap}", str(trap), f"{trap}/bomb.pth",
        "../trap", "..\\trap", "trap/bomb.pkl", "bomb.pkl", "bomb.pth",
    ]  # fmt: skip


# where each kind of world names something, or could: {kind: places in world.json}
NAMED: dict[str, list[Place]] = {
    "smp": [
        ("frozen", "encoder"), ("frozen", "source"), ("frozen", "package"), ("frozen", "sha256"), ("taps", 0),
        ("segmenter", "kind"), ("segmenter", "smp", "encoder"), ("segmenter", "smp", "architecture"),
        ("recipes", "light", "taps", 0), ("recipes", "light", "extra", 0), ("spaces", "paper", 0),
        ("branches", "paper", "file"), ("branches", "paper", "settings"), ("objectness", "encoder"),
    ],
    "config": [
        ("segmenter", "config", name)
        for name in ("encoder_name", "_model_class", "encoder_weights", "checkpoint_path", "pretrained_cfg",
                     "pretrained", "cache_dir", "activation")
    ],
    "transformers": [
        ("segmenter", "config", *names)
        for names in (("backbone",), ("model_type",), ("backbone_config",), ("backbone_config", "backbone"),
                      ("backbone_config", "model_type"), ("backbone_config", "_name_or_path"), ("_name_or_path",),
                      ("auto_map",), ("auto_map", "AutoModel"), ("backbone_config", "auto_map", "AutoBackbone"),
                      ("attn_implementation",), ("quantization_config",), ("custom_pipelines",))
    ],
    "exported": [("segmenter", "file"), ("segmenter", "sha256"), ("segmenter", "kind")],
    "module": [("segmenter", "factory"), ("segmenter", "options", "classifier")],
}  # fmt: skip


def with_value(document: dict[str, Any], place: Place, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    inner: Any = changed
    for key in place[:-1]:
        if isinstance(inner, dict) and not isinstance(inner.get(key), (dict, list)):
            inner[key] = {}
        inner = inner[key]
    if isinstance(inner, list) and not inner:
        inner.append(value)
    inner[place[-1]] = value
    return changed


def cases_for(worlds: dict[str, Path], values: list[str]) -> list[dict[str, Any]]:
    """Every place with every value; an encoder's name with every source, and plain names that only a hub has."""
    documents = {kind: json.loads((worlds[kind] / "world.json").read_text()) for kind in NAMED}
    found = [
        {"world": kind, "place": place, "document": with_value(documents[kind], place, value)}
        for kind, places in NAMED.items()
        for place in places
        for value in values
    ]
    named = [(value, source) for value in values for source in ("hub", "package", "file")]
    for encoder, source in [*named, ("resnet18", "hub"), ("resnet18.a1_in1k", "hub")]:
        changed = with_value(documents["smp"], ("frozen", "encoder"), encoder)
        changed["frozen"]["source"] = source
        found.append({"world": "smp", "place": ("frozen", source), "document": changed})
    config = documents["transformers"]["segmenter"]["config"]
    evil = with_value(documents["transformers"], ("segmenter", "config", "auto_map"), {"AutoBackbone": "evil.Net"})
    found.append({"world": "transformers", "place": ("auto_map",), "document": evil})
    lone = copy.deepcopy(documents["transformers"])  # transformers asks its hub for every backbone named so
    lone["segmenter"]["config"] = config | {"backbone_config": None, "backbone": "somebodys_network"}
    found.append({"world": "transformers", "place": ("backbone",), "document": lone})
    return found


def check_refused(
    cases: list[dict[str, Any]], worlds: dict[str, Path], opener: Callable[..., Any], server: Server, tmp_path: Path,
) -> None:  # fmt: skip
    copies = {kind: shutil.copytree(worlds[kind], tmp_path / f"{kind}-copy") for kind in NAMED}
    answers = opener([case | {"world": str(copies[case["world"]]), "options": []} for case in cases])
    assert server.asked == []
    for case, answer in zip(cases, answers, strict=True):
        what = (case["world"], case["place"], answer)
        assert answer["code"] == 2 and answer["events"] == [] and not answer["ran"], what
        assert answer["error"].count("\n") == 1 and answer["error"].startswith("ignota: "), what


def test_no_name_is_looked_up(
    worlds: dict[str, Path], opener: Callable[..., Any], server: Server, trap: Path, tmp_path: Path
) -> None:
    """Each place with one of the forms in turn; all with all below."""
    values = forms(trap, f"http://127.0.0.1:{server.server_address[1]}")
    every = cases_for(worlds, values)
    some = [case for i, case in enumerate(every) if i % len(values) == i // len(values) % len(values)]
    check_refused([*some, *every[-4:]], worlds, opener, server, tmp_path)


@pytest.mark.long
def test_no_name_of_any_form_is_looked_up(
    worlds: dict[str, Path], opener: Callable[..., Any], server: Server, trap: Path, tmp_path: Path
) -> None:
    values = forms(trap, f"http://127.0.0.1:{server.server_address[1]}")
    check_refused(cases_for(worlds, values), worlds, opener, server, tmp_path)


def strings(value: object, place: Place = ()) -> Iterator[Place]:
    """The places of every text in a document."""
    if isinstance(value, str):
        yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from strings(inner, (*place, key))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["smp", "config", "transformers", "exported"])
def test_no_text_of_a_document_is_looked_up(
    kind: str, worlds: dict[str, Path], opener: Callable[..., Any], server: Server, trap: Path
) -> None:
    """Free text (class names, provenance) may say anything: then the world opens, and still nothing is asked.

    Each place takes one of the values in turn.
    """
    document = json.loads((worlds[kind] / "world.json").read_text())
    values = ("hf-hub:timm/resnet18.a1_in1k", f"local-dir:{trap}", str(trap / "bomb.pkl"))
    changed = [with_value(document, place, values[i % 3]) for i, place in enumerate(strings(document))]
    world = str(shutil.copytree(worlds[kind], trap.parent / "copy"))
    answers = opener([{"world": world, "options": [], "document": one} for one in changed])
    assert server.asked == []
    assert all(a["code"] in (0, 2) and a["events"] == [] and not a["ran"] for a in answers), answers


def test_with_leave_a_hub_is_asked_for_a_registered_name_alone(
    worlds: dict[str, Path], opener: Callable[..., Any], server: Server, trap: Path, tmp_path: Path
) -> None:
    """What shows that the server would notice: the same call with --allow-download reaches it."""
    world = str(shutil.copytree(worlds["smp"], tmp_path / "copy"))
    document = json.loads((worlds["smp"] / "world.json").read_text())
    document["frozen"] |= {"encoder": "resnet18", "source": "hub"}
    del document["frozen"]["package"]
    plain = {"world": world, "options": [], "document": document}
    leave = {"options": ["--allow-download"]}
    values = ("hf-hub:timm/resnet18.a1_in1k", f"local-dir:{trap}")
    named = [plain | leave | {"document": with_value(document, ("frozen", "encoder"), value)} for value in values]
    without, *refused, asked = opener([plain, *named, plain | leave])
    assert without["code"] == 2 and "pass --allow-download" in without["error"]
    assert all(answer["code"] == 2 and answer["events"] == [] for answer in (without, *refused))
    assert asked["code"] == 2 and "could not be downloaded" in asked["error"] and asked["events"]
    named = [line for line in server.asked if "/api/agent" not in line]  # what a hub client asks for by itself
    assert named and all("resnet18" in line for line in named)


def test_every_kind_of_world_opens_without_a_socket(
    worlds: dict[str, Path], opener: Callable[..., Any], server: Server
) -> None:
    options = {name: ["--allow-code"] if name == "module" else [] for name in worlds}
    cases = [{"world": str(worlds[name]), "options": options[name], "document": None} for name in worlds]
    closed = {"world": str(worlds["module"]), "options": [], "document": None}
    refused, *answers = opener([closed, *cases], "--no-sockets", modules=worlds["module"].parent / "module-source")
    assert refused["code"] == 2 and "--allow-code" in refused["error"] and not refused["ran"]
    assert [answer["code"] for answer in answers] == [0] * 6, answers
    assert [answer["error"] for answer in answers] == [""] * 6
    assert [answer["ran"] for answer in answers] == [name == "module" for name in worlds]  # as it may
    assert server.asked == []


def test_weights_that_no_package_holds_lie_in_the_world(worlds: dict[str, Path], tmp_path: Path) -> None:
    document = json.loads((worlds["own weights"] / "world.json").read_text())
    assert document["frozen"]["source"] == "file" and "home" not in json.dumps(document["frozen"])
    own, packaged = bundle.load(worlds["own weights"]), bundle.load(worlds["smp"])
    images = torch.randn(1, 3, 64, 64)
    assert own.networks.frozen is not None and packaged.networks.frozen is not None
    mine, theirs = own.networks.frozen(images), packaged.networks.frozen(images)
    assert all(torch.equal(mine[tap], theirs[tap]) for tap in theirs)
    bundle.save(own, tmp_path / "again")  # and travel on
    assert bundle.load(tmp_path / "again").networks.frozen is not None
    without = Path(shutil.copytree(worlds["smp"], tmp_path / "without"))
    document["branches"] = {}
    (without / "world.json").write_text(json.dumps(sealed(document, without)))
    with pytest.raises(InputError, match="lacks its weights of tf_efficientnet_lite0"):
        bundle.load(without)
