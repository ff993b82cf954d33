"""Connections that were not made: refused, unanswered, without a free port, or still in a full
queue. Some of them are in a network namespace of the test's own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionStage,
)
from tests.live.conftest import Watched
from tests.live.connections import peer, sample
from tests.waiting import eventually

pytestmark = pytest.mark.live


def test_a_refused_connection(watched: Watched) -> None:
    pid = watched.run(
        "import socket\ntry: socket.create_connection(('127.0.0.1', 1))\n"
        "except ConnectionRefusedError: pass"
    )
    (event,) = watched.witness.of(pid, Connection)
    assert (event.stage, event.error, peer(event)) == (
        ConnectionStage.FAILED,
        111,
        ("127.0.0.1", 1),
    )
    assert event.established_boottime_ns == 0


@pytest.fixture
def namespace(live: None) -> Iterator[str]:
    """A network namespace of the test's own, loopback up."""
    name = f"kwitness-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def inside(namespace: str, code: str) -> str:
    """Code that first enters the namespace."""
    return (
        f"import os, ctypes\nassert ctypes.CDLL(None).setns(os.open('/run/netns/{namespace}', "
        "0), 0x40000000) == 0\n"
    ) + code


def test_a_black_hole_shows_syn_retransmits(watched: Watched, namespace: str) -> None:
    for command in (
        "link add hole type veth peer name end",
        "link set end up",
        "addr add 10.9.0.1/24 dev hole",
        "link set hole up",
        "neigh add 10.9.0.2 lladdr 02:00:00:00:00:01 dev hole",
    ):
        subprocess.run(["ip", "-n", namespace, *command.split()], check=True)
    child = watched.start(
        inside(
            namespace,
            """
import socket
print("up", flush=True)
try: socket.create_connection(("10.9.0.2", 9), 2.5)
except TimeoutError: pass
""",
        ),
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    (live,) = eventually(
        lambda: [e for e in sample(watched, child.pid) if e.retransmits], "a retransmission"
    )
    assert live.state == 2 and live.established_boottime_ns == 0 and live.retransmits >= 1
    child.communicate()
    (event,) = watched.witness.of(child.pid, Connection)
    assert (event.stage, event.error) == (ConnectionStage.FAILED, 0)  # given up by the process
    assert event.retransmits >= 2
    assert event.time_boottime_ns - event.connection_id >= 2_400_000_000
    assert event.network_namespace_inode == os.stat(f"/run/netns/{namespace}").st_ino


def test_ports_run_out(watched: Watched, namespace: str) -> None:
    subprocess.run(
        [
            "ip",
            "netns",
            "exec",
            namespace,
            "sh",
            "-c",
            "echo '40000 40009' > /proc/sys/net/ipv4/ip_local_port_range",
        ],
        check=True,
    )
    pid = watched.run(
        inside(
            namespace,
            """
import socket
s = socket.create_server(("127.0.0.1", 9), backlog=100)
held = []
try:
    while True: held.append(socket.create_connection(("127.0.0.1", 9)))
except OSError as e: assert e.errno == 99
assert len(held) <= 10
""",
        )
    )
    (failure,) = [e for e in watched.witness.of(pid, CallFailed) if e.call == CallKind.CONNECT]
    assert (failure.error, failure.port, failure.family) == (99, 9, 2)


def full_queues(watched: Watched, pid: int) -> list[Connection]:
    listening = [e for e in sample(watched, pid) if e.stage == ConnectionStage.LISTENING]
    return [e for e in listening if e.queued > e.backlog]


def test_an_accept_queue_that_is_full(watched: Watched) -> None:
    child = watched.start(
        (
            "import socket, sys\ns = socket.create_server(('127.0.0.1', 0), backlog=1)\n"
            "print(s.getsockname()[1], flush=True)\ninput()"
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    port = int(child.stdout.readline())
    clients = []
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        clients.append(client)
    (event,) = eventually(lambda: full_queues(watched, child.pid), "a full queue")
    assert (event.local_port, event.queued, event.backlog) == (port, 2, 1)
    for client in clients:
        client.close()
    child.communicate("\n")
