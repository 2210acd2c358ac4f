"""Many clients at once against a server that is killed again and again; prints what it measured.

    python benchmarks/soak.py --world WORLD [--clients 50] [--warm 60] [--seconds 60] [--kills 10]

The world is copied first. Every client sends pictures, teaches classes of its own and forgets them again. In the end
each class that was acknowledged must be in the store, each that was forgotten must not, and no answer may have been an
error but 503. Memory is that of the server process, read from /proc. --memory is the limit of the whole process in MiB,
little more than its libraries and the world take: it fills before the clock starts (--warm seconds), so that what still
grows is a leak.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import io
import json
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ignota.storage import bundle
from ignota.synthetic.streets import SyntheticStreets

PAUSE = 0.2


class Server:
    """`ignota serve` in a process of its own, always on the same port."""

    def __init__(self, world: Path, room: int) -> None:
        self.world, self.room = world, room
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "ignota", "serve", "--world", str(self.world), "--port", str(self.port)]
        command += ["--memory", str(self.room)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def memory(self) -> float:
        """MiB of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    def stop(self, how: int) -> None:
        self.process.send_signal(how)
        self.process.wait()


class Client(threading.Thread):
    """Sends, teaches and forgets until stopped; records what was acknowledged."""

    def __init__(self, number: int, server: Server, pictures: list[bytes], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number, self.server, self.pictures, self.stop = number, server, pictures, stop
        self.random = random.Random(number)
        self.statuses: collections.Counter[Any] = collections.Counter()
        self.times: list[float] = []
        self.refusals: set[str] = set()
        self.present: set[str] = set()
        self.unsure: set[str] = set()
        self.learnt = 0

    def run(self) -> None:
        n = 0
        while not self.stop.is_set():
            n += 1
            status, told = self.ask("POST", "/api/segment", self.random.choice(self.pictures))
            if status != 200:
                continue
            box = [20, 20, 20 + self.random.randint(60, 120), 140]
            name = f"c{self.number} n{n}"
            form = {"name": name, "examples": [{"image": told["image"], "box": box}], "force": True}
            self.change("/api/learn", form, name, there=True)
            if len(self.present) > 2:
                old = self.random.choice(sorted(self.present))
                self.change("/api/forget", {"name": old}, old, there=False)

    def change(self, path: str, form: dict[str, Any], name: str, there: bool) -> None:
        """Asks until it is acknowledged or refused; a change whose answer was lost may be there or not."""
        self.unsure.add(name)
        self.present.discard(name)
        status, _ = self.ask("POST", path, json.dumps(form).encode())
        if status == 200:
            self.unsure.discard(name)
            self.learnt += there
            if there:
                self.present.add(name)
        elif status == 503:  # either nothing was begun, or it was not awaited to the end
            time.sleep(PAUSE)

    def ask(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=90)
        started = time.monotonic()
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            told = json.loads(answer.read())
            self.statuses[answer.status] += 1
            if answer.status not in (200, 503):
                self.refusals.add(told["error"])
            if answer.status == 503:
                time.sleep(self.random.uniform(0.5, 1.5) * float(answer.headers["retry-after"]))
            else:
                self.times.append(time.monotonic() - started)
            return answer.status, told
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            self.statuses["cut off"] += 1
            time.sleep(PAUSE)
            return 0, None
        finally:
            connection.close()


def pictures(number: int) -> list[bytes]:
    streets = SyntheticStreets("anomaly", number, (180, 320), 0)
    files = []
    for i in range(number):
        stream = io.BytesIO()
        Image.fromarray(streets[i].image).save(stream, "JPEG")
        files.append(stream.getvalue())
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--memory", type=int, default=1280)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "world"
        bundle.copy(args.world, world)
        server, stop = Server(world, args.memory), threading.Event()
        clients = [Client(number, server, pictures(20), stop) for number in range(args.clients)]
        for client in clients:
            client.start()
        time.sleep(args.warm)
        memory = watch(server, args.seconds, args.kills)
        stop.set()
        for client in clients:
            client.join()
        server.stop(signal.SIGTERM)
        return report(world, clients, memory, args)


def watch(server: Server, seconds: float, kills: int) -> list[tuple[float, float]]:
    """Kills the server at random moments; returns (seconds, MiB), of the last process alone."""
    started, rng = time.monotonic(), random.Random(0)
    moments = sorted(rng.uniform(2, 0.9 * seconds) for _ in range(kills))
    memory: list[tuple[float, float]] = []
    while (now := time.monotonic() - started) < seconds:
        if moments and now >= moments[0]:
            moments.pop(0)
            server.stop(signal.SIGKILL)
            server.start()
            memory = []
        memory.append((now, server.memory()))
        time.sleep(0.5)
    return memory


def report(world: Path, clients: list[Client], memory: list[tuple[float, float]], args: argparse.Namespace) -> int:
    opened = bundle.load(world, writable=True)
    stored = {label.name: label.exemplars for label in opened.store.classes()}
    opened.store.close()
    present = set().union(*(client.present for client in clients))
    unsure = set().union(*(client.unsure for client in clients))
    statuses = sum((client.statuses for client in clients), collections.Counter[Any]())
    times = np.concatenate([client.times for client in clients])
    lost, ghosts = present - stored.keys(), stored.keys() - present - unsure
    half = [name for name, exemplars in stored.items() if exemplars != 1]
    mib = np.array([mib for _, mib in memory])
    fifth = max(1, len(mib) // 5)
    told = {
        "clients": args.clients, "warm": args.warm, "seconds": args.seconds, "kills": args.kills,
        "answers": {str(status): count for status, count in sorted(statuses.items(), key=str)},
        "acknowledged_learns": sum(client.learnt for client in clients), "classes_in_the_end": len(stored),
        "lost": len(lost), "ghosts": len(ghosts), "half": len(half),
        "seconds_median": round(float(np.median(times)), 3), "seconds_p95": round(float(np.quantile(times, 0.95)), 3),
        "memory_mib_first_fifth": round(float(np.median(mib[:fifth])), 1),
        "memory_mib_last_fifth": round(float(np.median(mib[-fifth:])), 1),
        "memory_mib_most": round(float(mib.max()), 1),
    }  # fmt: skip
    print(json.dumps(told, indent=2))
    for refusal in sorted(set().union(*(client.refusals for client in clients))):
        print(refusal, file=sys.stderr)
    expected = {200, 503} | ({"cut off", 404} if args.kills else set())  # a new process has no images open
    errors = statuses.keys() - expected
    return 1 if lost or ghosts or half or errors else 0


if __name__ == "__main__":
    sys.exit(main())
