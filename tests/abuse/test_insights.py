"""Attacks on an insights instance, whole: uploads that are held open, floods of facts,
and requests made to become large."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver import semconv as sc
from receiver.units import MIB
from tests.abuse.http2 import Holder
from tests.insights.requests import record, request

pytestmark = pytest.mark.abuse
ROOT = Path(__file__).parent.parent.parent
LIMIT = 512 * MIB  # of deploy/kubernetes/insights.yaml
KIND = {"Content-Type": "application/x-protobuf"}


class Instance:
    """`kwitness serve --mode insights` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.grpc, self.http, self.admin = (free_port() for _ in range(3))
        config = folder / "kwitness.toml"
        config.write_text(
            f"[admin]\nport = {self.admin}\n[privileges]\ndrop = false\n"
            f'[insights]\ngrpc = "127.0.0.1:{self.grpc}"\nhttp = "127.0.0.1:{self.http}"\n'
        )
        self.log = folder / "log"
        self.peers: list[socket.socket] = []  # closed at the end
        command = [
            sys.executable,
            "-m",
            "receiver",
            "serve",
            "--mode",
            "insights",
            "-c",
            str(config),
        ]
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "OTEL_SDK_DISABLED": "true"}, stderr=log
            )
        until(lambda: self.get("/readyz") == "ready\n")

    def get(self, path: str) -> str:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer,
        ):
            return str(answer.read().decode())
        return ""

    def post(self, body: bytes) -> int:
        asked = urllib.request.Request(f"http://127.0.0.1:{self.http}/v1/logs", body, KIND)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def most_memory(self) -> int:
        """Bytes that were resident at most, proc(5) VmHWM."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def counts(self) -> dict[str, float]:
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in self.get("/metrics").splitlines()
            if line[0] != "#"
        }

    def terminate(self) -> None:
        """The deadline is systemd's and Kubernetes' (TimeoutStopSec,
        terminationGracePeriodSeconds), not the promise."""
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(timeout=15) == 0


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path)
    try:
        yield made
    finally:
        for peer in list(made.peers):
            peer.close()
        if made.child.poll() is None:
            made.child.kill()
            made.child.wait()
    log = made.log.read_text()
    assert "Traceback" not in log and len(log) < 20_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def push(peer: socket.socket, data: bytes) -> None:
    """As much of it as is taken."""
    with contextlib.suppress(OSError):
        peer.settimeout(3)
        peer.sendall(data)


def together(count: int, work: Callable[[int], None]) -> None:
    def one(number: int) -> None:
        with contextlib.suppress(OSError):
            work(number)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_200_uploads_of_15_mib_that_never_end(instance: Instance) -> None:
    head = (
        b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
        b"Content-Length: %d\r\n\r\n"
    ) % (15 * MIB + 1)

    def hold(_: int) -> None:
        peer = socket.create_connection(("127.0.0.1", instance.http))
        instance.peers.append(peer)
        push(peer, head + bytes(15 * MIB))

    together(200, hold)
    good = request(record()).SerializeToString()
    until(lambda: instance.post(good) == 200)
    together(20, hold)
    print("HWM", instance.most_memory() // MIB, instance.counts())
    assert instance.most_memory() < LIMIT
    start = time.monotonic()
    instance.terminate()
    print("ended after", time.monotonic() - start)


def test_200_grpc_connections_with_messages_that_never_end(instance: Instance) -> None:
    def hold(_: int) -> None:
        holder = Holder(instance.grpc, 4, 4 * MIB - 1)
        instance.peers.append(holder.socket)
        holder.hold(1.0)

    together(200, hold)
    counts = instance.counts()
    print("HWM", instance.most_memory() // MIB, counts)
    assert instance.most_memory() < LIMIT
    assert (
        counts['pipeline_insights_refused_total{pipeline_observer_loss_reason="uploads_full"}'] > 0
    )
    good = request(record()).SerializeToString()
    until(lambda: instance.post(good) == 200)
    start = time.monotonic()
    instance.terminate()
    print("ended after", time.monotonic() - start)


def test_a_flood_of_facts_of_many_runs(instance: Instance) -> None:
    """30,000 of some 4 kB, each of a run of its own, and of hosts of their own in one run."""
    texts = {sc.FILE_PATH: "/" + "x" * 4000, sc.PROCESS_EXECUTABLE_NAME: "y" * 4000}
    for number in range(60):
        records = []
        for n in range(500):
            made = record(
                sc.EVENT_PIPELINE_TASK_END, **texts, **{sc.LOG_RECORD_UID: f"u{number}-{n}"}
            )
            made.trace_id = (number * 500 + n + 1).to_bytes(16, "big")
            records.append(made)
        assert instance.post(request(*records, host__name=f"h{number}").SerializeToString()) == 200
    counts = instance.counts()
    print("HWM", instance.most_memory() // MIB, counts)
    assert instance.most_memory() < LIMIT
    assert (
        counts['pipeline_observer_drops_total{pipeline_observer_loss_reason="forgotten_run"}']
        > 20_000
    )
    instance.terminate()


def test_runs_that_are_as_much_work_as_can_be(instance: Instance) -> None:
    """Half of 128 hosts have a death, half a broken connection;
    all of them are looked at, and probes are answered meanwhile."""
    for run in range(20):
        bodies = request()
        for host in range(128):
            number = f"i{host}"
            records = [
                record(sc.EVENT_PROCESS_OOM_KILLED, **{sc.LOG_RECORD_UID: "u1"}),
                record(
                    sc.EVENT_PIPELINE_INCIDENT_OPENED,
                    **{
                        sc.LOG_RECORD_UID: "u2",
                        sc.PIPELINE_INCIDENT_ID: number,
                        sc.PIPELINE_INCIDENT_CAUSE: "net.reset_short",
                    },
                ),
                record(
                    sc.EVENT_NETWORK_CONNECTION_FAILED,
                    **{sc.LOG_RECORD_UID: "u3", sc.NETWORK_PEER_ADDRESS: "10.0.0.1"},
                ),
                record(sc.EVENT_PIPELINE_TASK_END, **{sc.LOG_RECORD_UID: "u4"}),
            ]
            for made in records[:1] if host % 2 else records[1:]:
                made.trace_id = (run + 1).to_bytes(16, "big")
            kept = [made for made in records if made.trace_id[0] == 0]
            bodies.resource_logs.extend(request(*kept, host__name=f"h{host}").resource_logs)
        assert instance.post(bodies.SerializeToString()) == 200
    looked_at = 'pipeline_incidents_total{pipeline_incident_cause="mem.cgroup_oom"}'
    while instance.counts().get(looked_at, 0) < 20:
        assert instance.get("/readyz") == "ready\n"
    instance.terminate()


@pytest.mark.parametrize("shape", ["resources", "records", "attributes", "arrays"])
def test_requests_that_are_small_on_the_wire_and_large_as_objects(
    instance: Instance, shape: str
) -> None:
    def message(number: int, body: bytes) -> bytes:
        size, length = len(body), b""
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + body

    many = b"\x0a\x00" * (15 * MIB // 2)
    body = {
        "resources": many,
        "records": message(1, message(2, b"\x12\x00" * (15 * MIB // 2))),
        "attributes": message(1, message(2, message(2, b"\x32\x00" * (15 * MIB // 2)))),
        "arrays": message(1, message(2, message(2, message(6, message(2, message(5, many)))))),
    }[shape]
    assert instance.post(body) in (200, 400)
    assert instance.most_memory() < LIMIT
    instance.terminate()
