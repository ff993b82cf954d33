"""A wait, a process that keeps what others need, and the last failed call of a process."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from receiver.events import LastFailure
from tests.live.conftest import Watched

WAITS = "print('up', flush=True); input()"


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def last(watched: Watched, pid: int) -> LastFailure:
    """The one that came last, without the search for parts of the interpreter."""
    found = watched.witness.of(pid, LastFailure)
    return max(found, key=lambda event: event.failed_boottime_ns)


@contextmanager
def keeper(*command: str, **options: object) -> Iterator[int]:
    """The pid of a process that lives until the end of the block."""
    child = subprocess.Popen(  # type: ignore[call-overload]
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    assert child.stdout.readline() == "up\n"
    yield child.pid
    child.communicate("\n")
