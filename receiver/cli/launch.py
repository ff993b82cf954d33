"""The launcher of `kwitness run -- CMD`: the process that the user started, small and
single-threaded.

It forks the observer (`observe`), waits until that has attached, starts the command in its own
process group, passes signals on, and ends as the command ended. It opens no file, raises no limit
and handles no signal of its own, so the command inherits the same state as without kwitness. An
observer that fails, hangs or is killed costs the report, never the command.

    launcher ─fork─▶ observer   one socket pair: ready | refused | invalid ─▶, ◀─ started | failed |
    signal | stopped | ended
        └─────fork─▶ command
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import time
from typing import NamedTuple, NoReturn

from receiver.kernel.inherited import Inherited, exit_status
from receiver.text.printable import printable

EX_UNAVAILABLE, EX_SOFTWARE, EX_IOERR, EX_TEMPFAIL = 69, 70, 74, 75  # sysexits.h
READY_SECONDS = 30.0  # afterwards the command starts without an observer
REPORT_SECONDS = 120.0  # after the command's end; afterwards the launcher exits without the report
ANSWER_SECONDS = 0.3
# a signal that ended the command also reaches the launcher: it does not cancel the report
SETTLE_SECONDS = 0.5
MESSAGE_BYTES = 4096

_ALL = signal.valid_signals()
_SI_KERNEL = 0x80  # asm-generic/siginfo.h
_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
# a terminal sends these to its whole foreground group, so the command has received its own
_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, *_STOPS)
_SESSION = (signal.SIGHUP, signal.SIGCONT)  # on a hang-up, only to the session's leader
_OURS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGXCPU,
)  # from the kernel: caused by this process itself
_IMPATIENCE = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
_FAULTS = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGSYS,
)


class Refusal(NamedTuple):
    """Why nothing is observed.

    `fatal`: the user's command line is wrong, so the command must not run.
    """

    fatal: bool
    status: int
    reason: str


def say(text: str) -> None:
    """Writes one line to stderr, if it is open."""
    with contextlib.suppress(OSError):
        os.write(2, f"kwitness: {printable(text)}\n".encode(errors="backslashreplace"))


def launch(args: argparse.Namespace) -> NoReturn:
    """Ends this process as the command ends: with its exit status, or by the same signal."""
    inherited = Inherited()
    if signal.SIGINT not in inherited.ignored:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # if it were ignored, the exit status would be lost
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    observation: Observation | None = None
    try:
        observation = Observation.begin(args, inherited)
        refusal = observation.ready()
    except OSError as error:
        refusal = Refusal(False, EX_TEMPFAIL, f"cannot start the observer: {error.strerror}")
    if refusal is not None:
        observation = None
        if refusal.fatal or args.require:
            say(refusal.reason)
            os._exit(refusal.status)
        say(f"not observed: {refusal.reason}")
    if observation is None and not args.strict_output:
        _replace(inherited, args.command)
    try:
        supervisor = Supervisor(inherited, observation, args.command)
    except BlockingIOError as error:  # fork(2): the process limit is reached, but exec still works
        if observation is not None:
            observation.kill()
        say(f"not observed: cannot start a process: {error.strerror}")
        _replace(inherited, args.command)
    status = supervisor.wait()
    complete = supervisor.finish()
    _leave(EX_IOERR << 8 if args.strict_output and not complete else status)


def _replace(inherited: Inherited, command: list[str]) -> NoReturn:
    """Replaces this process with the command."""
    try:
        inherited.become(command)
    except OSError as error:
        _complain(command[0], error)
        os._exit(exit_status(error))


def _complain(name: str, error: OSError) -> None:
    missing = exit_status(error) == 127 and "/" not in name
    say(f"{name}: {'command not found' if missing else error.strerror}")


def _leave(status: int) -> NoReturn:
    """`status`: as wait(2) returns it.

    A shell distinguishes a program that died of a signal from one that exited with 128 + n: only
    the former ends its loop, or its script, after Ctrl-C. strace does the same.
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        import resource

        # no core file of this process over the command's: 1 byte is too little for a file, and no
        # pipe handler runs for it, core(5)
        for limit in (1, 0):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
                break
        with contextlib.suppress(OSError, ValueError):  # SIGKILL
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        with contextlib.suppress(OSError, ValueError):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os._exit(128 + number)  # the first process of a pid namespace cannot be killed this way
    os._exit(os.waitstatus_to_exitcode(status))


class Observation:
    """The observer, from the launcher's side."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel
        self._questions = 0

    @classmethod
    def begin(cls, args: argparse.Namespace, inherited: Inherited) -> Observation:
        """Forks it. Raises OSError."""
        ours, theirs = _channel()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _observe(args, theirs, inherited)
        theirs.close()
        return cls(pid, ours)

    def ready(self) -> Refusal | None:
        """Waits until it has attached, or has reported why not and exited."""
        self._channel.settimeout(READY_SECONDS)
        try:
            answer = self._channel.recv(MESSAGE_BYTES).decode(errors="replace").split(" ", 2)
        except TimeoutError:
            self.kill()
            return Refusal(
                False, EX_TEMPFAIL, f"the observer was not ready within {READY_SECONDS:.0f} s"
            )
        if answer == ["ready"]:
            return None
        _, status = os.waitpid(self.pid, 0)
        if len(answer) == 3:
            return Refusal(answer[0] == "invalid", int(answer[1]), answer[2])
        return Refusal(False, EX_SOFTWARE, f"the observer {describe(status)}")

    def tell(self, *words: object) -> None:
        """The observer may have ended."""
        with contextlib.suppress(OSError):
            self._channel.send(" ".join(map(str, words)).encode())

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


class Supervisor:
    """The command's parent."""

    def __init__(
        self, inherited: Inherited, observation: Observation | None, command: list[str]
    ) -> None:
        """Starts the command. Raises BlockingIOError when no process can be forked."""
        self._observation = observation
        self._complete = observation is not None
        signal.pthread_sigmask(signal.SIG_SETMASK, _ALL)  # from here on they are read one by one
        reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _exec(inherited, command, writer)
        os.close(writer)
        if observation is not None:
            observation.tell("started", self._pid)
        with os.fdopen(reader, "rb") as failures:
            failure = failures.read()  # ends with the exec
        self._failed = 0
        if failure:
            code, _, text = failure.decode().partition(" ")
            error = OSError(int(code), text)
            _complain(command[0], error)
            self._failed = exit_status(error)
        inherited.release()
        _let_go_of_stdio()

    def wait(self) -> int:
        """Passes signals on until the command has ended; returns its wait status."""
        if self._failed:
            os.waitpid(self._pid, 0)
            return self._failed << 8
        while True:
            info = signal.sigwaitinfo(_ALL)
            if info.si_signo == signal.SIGCHLD and info.si_code > 0:
                status = self._reap()
                if status is not None:
                    return status
            else:
                self._pass_on(info)

    def _reap(self) -> int | None:
        """The command's status when it has ended. Whatever else is a child of ours has come to us as the first process of a
        pid namespace, or as a subreaper: without us it would stay a zombie."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if not pid:
                return None
            stopped = os.WIFSTOPPED(status)
            if pid == self._pid:
                if not stopped:
                    return status
                self._stop_as(os.WSTOPSIG(status))
            elif self._observation is not None and pid == self._observation.pid and not stopped:
                self._observation, self._complete = None, False
                say("the observer has exited; the command continues without observation")

    def _stop_as(self, number: int) -> None:
        """Stops together with the command, so that the shell gets its terminal back.

        The observer continues the launcher when only the command was continued. Without an
        observer, only a shell's own stop signals are followed.
        """
        if number in _STOPS or self._observation is not None:
            if self._observation is not None:
                self._observation.tell("stopped")
            if number in _STOPS:
                before = signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # the process stops here
                signal.pthread_sigmask(signal.SIG_BLOCK, {number})
                signal.signal(number, before)
            else:
                os.kill(os.getpid(), signal.SIGSTOP)
            if self._observation is not None:
                self._observation.tell("continued")

    def _pass_on(self, info: signal.struct_siginfo) -> None:
        """Passes a signal on once: not if the command has received it already."""
        number = info.si_signo
        if info.si_code == _SI_KERNEL:
            if number in _TERMINAL or number in _OURS:
                return
            if number in _SESSION and os.getsid(0) != os.getpid():
                return
        elif info.si_code <= 0:
            observation = self._observation
            if info.si_pid in (os.getpid(), self._pid) or (
                observation and info.si_pid == observation.pid
            ):
                return
            if observation is not None and observation.saw(number, info.si_pid):
                self._merge(number, info.si_pid)
                return
        with contextlib.suppress(OSError):  # it has ended, or now belongs to another user
            os.kill(self._pid, number)

    def _merge(self, number: int, sender: int) -> None:
        """timeout(1) signals its child and then the child's group. The command alone would have had both as one pending
        signal, signal(7); here it has got the second, and the first was read before that came."""
        if number >= signal.SIGRTMIN:
            return
        again = signal.sigtimedwait((number,), 0)
        if again is not None and (again.si_code > 0 or again.si_pid != sender):
            self._pass_on(again)

    def finish(self) -> bool:
        """Waits for the observer's report. Returns whether all requested outputs were written."""
        observation = self._observation
        if observation is None:
            return self._complete
        observation.tell("failed" if self._failed else "ended")
        ended = time.monotonic()
        while True:
            pid, status = os.waitpid(observation.pid, os.WNOHANG)
            if pid:
                if os.WIFSIGNALED(status):
                    say(f"the observer {describe(status)} before its report was complete")
                return status == 0
            left = ended + REPORT_SECONDS - time.monotonic()
            info = signal.sigtimedwait(_ALL, max(left, 0))
            if info is None:
                say(
                    f"the report was not complete {REPORT_SECONDS:.0f} s after the end of the "
                    "command"
                )
            elif info.si_signo not in _IMPATIENCE or time.monotonic() - ended < SETTLE_SECONDS:
                continue
            else:
                say("interrupted before the report was complete")
            observation.kill()
            return False


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


def _exec(inherited: Inherited, command: list[str], failures: int) -> NoReturn:
    try:
        inherited.become(command)
    except OSError as error:
        os.write(failures, f"{error.errno} {error.strerror}".encode())
    finally:
        os._exit(126)


def _let_go_of_stdio() -> None:
    """The command alone owns its stdin and stdout: the process at the other end notices when the
    command closes them.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    if null > 2:
        os.close(null)


def _observe(args: argparse.Namespace, channel: socket.socket, inherited: Inherited) -> NoReturn:
    """The observer's process.

    A signal to its group or cgroup is for the command; the closed socket ends the observer.
    """
    status = EX_SOFTWARE
    try:
        for number in _ALL.difference((signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, *_FAULTS)):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN)
        from receiver.cli import observe

        status = observe.main(args, channel, inherited)
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
