"""The Ray engine: the rows of the local one, whoever dies.

Tests that start Ray are long, as its workers import everything again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pyarrow.dataset as ds
import pytest

from ignota.cli import main
from ignota.lake.attempts import Attempts
from ignota.lake.frames import Frame, read_span
from ignota.lake.on_ray import Pool, Segmenter, packed, read, tables_on_ray, unpacked
from ignota.lake.sources import sources
from ignota.lake.spans import Finished, Span, spans
from ignota.perception.tiles import AUTOMATIC_PIXELS, AUTOMATIC_SIDE, Tiled
from ignota.storage import bundle
from ignota.storage.seals import world_fingerprint
from ignota.structures import InputError

ray_warnings = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning", "ignore:.*unclosed"
)
NONE = Finished({}, {})


def work_of(words: list[str], state: str) -> list[Span]:
    return [span for source in sources(words, "out") for span in spans(source, NONE, state, 1)]


def rows(out: Path) -> list[dict[str, Any]]:
    return ds.dataset(out, partitioning="hive").to_table().sort_by("id").to_pylist()


def test_frames_travel_whole(lake: Path) -> None:
    work = work_of([str(lake)], "w")
    given = [frame for span in work for frame in read_span(span)]
    got = [frame for table in read(_texts(work)) for frame in unpacked(table)]
    assert len(got) == len(given) == 15
    for ours, theirs in zip(given, got, strict=True):
        assert (ours.pixels is None) == (theirs.pixels is None)
        if ours.pixels is not None:
            np.testing.assert_array_equal(ours.pixels, theirs.pixels)
        assert _plain(ours) == _plain(theirs)


def _texts(work: list[Span]) -> Any:
    import pyarrow as pa

    return pa.table({"span": [span.to_json() for span in work]})


def _plain(frame: Frame) -> tuple[Any, ...]:
    return (frame.source, frame.id, frame.image, frame.frame, frame.member, frame.frames, frame.error)


def test_another_world_at_a_worker_is_refused(trained: Path) -> None:
    with pytest.raises(InputError, match="is another world on"):
        Segmenter(Pool(str(trained), "0" * 16, 1), None)


@pytest.mark.parametrize("options", [(), ("--tile", "128")])
def test_workers_run_the_networks_as_the_driver_does(
    trained: Path, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    pools = []

    def instead(work: list[Span], pool: Pool) -> Iterator[Any]:
        pools.append(Segmenter(pool, None))
        return iter(())

    monkeypatch.setattr("ignota.lake.on_ray.tables_on_ray", instead)
    call = ["segment", str(lake / "a"), "--world", str(trained), "--out", str(tmp_path), "--engine", "ray", *options]
    assert main([*call, "--quiet", "--workers", "1"]) == 0
    (worker,) = pools
    runner = worker.world.networks.runner
    assert isinstance(runner, Tiled)
    assert (runner.side, runner.pixels) == ((128, 0) if options else (AUTOMATIC_SIDE, AUTOMATIC_PIXELS))


def test_large_images_are_tiled_however_a_world_is_opened(trained: Path) -> None:
    runner = bundle.load(trained).networks.runner
    assert isinstance(runner, Tiled) and runner.pixels == AUTOMATIC_PIXELS


def test_a_frame_that_workers_die_of_is_given_up(
    trained: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = world_fingerprint(bundle.load(trained))
    attempts = Attempts()
    monkeypatch.setattr(Segmenter, "_asked", lambda self, method, key: getattr(attempts, method)(key))
    image = make.streets[0].image
    frames = [Frame("s", f"{n:032x}", f"{n}.png", None, pixels=image) for n in range(3)]
    table = packed(frames)

    class Death(BaseException):
        pass

    def deadly(self: Segmenter, frame: Frame) -> dict[str, Any]:
        if frame.image == "1.png":
            raise Death
        return {"id": frame.id, "error": None}

    monkeypatch.setattr(Segmenter, "row", deadly)
    worker = Segmenter(Pool(str(trained), state, 1), None)
    deaths = 0
    while True:
        try:
            found = [row for given in worker(table) for row in given.to_pylist()]
            break
        except Death:
            deaths += 1
    assert deaths == 4  # once in the crowd, three times alone
    assert [row["error"] for row in found] == [None, "3 workers died of this frame, one after another", None]
    assert set(attempts.counts) == {frames[1].id}  # should the worker die later, it is not tried again


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """A small Ray that tests of one module share."""
    import ray

    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"})
    path = {"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=3, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False, runtime_env=path)
    yield
    ray.shutdown()


@pytest.mark.long
@ray_warnings
def test_the_rows_are_those_of_the_local_engine(
    trained: Path, lake: Path, tmp_path: Path, ray_here: None, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["segment", f"file://{lake}", "--world", str(trained), "--out"]
    assert main([*words, str(tmp_path / "here"), "--engine", "local", "--quiet"]) == 0
    capfd.readouterr()
    assert main([*words, str(tmp_path / "ray"), "--engine", "ray", "--workers", "2"]) == 0
    told = capfd.readouterr()
    assert "15 frames, 2 of them with an error" in told.out
    assert [line for line in told.err.splitlines() if line.startswith("ignota:")]
    assert rows(tmp_path / "ray") == rows(tmp_path / "here") and len(rows(tmp_path / "ray")) == 15

    class Deadly(Segmenter):
        def row(self, frame: Frame) -> dict[str, Any]:
            if frame.image.endswith("p2.png"):
                os._exit(1)
            return super().row(frame)

    state = world_fingerprint(bundle.load(trained))
    work = work_of([str(lake / "a")], state)
    found = [row for table in tables_on_ray(work, Pool(str(trained), state, 1), Deadly) for row in table.to_pylist()]
    assert {Path(row["image"]).name: row["error"] for row in found}["p2.png"].startswith("3 workers died")
    assert len(found) == 5 and sum(row["labels"] is not None for row in found) == 3


@pytest.mark.long
@ray_warnings
def test_workers_that_cannot_open_their_world_end_the_run(trained: Path, lake: Path, ray_here: None) -> None:
    work = work_of([str(lake / "a")], "0" * 16)
    with pytest.raises(InputError, match=r"is another world on .*: copy the same one there$"):
        list(tables_on_ray(work, Pool(str(trained), "0" * 16, 1)))


_WATCHED = """
import json, sys, psutil
from ignota.lake.on_ray import Pool, tables_on_ray
from ignota.lake.spans import Span
world, state, *work = sys.argv[1:]
addresses, errors = set(), {}
for table in tables_on_ray([Span.from_json(text) for text in work], Pool(world, state, 1)):
    me = psutil.Process()
    addresses |= {
        socket.laddr.ip for each in (me, *me.children(recursive=True)) for socket in each.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN
    }
    errors |= {row["image"]: row["error"] for row in table.to_pylist()}
print(json.dumps([sorted(addresses), errors]))
"""


@pytest.mark.long
def test_a_ray_that_is_started_here_does_the_work_and_listens_to_this_machine_alone(trained: Path, lake: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["RAY_worker_niceness"] = "0"
    state = world_fingerprint(bundle.load(trained))
    words = [trained, state, *(span.to_json() for span in work_of([str(lake / "a")], state))]
    done = subprocess.run([sys.executable, "-c", _WATCHED, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    addresses, errors = json.loads(done.stdout.splitlines()[-1])
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
    assert len(errors) == 5
    assert [Path(image).name for image, error in errors.items() if error is not None] == ["bad.png"]


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return [each for each in psutil.Process(process.pid).children(recursive=True) if _is_worker(each)]
    except psutil.NoSuchProcess:
        return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] != [] and process.cmdline()[0].startswith("ray::MapWorker")
    except psutil.Error:
        return False


@pytest.mark.long
def test_workers_and_drivers_may_die(trained: Path, make: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(120):
        (tmp_path / "photos" / f"{number}.png").write_bytes(make.png(number % 12))
    out = tmp_path / "out"
    words = ["segment", str(tmp_path / "photos"), "--world", str(trained), "--quiet", "--out"]
    assert main([*words, str(tmp_path / "here"), "--engine", "local"]) == 0
    call = [sys.executable, "-m", "ignota", *words, str(out), "--engine", "ray", "--workers", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    killed, deaths = 0, 0
    for driver_dies in (True, False):
        process = subprocess.Popen(call, env=environment)
        have = len(list(out.rglob("*.parquet")))
        limit = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
            if len(list(out.rglob("*.parquet"))) > have:
                have = 10**9
                for worker in workers_of(process)[:1]:
                    worker.kill()
                    killed += 1
                if driver_dies:
                    process.send_signal(signal.SIGKILL)
                    deaths += 1
        assert process.wait(10) == (-signal.SIGKILL if driver_dies else 0)
        if driver_dies:
            assert 0 < len(rows(out)) < 120
    assert deaths == 1 and killed >= 1
    assert rows(out) == rows(tmp_path / "here")
