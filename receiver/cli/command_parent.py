"""The parent of the command of `kwitness run`: passes signals on and waits."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import NoReturn

from receiver.cli.exits import say
from receiver.cli.observation import Observation, describe
from receiver.cli.terminal import Undo, is_ordinary
from receiver.kernel.inherited import Inherited, exit_status

REPORT_SECONDS = 120.0  # after the command's end; afterwards the launcher exits without the report
# a signal that ended the command also reaches the launcher: it does not cancel the report
SETTLE_SECONDS = 0.5

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


class CommandParent:
    """The command's parent."""

    def __init__(
        self, inherited: Inherited, observation: Observation | None, command: list[str]
    ) -> None:
        """Starts the command. Raises BlockingIOError when no process can be forked."""
        self._observation = observation
        self._undo = observation.undo if observation is not None else Undo()
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
            complain(command[0], error)
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
        """The command's status when it has ended.

        Any other child has come to this process as the first process of a pid namespace, or as a
        subreaper: it would stay a zombie.
        """
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
                if is_ordinary(2):  # otherwise a program has the terminal; see `finish`
                    self._undo.write(2)
                say("the observer has exited; the command continues without observation")

    def _stop_as(self, number: int) -> None:
        """Stops together with the command, so that the shell gets its terminal back.

        The observer continues the launcher when only the command was continued. Without an
        observer, only a shell's own stop signals are followed.
        """
        if number in _STOPS or self._observation is not None:
            if self._observation is not None:
                self._observation.stopped()
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
        """timeout(1) signals its child and then the child's group.

        The command alone would have had both as one pending signal, signal(7). Here it has got the
        second, and the first was read before that came.
        """
        if number >= signal.SIGRTMIN:
            return
        again = signal.sigtimedwait((number,), 0)
        if again is not None and (again.si_code > 0 or again.si_pid != sender):
            self._pass_on(again)

    def finish(self) -> bool:
        """Waits for the observer's report. Returns whether all requested outputs were written."""
        try:
            return self._finish()
        finally:
            self._undo.write(2)  # an observer that was killed

    def _finish(self) -> bool:
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


def complain(name: str, error: OSError) -> None:
    missing = exit_status(error) == 127 and "/" not in name
    say(f"{name}: {'command not found' if missing else error.strerror}")


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
