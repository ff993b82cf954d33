"""A terminal with a command in its foreground, read as a terminal emulator reads it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.live.bare import CLEAN, ROOT

SECONDS = 60
ROWS, COLUMNS = 30, 120


class Screen:
    """A command with a terminal of its own, in the foreground of its own session."""

    def __init__(
        self, *argv: str, kind: str = "xterm", rows: int = ROWS, columns: int = COLUMNS
    ) -> None:
        self.pid, self._main = pty.fork()
        if not self.pid:
            os.chdir(ROOT)
            os.execvpe(argv[0], argv, {**CLEAN, "TERM": kind, "LANG": "C.UTF-8"})
        self.seen = b""
        self._ended = False
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int = ROWS) -> None:
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self._main, text)

    def until(self, pattern: bytes) -> None:
        """Reads until it was shown."""
        self.wait(lambda: re.search(pattern, self.seen) is not None)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Reads until the condition is true."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.seen[-2000:]
            assert self._more(deadline), self.seen[-2000:]

    def rest(self, seconds: float) -> bytes:
        """What is shown in the next seconds."""
        begin, deadline = len(self.seen), time.monotonic() + seconds
        while self._more(deadline):
            pass
        return self.seen[begin:]

    def end(self) -> int:
        """Reads to the end; the exit status."""
        deadline = time.monotonic() + SECONDS
        while self._more(deadline):
            assert time.monotonic() < deadline
        self._ended = True
        os.close(self._main)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """After a failure: hangs up, as a window that is closed."""
        if not self._ended:
            os.close(self._main)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _more(self, deadline: float) -> bool:
        if not select.select([self._main], [], [], max(0, deadline - time.monotonic()))[0]:
            return False
        try:
            part = os.read(self._main, 65_536)
        except OSError:  # nobody has the terminal any more
            return False
        self.seen += part
        return bool(part)


Open = Callable[..., Screen]


@contextmanager
def opened() -> Iterator[Open]:
    """A function that opens terminals; they are closed at the end."""
    found: list[Screen] = []

    def more(*argv: str, **terminal: Any) -> Screen:
        found.append(Screen(*argv, **terminal))
        return found[-1]

    try:
        yield more
    finally:
        for screen in found:
            screen.close()


def observer_of(launcher: int) -> int:
    """The first of the launcher's children; the second is the command."""
    return int(Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()[0])
