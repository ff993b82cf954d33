"""Connections of watched processes over loopback and own network namespaces, against what the test
itself did."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionFlag,
    ConnectionStage,
    NameQuery,
    UnixConnected,
)
from receiver.kernel.decode import decode
from receiver.text.names import address_of, name_in
from receiver.text.redact import Redactor
from tests.live.conftest import Watched
from tests.waiting import eventually

pytestmark = pytest.mark.live


def peer(event: Connection) -> tuple[str, int]:
    return address_of(event.family, event.peer_high, event.peer_low), event.peer_port


def sample(watched: Watched, pid: int) -> list[Connection]:
    found = [decode(raw, Redactor("off")) for raw in watched.witness.source.sample()]
    return [e for e in found if isinstance(e, Connection) and e.process.tgid == pid]


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


class NameServer(threading.Thread):
    """Answers A questions with two addresses after a CNAME;
    "nobody" gets no answer, "broken" a server failure."""

    def __init__(self, server: socket.socket) -> None:
        super().__init__(daemon=True)
        self.server = server

    def run(self) -> None:
        while True:
            try:
                question, client = self.server.recvfrom(512)
            except OSError:
                return
            if b"nobody" in question:
                continue
            code = 2 if b"broken" in question else 0
            head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 0 if code else 3, 0, 0)
            name = b"\xc0\x0c"
            answers = (
                b""
                if code
                else (
                    name
                    + struct.pack(">HHIH", 5, 1, 60, 2)
                    + name
                    + name
                    + struct.pack(">HHIH", 1, 1, 60, 4)
                    + bytes([10, 0, 0, 7])
                    + name
                    + struct.pack(">HHIH", 1, 1, 60, 4)
                    + bytes([10, 0, 0, 8])
                )
            )
            self.server.sendto(head + question[12:] + answers, client)


ASK = """
import socket, struct, sys
def ask(name, send):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((sys.argv[1], 53))
    s.settimeout(0.3)
    labels = b"".join(bytes([len(p)]) + p for p in name.encode().split(b"."))
    head = struct.pack(">HHHHHH", 77, 0x100, 1, 0, 0, 0)
    query = head + labels + b"\\0" + struct.pack(">HH", 1, 1)
    getattr(s, send)(*(([query],) if send == "sendmsg" else (query,)))
    try: s.recv(512)
    except TimeoutError: pass
ask("www.example.com", "send"); ask("nobody.test", "send"); ask("broken.test", "sendmsg")
"""


def test_name_queries(watched: Watched) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.53", 53))
        except OSError:
            pytest.skip("something listens on 127.0.0.53:53")
        NameServer(server).start()
        pid = watched.run(ASK, "127.0.0.53")
    seen = watched.witness.of(pid, NameQuery)
    asked = [
        (name_in(e.labels), e.query_flags >> 15, e.query_flags & 15, e.question_type, e.addresses)
        for e in seen
    ]
    assert asked == [
        ("www.example.com", 0, 0, 1, 0),
        ("www.example.com", 1, 0, 1, 2),
        ("nobody.test", 0, 0, 1, 0),
        ("broken.test", 0, 0, 1, 0),
        ("broken.test", 1, 2, 1, 0),
    ]
    answer = seen[1]
    assert address_of(2, answer.first_high, answer.first_low) == "10.0.0.7"
    assert address_of(2, answer.second_high, answer.second_low) == "10.0.0.8"
    assert {
        (address_of(e.family, e.server_high, e.server_low), e.port, e.query_id) for e in seen
    } == {("127.0.0.53", 53, 77)}


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
