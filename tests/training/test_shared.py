"""Two processes that share each batch and each pass over images end where one process ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = str(Path(__file__).with_name("shared_training.py"))
PATIENCE = 300
"""Seconds that two processes may take on a machine that does other things; shortly before, each writes where it is."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3 * PATIENCE),
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo"),
]
GRADIENT_STAGES = {
    "closed_set": "closed_set",
    "meta_channels_paper": "heads",
    "meta_channels_released": "heads",
    "region_embedder_paper": "heads",
    "region_embedder_released": "heads",
    "embedder_paper": "heads",
    "embedder_released": "heads",
}


def train(*words: str) -> None:
    """Runs the script in a process of its own, by `words` before it; raises TimeoutError with where it stands."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "STANDS_AFTER": str(PATIENCE - 20),
    }
    with tempfile.TemporaryFile("w+") as errors:
        started = subprocess.Popen([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            code: int | None = started.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
            started.terminate()  # torchrun then ends what it started
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(60)
            started.kill()
            started.wait()
        errors.seek(0)
        said = errors.read()
    if code is None:
        raise TimeoutError(f"still there after {PATIENCE} s: {said[-9000:]}")
    assert code == 0, said[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment, trained by one process."""
    folder = tmp_path_factory.mktemp("alone")
    train(SCRIPT, str(folder))
    return folder


@pytest.fixture(scope="module")
def shared(alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of its stages, trained by two processes of torchrun; the second may not write, and neither may fork."""
    folder = tmp_path_factory.mktemp("shared")
    train("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT, str(folder), str(alone))
    return folder


@pytest.mark.parametrize("stage", GRADIENT_STAGES)
def test_weights_are_those_of_one_process(alone: Path, shared: Path, stage: str) -> None:
    place = Path("stages") / stage / "weights.safetensors"
    one, two = load_file(alone / place), load_file(shared / GRADIENT_STAGES[stage] / place)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_fsdp_ends_with_the_same_weights_though_it_was_stopped(alone: Path, shared: Path) -> None:
    place = Path("stages") / "closed_set" / "weights.safetensors"
    one, two = load_file(alone / place), load_file(shared / "fsdp" / place)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_fit_is_that_of_one_process_to_the_last_bit(alone: Path, shared: Path) -> None:
    one, two = load_file(alone / "fit.safetensors"), load_file(shared / "fit" / "fit.safetensors")
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(two[name], value), name
