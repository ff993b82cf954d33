"""Attacks on the admin endpoint of a service that watches a task, by somebody who has no token."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.abuse
ROOT = Path(__file__).parent.parent.parent
MARK, NAME = f"3600.{os.getpid()}", f"abuse-{os.getpid()}"


class Service:
    """`kwitness serve` with 1,024 descriptors, soft and hard, and a task that it watches."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        state = folder / "state"
        state.mkdir(mode=0o700)
        config = folder / "kwitness.toml"
        config.write_text(
            f"[admin]\nport = {self.port}\n[privileges]\ndrop = false\n[state]\n"
            f'directory = "{state}"\n'
            f'[[rule]]\nargv = "{MARK}"\nsystem = "lab"\npipeline = "{NAME}"\n'
        )
        self.log = folder / "log"
        command = [sys.executable, "-m", "receiver", "serve", "-c", str(config)]
        environment = {**os.environ, "OTEL_SDK_DISABLED": "true"}
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=few_descriptors,
            )
        self.task: subprocess.Popen[bytes] | None = None
        self.state, self.may_miss_samples = state, False

    def begin(self) -> None:
        """Returns when the task is watched."""
        self.until(lambda: self.get("/readyz") == "ready\n")
        self.token = (self.state / "admin.token").read_text().strip()
        self.task = subprocess.Popen(["sleep", MARK])
        self.until(self.watching)

    def watching(self) -> bool:
        """Whether the task of this test is in the tree."""
        return NAME in self.get("/tree")

    def until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end and self.child.poll() is None, self.log.read_text()[
                -2000:
            ]
            time.sleep(0.05)

    def get(self, path: str) -> str:
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if path not in ("/livez", "/readyz"):
            asked.add_header("Authorization", f"Bearer {self.token}")
        with contextlib.suppress(OSError), urllib.request.urlopen(asked, timeout=3) as answer:
            return str(answer.read().decode())
        return ""

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def end(self) -> None:
        if self.task is not None:
            self.task.kill()
            self.task.wait()
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            self.child.wait(timeout=30)


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


@pytest.fixture
def service(live: None, tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    try:
        made.begin()
        yield made
        assert made.child.poll() is None
    finally:
        made.end()
    log = made.log.read_text()
    assert made.child.returncode == 0 and "Traceback" not in log and len(log) < 20_000
    assert made.may_miss_samples or not re.search("lost|descriptor", log)


@contextlib.contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    made: list[socket.socket] = []
    try:
        while len(made) < count:
            made.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        yield made
    finally:
        for each in made:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def probes_are_answered(service: Service, times: int = 30) -> None:
    """While samples of the task are taken, which need a descriptor each."""
    for _ in range(times):
        assert service.get("/livez") == "live\n" and service.get("/readyz") == "ready\n"
        time.sleep(0.1)
    assert service.watching()


def test_1010_idle_connections_while_a_task_is_watched(service: Service) -> None:
    with connections(service.port, 1010):
        probes_are_answered(service)
        assert service.descriptors() < 150


def test_heads_and_bodies_of_one_byte_at_a_time(service: Service) -> None:
    with connections(service.port, 200) as made:
        for number, each in enumerate(made):
            with contextlib.suppress(OSError):
                each.sendall(
                    b"GET /livez HTTP/1.1\r\nX: "
                    if number % 2
                    else b"POST /alerts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999\r\n\r\n"
                )
        for _ in range(3):
            for each in made:
                with contextlib.suppress(OSError):
                    each.sendall(b"x")
            probes_are_answered(service, 5)


def test_bodies_of_100_mb(service: Service) -> None:
    before = memory(service.child.pid)
    chunk = bytes(1 << 20)
    for head in (
        b"Content-Length: 104857600\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n6400000\r\n",
    ):
        for token in (f"Authorization: Bearer {service.token}\r\n".encode(), b""):
            sent = 0
            with connections(service.port, 1) as (each,), contextlib.suppress(OSError):
                each.sendall(
                    (
                        b"POST /alerts HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                        b"Content-Type: application/json\r\n"
                    )
                    + token
                    + head
                )
                while sent < 100 << 20:
                    each.sendall(chunk)
                    sent += len(chunk)
            assert sent < 16 << 20, head
    print("resident", (memory(service.child.pid) - before) >> 10, "KiB more")
    assert memory(service.child.pid) - before < 4 << 20
    probes_are_answered(service, 3)


def test_many_requests_at_once_and_on_many_connections(service: Service) -> None:
    with connections(service.port, 100) as made:
        for each in made:
            with contextlib.suppress(OSError):
                each.settimeout(1)
                each.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 5000)
        probes_are_answered(service, 10)
    for _ in range(2000):
        with connections(service.port, 1) as (each,):
            each.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    probes_are_answered(service, 3)


def test_without_any_free_descriptor(service: Service) -> None:
    """With those kept back it sees and answers; with a limit below these, too, it lives,
    and sees again when there are some."""
    service.may_miss_samples = True
    taken = [int(name) for name in os.listdir(f"/proc/{service.child.pid}/fd")]
    resource.prlimit(service.child.pid, resource.RLIMIT_NOFILE, (max(taken) + 1, 1024))
    probes_are_answered(service)
    assert "sample" not in service.log.read_text()
    resource.prlimit(service.child.pid, resource.RLIMIT_NOFILE, (8, 1024))
    service.until(lambda: "skipped a sample of processes" in service.log.read_text())
    resource.prlimit(service.child.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    service.until(lambda: service.get("/readyz") == "ready\n")
    assert "samples_missed" in service.get("/metrics")


def memory(pid: int) -> int:
    """Resident bytes, proc(5)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
