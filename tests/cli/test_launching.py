"""Who starts the processes of a training, who joins which, and what is said when one of them ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace

from ignota.cli import launching, main
from ignota.cli.outcome import CutShortError, UsageError
from ignota.training import distributed

FOREIGN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
PATIENCE = 900


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of torchrun or SLURM comes in from outside, and none that a test sets stays."""
    for name in [*FOREIGN, *(name for name in os.environ if name.startswith("SLURM"))]:
        monkeypatch.setenv(name, "")  # so that it is taken back, whatever the code sets
        monkeypatch.delenv(name)


def asked(devices: int | None = None, nodes: int | None = None) -> Namespace:
    return Namespace(devices=devices, nodes=nodes, strategy="ddp", device="cpu")


def test_alone_unless_more_is_asked_for() -> None:
    assert launching.has_started(asked())
    assert launching.has_started(asked(1, 1))
    assert not launching.has_started(asked(2))
    assert not launching.has_started(asked(1, 2))


def test_what_torchrun_started_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert not launching.has_started(asked(2))  # by itself it may mean anything
    for name, value in {"LOCAL_WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert launching.has_started(asked())
    assert launching.has_started(asked(2, 2))
    for wrong in (asked(4, 1), asked(2, 3), asked(1)):
        with pytest.raises(UsageError, match="4 processes were started, 2 of them here"):
            launching.has_started(wrong)


def test_what_srun_started_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {
        "NTASKS": "4", "PROCID": "3", "LOCALID": "1", "NODEID": "1", "NNODES": "2", "JOB_ID": "10007",
        "NODELIST": "big[07-08]", "JOB_NAME": "train",
    }  # fmt: skip
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert not launching.has_started(asked(2, 2))  # in the batch script itself: no task of a step
    assert "WORLD_SIZE" not in os.environ
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    with pytest.raises(UsageError, match="--ntasks-per-node"):
        launching.has_started(asked(2, 2))
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    assert launching.has_started(asked(2, 2))
    found = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")}
    assert list(found.values()) == ["3", "4", "1", "2", "big07"]
    assert os.environ["MASTER_PORT"] == "15007"


def test_one_machine_meets_on_its_own_loopback() -> None:
    environment = launching._environment("/here", 2, 1)
    assert environment["GLOO_SOCKET_IFNAME"] in ("lo", "lo0")
    assert environment[distributed.MEETING] == "file:///here/meeting"
    found = launching._rendezvous(1, environment)
    assert found["rdzv_endpoint"] == "/here/rendezvous" and found["local_addr"] == "127.0.0.1"
    assert not {"GLOO_SOCKET_IFNAME", distributed.MEETING} & launching._environment("/here", 2, 2).keys()


def test_machines_meet_where_the_environment_says() -> None:
    with pytest.raises(UsageError, match="--nodes 2 needs MASTER_PORT, NODE_RANK in the environment"):
        launching._rendezvous(2, {"MASTER_ADDR": "first"})
    found = launching._rendezvous(2, {"MASTER_ADDR": "first", "MASTER_PORT": "29500", "NODE_RANK": "1"})
    assert found["rdzv_endpoint"] == "first:29500" and found["rdzv_configs"]["rank"] == 1


def test_what_the_processes_find_is_taken_back() -> None:
    before = dict(os.environ)
    with launching._lent({"IGNOTA_OUTCOMES": "here"}):
        assert os.environ["IGNOTA_OUTCOMES"] == "here"
    assert dict(os.environ) == before


def said(folder: Path, rank: int, line: str, cut_short: bool, code: int = 1) -> None:
    outcome = {"rank": str(rank), "code": code, "line": line, "cut_short": cut_short}
    (folder / f"outcome-{rank}.json").write_text(json.dumps(outcome))


def test_the_cause_is_told_not_its_consequences(tmp_path: Path) -> None:
    said(tmp_path, 0, "another process is gone", cut_short=True)
    with pytest.raises(CutShortError, match="another process is gone"):
        launching._report(tmp_path, {0: 1, 1: 1})
    with pytest.raises(CutShortError, match="process 1 was killed by SIGKILL, so all were ended; run the same"):
        launching._report(tmp_path, {0: 1, 1: -signal.SIGKILL, 2: -signal.SIGTERM})
    said(tmp_path, 2, "image 7 is broken", cut_short=False, code=2)
    with pytest.raises(CutShortError, match="image 7 is broken") as error:
        launching._report(tmp_path, {0: 1, 1: -signal.SIGKILL, 2: 2})
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RuntimeError("[gloo/pair.cc:5] Connection closed by peer [127.0.0.1]:1"), CutShortError),
        (torch.distributed.DistNetworkError("no answer"), CutShortError),
        (RuntimeError("shapes differ"), RuntimeError),
    ],
)
def test_a_lost_process_is_told_from_other_faults(
    monkeypatch: pytest.MonkeyPatch, fault: RuntimeError, expected: type[Exception]
) -> None:
    @contextmanager
    def nothing(*_: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(distributed, "process_group", nothing)
    for name in distributed.VARIABLES:
        monkeypatch.setenv(name, "2")
    with pytest.raises(expected), launching.among_processes(asked(), torch.device("cpu")):
        raise fault


@pytest.mark.parametrize("words", [["--devices", "0"], ["--nodes", "-1"], ["--strategy", "dp"]])
def test_wrong_numbers_of_devices(words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "demo", "--out", str(tmp_path / "out"), *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


EXPERIMENT = {
    "name": "shared",
    "size": 48,
    "data": {"train_length": 8, "evaluate_length": 2, "height": 48, "width": 96},
    "segmenter": {"weights": "none", "decoder_channels": 32},
    "closed_set": {"steps": 18, "batch": 2, "crop": [48, 64], "warmup": 2, "checkpoint_every": 2},
    "meta_channels": {"branches": ["paper"], "steps": 4, "batch": 2, "checkpoint_every": 2},
    "region_embedder": {"steps": 2, "batch": 2},
    "embedder": {"steps": 4, "batch": 16, "hidden": 16, "embedding": 8},
    "fit": {"objectness": "none", "things": 4, "coreset": 50, "reference": 50, "images": 5},
    "incremental": {"shots": [1]},
}


def started(file: Path, out: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "ignota", "run", str(file), "--out", str(out), "--device", "cpu", "--devices", "2"]
    return subprocess.Popen([*words, "--quiet"], stderr=subprocess.PIPE, text=True)


def children(process: int) -> list[int]:
    """In the order in which they were started."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in table.splitlines())
    return sorted(int(pid) for pid, parent in rows if int(parent) == process)


def listens_beyond_loopback(processes: list[int]) -> list[str]:
    """Addresses of the processes' listening sockets that other machines could reach, in the kernel's notation."""
    files = [link for pid in processes for link in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = set()
    for link in files:
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes |= set(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert listening  # they do talk to each other
    loopback = ("0100007F:", "00000000000000000000000001000000:", "0000000000000000FFFF00000100007F:")
    return [address for address in listening if not address.startswith(loopback)]


def wait_for_new_checkpoint(out: Path, process: subprocess.Popen[str]) -> None:
    checkpoint, deadline = out / "stages" / "closed_set" / "last.ckpt", time.monotonic() + PATIENCE
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


@pytest.mark.long
@pytest.mark.timeout(4 * PATIENCE)
def test_a_killed_process_ends_all_and_the_same_call_goes_on(tmp_path: Path) -> None:
    file, whole, killed = tmp_path / "shared.yaml", tmp_path / "whole", tmp_path / "killed"
    file.write_text(yaml.safe_dump(EXPERIMENT))
    with started(file, whole) as process:
        assert (process.communicate(timeout=PATIENCE)[1], process.returncode) == ("", 0)
    for victim in (1, 0):
        with started(file, killed) as process:
            wait_for_new_checkpoint(killed, process)
            if sys.platform == "linux":
                assert listens_beyond_loopback([process.pid, *children(process.pid)]) == []
            os.kill(children(process.pid)[victim], signal.SIGKILL)
            said = process.communicate(timeout=120)[1]
        assert process.returncode == 1
        assert said == (
            f"ignota: process {victim} was killed by SIGKILL, so all were ended; run the same command again to go on\n"
        )
    with started(file, killed) as process:
        wait_for_new_checkpoint(killed, process)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=120)[1] == "ignota: stopped; run the same command again to go on\n"
    assert process.returncode == 1
    with started(file, killed) as process:
        wait_for_new_checkpoint(killed, process)
        orphans = children(process.pid)
        process.kill()
    deadline = time.monotonic() + 120
    while any(map(is_alive, orphans)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with started(file, killed) as process:
        assert (process.communicate(timeout=PATIENCE)[1], process.returncode) == ("", 0)

    stored = sorted(whole.glob("**/*.safetensors"))
    assert len(stored) == 7  # five stages, the world and its branch
    for tensors in stored:
        assert tensors.read_bytes() == (killed / tensors.relative_to(whole)).read_bytes(), tensors
    assert not [*killed.glob("stages/*/*.ckpt"), *killed.glob("stages/*/.*.part")]
