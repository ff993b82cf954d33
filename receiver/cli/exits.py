"""Exit statuses of the launcher, and its words."""

from __future__ import annotations

import contextlib
import os

from receiver.text.printable import printable

EX_UNAVAILABLE, EX_SOFTWARE, EX_IOERR, EX_TEMPFAIL = 69, 70, 74, 75  # sysexits.h


def say(text: str) -> None:
    """Writes one line to stderr, if it is open."""
    with contextlib.suppress(OSError):
        os.write(2, f"kwitness: {printable(text)}\n".encode(errors="backslashreplace"))
