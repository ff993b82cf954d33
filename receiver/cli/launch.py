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
from typing import NoReturn

from receiver.cli.command_parent import CommandParent, complain
from receiver.cli.exits import EX_IOERR, EX_TEMPFAIL, say
from receiver.cli.observation import Observation, ObserverRefusal
from receiver.kernel.inherited import Inherited, exit_status


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
        refusal = ObserverRefusal(
            False, EX_TEMPFAIL, f"cannot start the observer: {error.strerror}"
        )
    if refusal is not None:
        observation = None
        if refusal.fatal or args.require:
            say(refusal.reason)
            os._exit(refusal.status)
        say(f"not observed: {refusal.reason}")
    if observation is None and not args.strict_output:
        _replace(inherited, args.command)
    try:
        supervisor = CommandParent(inherited, observation, args.command)
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
        complain(command[0], error)
        os._exit(exit_status(error))


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
