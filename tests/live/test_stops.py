"""Signals of job control: recorded of watched processes, and of no others."""

from __future__ import annotations

import signal
import subprocess

import pytest

from receiver.events import Signal
from tests.live.conftest import Watched
from tests.live.last_failures import WAITS

pytestmark = pytest.mark.live


def test_job_control_of_a_watched_process_is_told(watched: Watched) -> None:
    child = watched.start(WAITS, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGSTOP)
    child.send_signal(signal.SIGCONT)
    child.communicate("\n")
    found = [e for e in watched.witness.of(child.pid, Signal) if e.target.tgid == child.pid]
    assert [e.signal for e in found] == [signal.SIGSTOP]
    stranger = subprocess.Popen(["sleep", "60"])
    stranger.send_signal(signal.SIGSTOP)
    stranger.kill()
    stranger.wait()
    found = watched.witness.of(stranger.pid, Signal)
    assert signal.SIGSTOP not in [e.signal for e in found]
