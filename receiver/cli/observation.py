"""The observer of `kwitness run`, from the launcher's side: its start, the questions that it
answers, and its end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
from typing import NamedTuple, NoReturn

from receiver.cli.exits import EX_SOFTWARE, EX_TEMPFAIL
from receiver.cli.terminal import Undo
from receiver.kernel.inherited import Inherited

READY_SECONDS = 30.0  # afterwards the command starts without an observer
ANSWER_SECONDS = 0.3
MESSAGE_BYTES = 4096
_FAULTS = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGSYS,
)


class ObserverRefusal(NamedTuple):
    """Why nothing is observed.

    `fatal`: the user's command line is wrong, so the command must not run.
    """

    fatal: bool
    status: int
    reason: str


class Observation:
    """The observer, from the launcher's side."""

    def __init__(self, pid: int, channel: socket.socket, undo: Undo) -> None:
        self.pid = pid
        self.undo = undo
        self._channel = channel
        self._questions = 0

    @classmethod
    def begin(cls, args: argparse.Namespace, inherited: Inherited) -> Observation:
        """Forks it. Raises OSError."""
        ours, theirs = _channel()
        undo = Undo()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _observe(args, theirs, inherited, undo)
        theirs.close()
        return cls(pid, ours, undo)

    def ready(self) -> ObserverRefusal | None:
        """Waits until it has attached, or has reported why not and exited."""
        self._channel.settimeout(READY_SECONDS)
        try:
            answer = self._channel.recv(MESSAGE_BYTES).decode(errors="replace").split(" ", 2)
        except TimeoutError:
            self.kill()
            return ObserverRefusal(
                False, EX_TEMPFAIL, f"the observer was not ready within {READY_SECONDS:.0f} s"
            )
        if answer == ["ready"]:
            return None
        _, status = os.waitpid(self.pid, 0)
        if len(answer) == 3:
            return ObserverRefusal(answer[0] == "invalid", int(answer[1]), answer[2])
        return ObserverRefusal(False, EX_SOFTWARE, f"the observer {describe(status)}")

    def tell(self, *words: object) -> None:
        """The observer may have ended."""
        with contextlib.suppress(OSError):
            self._channel.send(" ".join(map(str, words)).encode())

    def stopped(self) -> None:
        """The command has stopped. Returns when the status is off the terminal."""
        self.tell("stopped")
        self._channel.settimeout(ANSWER_SECONDS)
        with contextlib.suppress(OSError):
            while answer := self._channel.recv(MESSAGE_BYTES):
                if answer == b"restored":
                    break
        self.undo.write(2)  # an observer that hangs

    def saw(self, number: int, sender: int) -> bool:
        """Whether the kernel has sent the same signal to the command, too: one to its group, or to
        its cgroup.
        """
        self._questions += 1
        self.tell("signal", self._questions, number, sender)
        self._channel.settimeout(ANSWER_SECONDS)
        with contextlib.suppress(OSError):
            while answer := self._channel.recv(MESSAGE_BYTES).decode().split():
                if answer[:1] == [str(self._questions)]:  # not an answer to an earlier question
                    return answer[1:] == ["yes"]
        return False

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def describe(status: int) -> str:
    """`status`: as wait(2) returns it."""
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exited with status {os.waitstatus_to_exitcode(status)}"


def _channel() -> tuple[socket.socket, socket.socket]:
    """Whole messages, never on descriptor 0, 1 or 2: these may be closed, and they belong to the
    command.
    """
    import fcntl

    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ends = [
        socket.socket(fileno=fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)) for end in pair
    ]
    for end in pair:
        end.close()
    return ends[0], ends[1]


def _observe(
    args: argparse.Namespace, channel: socket.socket, inherited: Inherited, undo: Undo
) -> NoReturn:
    """The observer's process.

    A signal to its group or cgroup is for the command; the closed socket ends the observer.
    """
    status = EX_SOFTWARE
    try:
        for number in signal.valid_signals().difference(
            (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, *_FAULTS)
        ):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN)
        from receiver.cli import observe

        status = observe.main(args, channel, inherited, undo)
    except BaseException as error:  # any failure: the command must continue
        with contextlib.suppress(OSError):
            channel.send(
                f"refused {EX_SOFTWARE} {type(error).__name__}: {error}".encode()[:MESSAGE_BYTES]
            )
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)
