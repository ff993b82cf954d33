"""The fallback's messages: read as the kernel writes them, and no process can hide behind
its own names."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from typing import Any

import pytest
from pyroute2.netlink.marshal import Marshal

from receiver.events import Connection, Event, Exit, Fork, ProcessKey, Title
from receiver.kernel import netlink_processes
from receiver.kernel.netlink_messages import (
    DiagMarshal,
    ProcMarshal,
    StatsMessage,
    ThreadUsage,
    usage,
)
from receiver.kernel.netlink_processes import Processes
from receiver.kernel.netlink_sockets import PolledSocket
from receiver.kernel.proc import Image, ProcFs
from tests.kernel import datagrams

USAGE = ThreadUsage(
    user=3000,
    system=4000,
    runtime=11,
    run_delay=10,
    peak_rss=5 << 10,
    read=8,
    written=9,
    read_calls=6,
    write_calls=7,
)


class _Stats(Marshal):  # type: ignore[misc]  # pyroute2 has no types
    default_message_class = StatsMessage


class _Host(ProcFs):
    """A host on which every process has ended already."""

    def key(self, pid: int) -> ProcessKey | None:
        return None

    def comm(self, pid: int) -> str:
        return "name"

    def uid(self, pid: int) -> int:
        return 1000

    def title(self, pid: int) -> str:
        return "title"

    def image(self, pid: int) -> Image | None:
        return None


def reading(marshal: Any) -> PolledSocket:
    found = PolledSocket()
    found.set_marshal(marshal)
    return found


def events(*data: bytes) -> list[Event]:
    sock, processes = (
        reading(ProcMarshal()),
        Processes(_Host(lambda _: False), (1,), 0, lambda: None),
    )
    found = [e for d in data for m in sock.decoded(d) for e in processes.events(m)]
    assert sock.lost == processes.lost == 0
    return found


def test_a_life_of_a_process() -> None:
    fork, title, end = events(
        datagrams.forked(5, 9),
        datagrams.renamed(9, b"worker"),
        datagrams.proc_event(datagrams.FORK, 9, 9, 10, 9),  # a thread
        datagrams.proc_event(datagrams.EXIT, 10, 9, 0, 17, 5, 5),  # its end
        datagrams.proc_event(0x40, 9, 9, 0, 0),  # another user
        datagrams.proc_event(0x4, 9, 9, 0, 0),
        datagrams.proc_event(0x20000000, 9, 9),  # of a kernel to come
        datagrams.exited(9, 3 << 8),
    )
    assert isinstance(fork, Fork) and fork.process.tgid == 9 and fork.time_boottime_ns == 10**9
    assert isinstance(title, Title) and title.comm == "worker" and title.process == fork.process
    assert isinstance(end, Exit) and end.wait_status == 3 << 8 and end.process == fork.process


def test_a_name_that_is_no_text_hides_nothing() -> None:
    _, title, end = events(
        datagrams.forked(5, 9), datagrams.renamed(9, b"\xff\xfe"), datagrams.exited(9, 0)
    )
    assert isinstance(title, Title) and title.comm == "\ufffd\ufffd" and isinstance(end, Exit)
    (message,) = reading(_Stats()).decoded(datagrams.taskstats(16, 480, datagrams.USED, b"\xff"))
    assert usage(message) == (42, USAGE)


@pytest.mark.parametrize(
    ("version", "size", "values"),
    [
        (12, 376, "USED"),
        (13, 424, "USED"),
        (14, 440, "USED"),
        (15, 560, "USED_15"),
        (16, 560, "USED"),
        (99, 1200, "USED"),
    ],
)
def test_what_a_thread_had_used(version: int, size: int, values: str) -> None:
    data = datagrams.taskstats(version, size, getattr(datagrams, values))
    (message,) = reading(_Stats()).decoded(data)
    assert usage(message) == (42, USAGE)


def test_without_the_tgid_it_says_nothing() -> None:
    """Before version 12 the struct had none."""
    (message,) = reading(_Stats()).decoded(datagrams.taskstats(11, 368, datagrams.USED))
    assert usage(message) is None


@pytest.mark.parametrize(
    ("marshal", "data"),
    [
        (ProcMarshal(), datagrams.renamed(9, b"x")),
        (_Stats(), datagrams.taskstats(16, 480, datagrams.USED)),
        (
            DiagMarshal(lambda inode: inode == datagrams.INODE),
            datagrams.connection(datagrams.INODE, "10.0.0.1", 80),
        ),
    ],
    ids=["connector", "taskstats", "sock_diag"],
)
def test_a_truncated_message_is_a_counted_loss(marshal: Any, data: bytes) -> None:
    sock = reading(marshal)
    assert len(sock.decoded(data)) == 1 and sock.lost == 0
    for length in range(len(data)):
        assert sock.decoded(data[:length]) == [] and sock.lost == length + 1


@pytest.mark.parametrize("length", [0, 1, 15, 77, 1 << 31])
def test_a_length_that_is_none_is_a_counted_loss(length: int) -> None:
    """pyroute2 would read such a datagram byte by byte."""
    sock = reading(ProcMarshal())
    data = datagrams.executed(9)
    assert sock.decoded(length.to_bytes(4, "little") + data[4:]) == [] and sock.lost == 1


def test_a_value_that_no_record_holds_is_a_counted_loss() -> None:
    processes = Processes(_Host(lambda _: False), (1,), 0, lambda: None)
    for far in (
        datagrams.proc_event(datagrams.EXIT, 9, 9, cpu=1 << 16),
        datagrams.proc_event(datagrams.EXIT, 9, 9, stamp=1 << 63),
    ):
        (message,) = reading(ProcMarshal()).decoded(far)
        assert processes.events(message) == []
    assert processes.lost == 2


class _Wire:
    """A socket with datagrams and errors that wait."""

    def __init__(self, *waiting: tuple[bytes, tuple[int, int]] | OSError) -> None:
        self.waiting = list(waiting)

    def recvfrom(self, size: int, flags: int) -> tuple[bytes, tuple[int, int]]:
        assert flags & socket.MSG_DONTWAIT
        if not self.waiting:
            raise BlockingIOError
        if isinstance(found := self.waiting.pop(0), OSError):
            raise found
        return found


def polled(*waiting: tuple[bytes, tuple[int, int]] | OSError) -> PolledSocket:
    found = PolledSocket(use_socket=_Wire(*waiting))
    found.set_marshal(ProcMarshal())
    return found


def test_the_kernel_is_the_only_sender() -> None:
    sock = polled((datagrams.exited(8, 9), (4711, 1)), (datagrams.exited(9, 0), (0, 1)))
    (message,) = sock.receive() or []
    assert message["process_tgid"] == 9 and sock.receive() is None and sock.lost == 0


def test_an_overflow_is_counted_and_reading_goes_on() -> None:
    full = OSError(errno.ENOBUFS, "no buffer space")
    sock = polled(full, full, (datagrams.exited(9, 0), (0, 1)))
    assert len(sock.receive() or []) == 1 and sock.lost == 2
    with pytest.raises(OSError, match="broken"):
        polled(OSError(errno.EIO, "broken")).receive()


def test_only_connections_that_are_wanted_are_decoded() -> None:
    sock = reading(DiagMarshal(lambda inode: inode == datagrams.INODE))
    data = datagrams.connection(5, "10.0.0.1", 80) + datagrams.connection(
        datagrams.INODE, "fe80::1", 443
    )
    owner = ProcessKey(7, 1)
    processes = Processes(_Host(lambda _: False), (1,), 0, lambda: None)
    entries = sock.decoded(data)
    (found,) = processes.connections({datagrams.INODE: owner}, entries, 5)
    assert len(entries) == 1 and isinstance(found, Connection) and found.process == owner
    assert (found.family, found.peer_port, found.local_port) == (socket.AF_INET6, 443, 5000)
    assert (found.unread_bytes, found.unacknowledged_bytes) == (30, 20)
    assert found.peer_high.to_bytes(8, "little") == b"\xfe\x80".ljust(8, b"\0")


def test_threads_add_up_and_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink_processes, "_USAGE_LIMIT", 2)
    processes = Processes(_Host(lambda _: False), (1,), 0, lambda: None)
    other = ThreadUsage(user=1, system=1, runtime=1, peak_rss=1)
    assert processes.used(5, USAGE) and processes.used(42, USAGE) and processes.used(42, other)
    assert not processes.used(6, other)  # 5 made room
    ends = {}
    for pid in (5, 42):
        for message in reading(ProcMarshal()).decoded(datagrams.exited(pid, 0)):
            (ends[pid],) = processes.events(message)
    first, second = ends[5], ends[42]
    assert isinstance(first, Exit) and isinstance(second, Exit)
    assert first.cpu_runtime_ns == 0 and second.cpu_runtime_ns == USAGE.runtime + 1
    assert second.user_cpu_ns == USAGE.user + 1 and second.peak_rss_bytes == USAGE.peak_rss


def test_an_exit_waits_for_its_resources() -> None:
    """The kernel sends them before it reports the exit; they may have come since the last read."""

    def read() -> None:
        processes.used(9, USAGE)

    processes = Processes(_Host(lambda _: False), (1,), 0, read)
    (message,) = reading(ProcMarshal()).decoded(datagrams.exited(9, 0))
    (end,) = processes.events(message)
    assert isinstance(end, Exit) and end.cpu_runtime_ns == USAGE.runtime


@pytest.mark.parametrize(
    ("module", "loaded"), [("choose", "pyroute2"), ("netlink", "pyroute2.iproute")]
)
def test_pyroute2_is_loaded_where_it_is_used_only(module: str, loaded: str) -> None:
    program = f"import sys, receiver.kernel.{module}; print('{loaded}' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
