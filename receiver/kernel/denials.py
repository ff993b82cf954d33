"""Counts the calls that the seccomp filters refuse, in a small process of its own.

The kernel does not count a filter's "return this errno", and a SIGSYS handler would have to change
registers. So the filters ask a listener (SECCOMP_RET_USER_NOTIF): each refused call waits until
this process has counted it and answered EPERM. The listener cannot be a thread of the confined
process, because a Python thread may hold the interpreter lock in the call that waits. The counts
are in shared memory. When the process exits, the kernel answers ENOSYS. A call that a signal
interrupts before it is counted fails with EINTR, as a blocking call does (signal(7)).

The process has no privileges, runs under the helper's user, and exits after the last process whose
calls it counts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import mmap
import os
import select
import signal
import socket
import struct
from collections.abc import Callable

import msgspec

from receiver.errors import KwitnessError
from receiver.kernel.call_tables import Architecture

WHO = ("service", "helper")
_SLOTS = 512  # per confined process; the last slot counts other architectures and higher numbers
_OTHER = _SLOTS - 1
_RECV, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
_NOTIFICATION = struct.Struct("=QIIiI")  # id, pid, flags; seccomp_data: nr, arch
# struct seccomp_notif has 80 bytes; the kernel writes no more than the size in the ioctl
_BUFFER_BYTES = 4096
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp: id, val, error, flags


class Denied(msgspec.Struct, frozen=True, order=True):
    """How many times a call was refused to a process ("service" or "helper") since its start."""

    who: str
    call: str
    count: int


class DenialCounter:
    """Forks on construction, before there are threads and before any descriptor is open that must
    not be inherited.
    """

    def __init__(self, arch: Architecture, become: Callable[[], None]) -> None:
        """`become` drops the child's privileges and confines it."""
        self._arch = arch
        self._table = mmap.mmap(-1, len(WHO) * _SLOTS * 8)
        ours, theirs = socket.socketpair()
        wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        before = signal.pthread_sigmask(
            signal.SIG_BLOCK, wanted
        )  # the child ignores them before they can arrive
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _count_forever(theirs, self._table, arch, become)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._channel: socket.socket | None = ours
        self._ended = False

    def take(self, listener: int, who: str) -> None:
        """Hands over the listener of a filter.

        The caller keeps no copy: with one, its refused calls would wait forever after this process
        has exited.
        """
        try:
            if self._channel is None:
                raise KwitnessError("the process that counts refused calls is closed")
            socket.send_fds(self._channel, [bytes((WHO.index(who),))], [listener])
        finally:
            os.close(listener)

    def counts(self) -> tuple[Denied, ...]:
        """Without zeros, in order."""
        with memoryview(self._table).cast("Q") as table:
            found = [(index, count) for index, count in enumerate(table) if count]
        return tuple(
            sorted(Denied(WHO[i // _SLOTS], self._name(i % _SLOTS), count) for i, count in found)
        )

    def _name(self, slot: int) -> str:
        return "other" if slot == _OTHER else self._arch.name(slot)

    def alive(self) -> bool:
        """False once the process has exited too early: refused calls are no longer counted."""
        if not self._ended:
            with contextlib.suppress(ChildProcessError):
                self._ended = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        return not self._ended

    def close(self) -> None:
        """Does not wait: the process exits with the last process whose calls it counts, which may
        be the caller.
        """
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._table.close()


def _count_forever(
    channel: socket.socket, table: mmap.mmap, arch: Architecture, become: Callable[[], None]
) -> None:
    """Never returns."""
    status = 1
    try:
        gc.disable()
        _rename(b"kwitness-denied")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # this process exits when the others have
        _close_all_but(channel.fileno())
        become()
        _loop(channel, table, arch)
        status = 0
    finally:
        os._exit(status)


def _rename(name: bytes) -> None:
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as comm:
        comm.write(name)


def _close_all_but(kept: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)  # a reader of the parent's output must not wait for this process
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _loop(channel: socket.socket, table: mmap.mmap, arch: Architecture) -> None:
    counts = memoryview(table).cast("Q")
    listeners: dict[int, int] = {}
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    open_channel = True
    while open_channel or listeners:
        for fd, events in poller.poll():
            if fd == channel.fileno():
                said, given, _, _ = socket.recv_fds(channel, 1, 1)
                if not said:
                    poller.unregister(channel)
                    open_channel = False
                for listener in given:
                    listeners[listener] = said[0] * _SLOTS
                    poller.register(listener, select.POLLIN)
            elif events & select.POLLIN:
                _answer(fd, listeners[fd], counts, arch)
            else:  # POLLHUP: no process with this filter is left
                poller.unregister(fd)
                del listeners[fd]
                os.close(fd)


def _answer(listener: int, at: int, counts: memoryview, arch: Architecture) -> None:
    request = bytearray(_BUFFER_BYTES)
    try:
        fcntl.ioctl(listener, _RECV, request)
    except OSError:  # ENOENT: the caller was killed in the meantime
        return
    number, _, _, call, machine = _NOTIFICATION.unpack_from(request)
    known = machine == arch.audit and 0 <= call < _OTHER
    counts[at + (call if known else _OTHER)] += 1
    # the call is newer than the tables: a library falls back to an older call only on ENOSYS
    refused = errno.ENOSYS if known and call > arch.highest else errno.EPERM
    with contextlib.suppress(OSError):
        fcntl.ioctl(listener, _SEND, _ANSWER.pack(number, 0, -refused, 0))
