"""Waits for a condition, and not for a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
SECONDS = 30.0  # for a machine that is busy; a condition that comes true ends the wait at once


def eventually(
    condition: Callable[[], T],
    what: str,
    *,
    seconds: float = SECONDS,
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """Returns the first true value. `what` names it in the failure.

    `ignoring` are the errors that mean "not yet", such as OSError of a server that starts.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(*ignoring):
            if found := condition():
                return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.01)


def executed(pid: int) -> None:
    """Waits until an exec is complete: Popen returns a moment before the arguments are in place."""
    eventually(Path(f"/proc/{pid}/cmdline").read_bytes, "the arguments of a process")
