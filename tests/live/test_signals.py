"""Signals on the real kernel: who sent which to whom, and which of them are recorded."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from receiver.events import Exit, Signal
from tests.live.conftest import Witness, python
from tests.live.deaths import SLEEP, finish, ready

pytestmark = pytest.mark.live


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_kill_names_sender_and_target(witness: Witness, number: signal.Signals) -> None:
    child = python(SLEEP, stdout=subprocess.PIPE)
    ready(child)
    os.kill(child.pid, number)
    finish(child)
    event = witness.one(child.pid, Signal)
    assert (event.signal, event.code, event.sender.tgid, event.handled) == (
        number,
        0,
        os.getpid(),
        0,
    )
    assert event.target == witness.one(child.pid, Exit).process
    assert witness.one(child.pid, Exit).wait_status & 0x7F == number


def test_a_signal_from_another_process_names_that_one(witness: Witness) -> None:
    child = python(SLEEP, stdout=subprocess.PIPE)
    ready(child)
    killer = python(
        f"import os; open('/proc/self/comm', 'w').write('reaper'); os.kill({child.pid}, 9)"
    )
    killer.wait()
    finish(child)
    event = witness.one(child.pid, Signal)
    assert (event.sender.tgid, event.sender_comm) == (killer.pid, "reaper")


def test_chatter_is_not_recorded(witness: Witness) -> None:
    """SIGCHLD, ignored signals, and handled signals to oneself."""
    code = """
import os, signal, subprocess
signal.signal(signal.SIGUSR2, lambda *_: None); signal.signal(signal.SIGUSR1, signal.SIG_IGN)
for _ in range(10): os.kill(os.getpid(), signal.SIGUSR2); os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGWINCH)
subprocess.run(["/bin/true"])
"""
    child = python(code)
    child.wait()
    assert witness.of(child.pid, Signal) == []


def test_a_handled_signal_from_outside_is_recorded(witness: Witness) -> None:
    child = python(
        "import signal, sys; signal.signal(signal.SIGUSR2, lambda *_: sys.exit(5))\n" + SLEEP,
        stdout=subprocess.PIPE,
    )
    ready(child)
    os.kill(child.pid, signal.SIGUSR2)
    finish(child)
    assert witness.one(child.pid, Signal).handled == 1
    assert witness.one(child.pid, Exit).wait_status == 5 << 8


def test_a_crash_is_a_signal_of_the_kernel(witness: Witness) -> None:
    child = python("import ctypes; ctypes.string_at(0)")
    child.wait()
    event = witness.of(child.pid, Signal)[-1]
    assert (event.signal, event.code > 0) == (signal.SIGSEGV, True)
