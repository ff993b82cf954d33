"""One look at a watched process, and the end of a child that is looked at."""

from __future__ import annotations

import signal
import subprocess
from typing import TypeVar

from receiver.events import Neighbour, ProcessSample, ThreadWait, WaitStack
from receiver.kernel.decode import decode
from receiver.text.redact import Redactor
from tests.live.conftest import Watched

E = TypeVar("E", ProcessSample, ThreadWait, WaitStack, Neighbour)


def look(watched: Watched, pid: int, kind: type[E]) -> list[E]:
    found = [decode(raw, Redactor("off")) for raw in watched.witness.source.sample()]
    return [e for e in found if isinstance(e, kind) and e.process.tgid == pid]


def ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None and child.stdout.readline() == "up\n"


def stop(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()
