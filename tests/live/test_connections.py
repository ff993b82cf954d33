"""Connections of watched processes over loopback, against what the test itself did."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.events import (
    Connection,
    ConnectionFlag,
    ConnectionStage,
    UnixConnected,
)
from tests.live.conftest import Watched
from tests.live.connections import peer, sample

pytestmark = pytest.mark.live


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_connection_from_its_syn_to_its_end(
    watched: Watched, family: socket.AddressFamily
) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as server:
        child = watched.start(
            """
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
c.sendall(b"q" * 1000)
got = 0
while got < 5000: got += len(c.recv(4096))
print("up", flush=True)
sys.stdin.readline()
c.close()
""",
            host,
            str(server.getsockname()[1]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        there, address = server.accept()
        with there:
            assert len(there.recv(1000, socket.MSG_WAITALL)) == 1000
            there.sendall(b"a" * 5000)
            assert child.stdout is not None and child.stdout.readline() == "up\n"
            (live,) = sample(watched, child.pid)
            child.communicate("\n")
    first, last = watched.witness.of(child.pid, Connection)
    assert (first.stage, live.stage, last.stage) == (
        ConnectionStage.CONNECTED,
        ConnectionStage.SAMPLED,
        ConnectionStage.CLOSED,
    )
    assert first.connection_id == live.connection_id == last.connection_id
    assert peer(first) == peer(last) == peer(live) and peer(last)[0] == host
    assert first.local_port == address[1]
    assert 0 < first.established_boottime_ns - first.connection_id < 1_000_000_000
    assert (last.sent_bytes, last.received_bytes) == (1000, 5000)
    assert last.connection_flags == 0 and last.error == 0
    assert last.network_namespace_inode == os.stat("/proc/self/ns/net").st_ino
    assert live.last_send_boottime_ns and live.last_receive_boottime_ns
    assert live.last_send_boottime_ns <= live.time_boottime_ns


def test_an_accepted_connection_belongs_to_the_listener(watched: Watched) -> None:
    """The kernel runs the peer's context when it is made."""
    child = watched.start(
        """
import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
c, _ = s.accept()
c.sendall(c.recv(100) * 3)
c.close()
""",
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    port = int(child.stdout.readline())
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"x" * 100)
        assert len(client.recv(1000, socket.MSG_WAITALL)) == 300
        own = client.getsockname()
    child.communicate()
    ends = [
        e for e in watched.witness.of(child.pid, Connection) if e.stage == ConnectionStage.CLOSED
    ]
    assert [(peer(e), e.local_port, e.sent_bytes, e.received_bytes) for e in ends] == [
        ((own[0], own[1]), port, 300, 100)
    ]
    assert ends[0].connection_flags & ConnectionFlag.ACCEPTED


def test_a_reset_names_its_sender(watched: Watched, listener: socket.socket) -> None:
    child = watched.start(
        "import socket, sys\nc = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "c.sendall(b'x')\n"
        "try: c.recv(1)\nexcept ConnectionResetError: pass",
        str(listener.getsockname()[1]),
    )
    there, _ = listener.accept()
    there.recv(1)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    there.close()
    assert child.wait() == 0
    end = watched.witness.of(child.pid, Connection)[-1]
    assert end.stage == ConnectionStage.CLOSED and end.error == 104
    assert (
        end.connection_flags & ConnectionFlag.RESET_BY_PEER
        and not end.connection_flags & ConnectionFlag.RESET_SENT
    )


def test_a_silent_peer_is_owed(watched: Watched, listener: socket.socket) -> None:
    child = watched.start(
        (
            "import socket, sys\nc = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
            "c.sendall(b'request')\nc.recv(1)"
        ),
        str(listener.getsockname()[1]),
    )
    there, _ = listener.accept()
    assert there.recv(7, socket.MSG_WAITALL) == b"request"
    time.sleep(1.2)
    (event,) = sample(watched, child.pid)
    assert (
        event.unacknowledged_bytes == 0
        and event.sent_bytes == 7
        and event.last_receive_boottime_ns == 0
    )
    assert 1.0 <= (event.time_boottime_ns - event.last_send_boottime_ns) / 1e9 <= 3
    there.sendall(b"x")
    assert child.wait() == 0
    there.close()


@pytest.mark.parametrize("name", ["path", "abstract"])
def test_a_unix_socket_names_who_listens(watched: Watched, tmp_path: Path, name: str) -> None:
    address = str(tmp_path / "s") if name == "path" else f"\0kwitness-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        pid = watched.run(
            (
                "import socket, sys; "
                "socket.socket(socket.AF_UNIX).connect(sys.argv[1].replace('@', chr(0)))"
            ),
            address.replace("\0", "@"),
        )
    (event,) = watched.witness.of(pid, UnixConnected)
    assert (event.peer_tgid, event.path) == (os.getpid(), address.replace("\0", "@"))


def test_strangers_connections_are_nobodys_business(
    watched: Watched, listener: socket.socket
) -> None:
    watched.run("pass")
    with socket.create_connection(listener.getsockname()):
        pass
    assert watched.witness.all(Connection) == []
