"""Training on several devices and machines: starts the processes, or joins those of torchrun or SLURM."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from jsonargparse import Namespace

from ignota.cli.outcome import FAILED, OUTCOMES, CutShortError, UsageError, collapsed
from ignota.cli.parsing import Parser

if TYPE_CHECKING:
    import torch

_AGAIN = "run the same command again to go on"
_LAUNCHER = "IGNOTA_LAUNCHER"
"""Process number of the one that started this one and reports for it."""
_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed", "Timed out waiting")


def add_devices(parser: Parser) -> None:
    """`--devices`, `--nodes`, `--strategy`."""
    number = int | None
    parser.add_argument("--devices", type=number, default=None, metavar="N", help="GPUs, or CPU processes, a machine")
    parser.add_argument("--nodes", type=number, default=None, metavar="M", help="machines; see docs/distributed.md")
    parser.add_argument(
        "--strategy", type=Literal["ddp", "fsdp"], default="ddp", help="fsdp spreads a large network over the GPUs"
    )


def has_started(args: Namespace) -> bool:
    """Whether this process is to train: alone, or because torchrun, SLURM or `start` started it among others.

    Raises UsageError where the options do not fit what was started.
    """
    _adopt_slurm(args)
    devices, nodes = args.devices or 1, args.nodes or 1
    if devices < 1 or nodes < 1:
        raise UsageError("--devices and --nodes are 1 or more")
    if not _described():
        return devices * nodes == 1
    size, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if (args.devices or local) != local or (args.nodes or size // local) * local != size:
        raise UsageError(
            f"{size} processes were started, {local} of them here, but --devices and --nodes ask for {devices} on "
            f"{nodes}: make them agree or leave the options out"
        )
    return True


def _described() -> bool:
    """Whether torchrun's variables are there, all of them: some clusters set a few with another meaning."""
    from ignota.training.distributed import VARIABLES

    return all(name in os.environ for name in VARIABLES)


def _adopt_slurm(args: Namespace) -> None:
    """Tells by torchrun's variables what `srun` says by its own. Outside `srun`, as in a batch script, nothing is
    joined; neither where one task alone was asked for."""
    own = os.environ
    if _described() or "SLURM_STEP_ID" not in own or int(own.get("SLURM_NTASKS", 1)) < 2:
        return
    from lightning.pytorch.plugins.environments import SLURMEnvironment

    if "SLURM_NTASKS_PER_NODE" not in own:
        raise UsageError("SLURM does not tell how the tasks are spread: ask for them by --ntasks-per-node")
    found = SLURMEnvironment(auto_requeue=False)
    nodes = int(own.get("SLURM_STEP_NUM_NODES", own.get("SLURM_NNODES", args.nodes or 1)))
    own |= {
        "RANK": str(found.global_rank()),
        "WORLD_SIZE": str(found.world_size()),
        "LOCAL_RANK": str(found.local_rank()),
        "LOCAL_WORLD_SIZE": str(found.world_size() // nodes),
        "GROUP_RANK": str(found.node_rank()),
        "MASTER_ADDR": found.main_address,
        "MASTER_PORT": str(found.main_port),
    }


def start(words: Sequence[str], args: Namespace) -> None:
    """Calls `ignota` with `words` once a device of this machine and waits; raises what went wrong as one error."""
    devices, nodes = args.devices or 1, args.nodes or 1
    _check_devices(devices, args)
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # this process does nothing but wait, and one line of ours tells what came of it
    with tempfile.TemporaryDirectory() as folder, _lent(_environment(folder, devices, nodes)):
        config = LaunchConfig(
            nodes, nodes, devices, DefaultLogsSpecs(folder), max_restarts=0, **_rendezvous(nodes, os.environ)
        )
        try:
            elastic_launch(config, sys.executable)("-m", "ignota", *words)
        except ChildFailedError as error:
            _report(Path(folder), {rank: failure.exitcode for rank, failure in error.failures.items()})
        except SignalException:
            raise KeyboardInterrupt from None
        finally:
            logging.disable(logging.NOTSET)


def _check_devices(devices: int, args: Namespace) -> None:
    import torch

    present = torch.cuda.device_count() if args.device != "cpu" and torch.cuda.is_available() else devices
    if devices > present:
        raise UsageError(f"--devices is {devices}, but this machine has {present} GPUs: take fewer, or --device cpu")


def _environment(folder: str, devices: int, nodes: int) -> dict[str, str]:
    """What the started processes find; what somebody has set stays."""
    from ignota.training.distributed import MEETING

    threads = max(1, (os.cpu_count() or 1) // devices)
    found = {"OMP_NUM_THREADS": str(threads), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    if nodes == 1:  # nothing leaves the machine, so nothing needs to listen beyond it
        loopback = "lo0" if sys.platform == "darwin" else "lo"
        found |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
        found |= {MEETING: f"file://{folder}/meeting", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    found = {name: os.environ.get(name, value) for name, value in found.items()}
    return found | {OUTCOMES: folder, _LAUNCHER: str(os.getpid())}


@contextmanager
def _lent(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment with `variables`, and afterwards as before."""
    before = dict(os.environ)
    try:
        os.environ |= variables
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _rendezvous(nodes: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """Where the processes meet, as torch's launcher wants it."""
    if nodes == 1:
        return {
            "rdzv_backend": "c10d",
            "rdzv_endpoint": f"{environment[OUTCOMES]}/rendezvous",
            "rdzv_configs": {"store_type": "file"},
            "local_addr": "127.0.0.1",
            "run_id": uuid.uuid4().hex,
        }
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if not environment.get(name)]
    if missing:
        raise UsageError(
            f"--nodes {nodes} needs {', '.join(missing)} in the environment of each machine, or torchrun, or srun: "
            "docs/distributed.md shows all three"
        )
    place = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    configs = {"rank": int(environment["NODE_RANK"]), "timeout": 900}
    return {"rdzv_backend": "static", "rdzv_endpoint": place, "rdzv_configs": configs, "run_id": "ignota"}


def _report(folder: Path, codes: Mapping[int, int]) -> NoReturn:
    """Raises the one error that tells why processes ended: what one of them said, or else what killed it."""
    said = [json.loads(path.read_bytes()) for path in sorted(folder.glob("outcome-*.json"))]
    for outcome in sorted(said, key=lambda outcome: int(outcome["rank"])):
        if not outcome["cut_short"]:
            raise CutShortError(str(outcome["line"]), int(outcome["code"]))
    signals = {rank: -code for rank, code in sorted(codes.items()) if code < 0}
    first = {rank: code for rank, code in signals.items() if code != signal.SIGTERM} or signals  # the others were ended
    for rank, code in first.items():
        raise CutShortError(f"process {rank} was killed by {signal.Signals(code).name}, so all were ended; {_AGAIN}")
    raise CutShortError(
        str(said[0]["line"]) if said else f"a process ended with exit code {max(codes.values())}; {_AGAIN}"
    )


@contextmanager
def among_processes(args: Namespace, device: torch.device) -> Iterator[None]:
    """Trains with the other processes in its block; alone, where there are none."""
    if not _described() or int(os.environ["WORLD_SIZE"]) == 1:
        yield
        return
    from ignota.training import distributed

    _end_with_launcher()
    try:
        with distributed.process_group(device, args.strategy):
            yield
    except RuntimeError as error:
        if type(error).__module__ == "torch.distributed" or any(sign in str(error) for sign in _GONE):
            raise CutShortError(f"another process of this run is gone ({collapsed(error)[-90:]}); {_AGAIN}") from error
        raise


def _end_with_launcher() -> None:
    """Ends this process at once by Ctrl-C, and soon after the one that started it, whatever ended that one: a second
    call must find none. No checkpoint is harmed, and the one that started it says what happened."""
    launcher = os.environ.get(_LAUNCHER)
    if launcher is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(0.5)
        os._exit(FAILED)

    threading.Thread(target=watch, daemon=True).start()
