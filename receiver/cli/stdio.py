"""The three standard descriptors of the observer."""

from __future__ import annotations

import logging
import os
import sys


def fill_stdio() -> frozenset[int]:
    """Opens /dev/null in place of closed descriptors, so that no file of the observer gets their
    numbers. Returns the open ones.
    """
    was_open = set()
    for number in (0, 1, 2):
        try:
            os.fstat(number)
            was_open.add(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for the process's life
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
    return frozenset(was_open)


def let_go_of_stdio(*, stdout: bool) -> None:
    """The command's stdin, and its stdout when nothing is printed there: a process that waits for
    their end must not wait for the observer.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    if not stdout:
        os.dup2(null, 1)
    os.close(null)
