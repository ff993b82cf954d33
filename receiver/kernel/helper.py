"""The privileged process for kernels that refuse to attach without privileges (before 5.19,
c8644cd0efe7 "bpf: refine kernel.unprivileged_bpf_disabled behaviour").

It is forked before the drop, and attaches and detaches the system-call hooks. It holds the loaded
programs and CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN, which includes both). It reads single bytes
(attach, detach) from one socket and answers each with one byte. It parses nothing, opens nothing,
and exits when the socket closes. The hooks that it attached end with it: only its descriptors hold
them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time

from receiver.kernel.clock import boottime_ns
from receiver.kernel.confinement import Confinement
from receiver.kernel.privileges import drop, keep_what_attaches
from receiver.kernel.probes import Probes

_ON, _OFF, _DONE, _FAILED = b"A", b"D", b"+", b"-"
ANSWER_SECONDS = 5.0
END_SECONDS = 1.0


def is_needed(probes: Probes) -> bool:
    """Whether this kernel refuses to attach for a process without privileges.

    A child that dropped its privileges tries one hook.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            drop("nobody")
            probes.try_calls()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] != 0


class Helper:
    """The service's end of the socket.

    Only `close` waits: `want` sends, `poll` reads the answers that have arrived.
    """

    def __init__(self, probes: Probes, confinement: Confinement | None = None) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _serve(theirs, probes, confinement)
        theirs.close()
        ours.setblocking(False)
        self._socket = ours
        self.attached = False
        self.failure = ""  # why it is no longer used
        # its end of the socket is closed: it is exiting, and there is nothing more to wait for
        # there
        self.closed = False
        self.alive_ns = boottime_ns()  # when it last answered
        self._wanted = False
        self._asked: bool | None = None  # the request without an answer
        self._asked_at = 0.0
        self._closed_at = 0.0
        self._reaped = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def want(self, on: bool) -> None:
        """Whether the hooks should be attached. `attached` follows when the helper has answered."""
        self._wanted = on
        self._ask()

    def poll(self) -> None:
        """Reads the answer if there is one.

        Sets `failure` when the helper has exited or has not answered for 5 s. It may take a while
        to exit, because the kernel detaches its hooks then: call this again.
        """
        if self.failure:
            return
        if self.closed:
            self._fail_at_end()
            return
        now = boottime_ns()
        try:
            answer = self._socket.recv(1)
        except BlockingIOError:
            if self._asked is not None and time.monotonic() - self._asked_at > ANSWER_SECONDS:
                self.failure = (
                    f"the helper (pid {self.pid}) has not answered for {ANSWER_SECONDS:.0f} s"
                )
            else:
                self.alive_ns = now
            return
        except OSError:
            answer = b""
        if not answer:
            self.closed, self._closed_at = True, time.monotonic()
            self._fail_at_end()
            return
        self.alive_ns = now
        asked, self._asked = self._asked, None
        if asked and answer != _DONE:
            self.failure = f"the helper (pid {self.pid}) cannot attach the system-call hooks"
            return
        self.attached = bool(asked)
        self._ask()

    def _ask(self) -> None:
        if self.failure or self._asked is not None or self._wanted == self.attached:
            return
        try:
            self._socket.send(_ON if self._wanted else _OFF)
        except OSError:
            return  # it has exited: `poll` reads the end of the stream
        self._asked, self._asked_at = self._wanted, time.monotonic()

    def _fail_at_end(self) -> None:
        code = self._reap(0)
        if code is not None:
            how = f"was killed by {_name(-code)}" if code < 0 else f"exited with status {code}"
        elif time.monotonic() - self._closed_at > END_SECONDS:
            how = "has ended"
        else:
            return
        self.failure = f"the helper (pid {self.pid}) {how}"

    def _reap(self, seconds: float) -> int | None:
        """Its exit code as `subprocess` gives it.

        None when it has not exited in time, or was already reaped.
        """
        if self._reaped:
            return None
        descriptor = os.pidfd_open(self.pid)
        try:
            waiter = select.poll()
            waiter.register(descriptor, select.POLLIN)
            ended = waiter.poll(seconds * 1000)
        finally:
            os.close(descriptor)
        if not ended:
            return None
        self._reaped = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def leave(self) -> None:
        """Stops using it: it exits when it reads this.

        Its socket stays open for a poll that waits on it, until `close`.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it and waits for its exit, unless it is stopped."""
        self._socket.close()
        self._reap(END_SECONDS)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _serve(commands: socket.socket, probes: Probes, confinement: Confinement | None) -> None:
    """Never returns."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(
                number, signal.SIG_IGN
            )  # the parent handles Ctrl-C; the closed socket ends this process
        probes.library.rename_self(b"kwitness-attach")
        if confinement is not None:
            confinement.helper()
        else:
            keep_what_attaches()
        while command := commands.recv(1):
            answer = _DONE
            if command == _ON:
                try:
                    probes.attach_calls()
                except OSError:
                    answer = _FAILED
            else:
                probes.detach_calls()
            commands.sendall(answer)
        status = 0
    finally:
        os._exit(status)
