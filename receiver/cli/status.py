"""The status of a running command in the title of its terminal.

The command and the observer write to one terminal, and nobody can order the two. A line among the
command's own lines could therefore not be erased in time: it would be mixed with them. The title
is outside of them. Terminals call this place the status line, terminfo(5).

Even so, nothing is written unless all of this is true:

- stderr is a terminal whose kind is known to have a title;
- the command is in the foreground;
- the terminal is in its ordinary mode, so that neither a full-screen program nor a prompt for a
  password has it;
- nobody has written to it for QUIET_SECONDS, so that no sequence of bytes is torn apart.

The terminal is opened once more, because a full one must not block the observer, and O_NONBLOCK on
the inherited descriptor would change the command's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from collections.abc import Callable

from receiver.kernel.inotify import Writes
from receiver.text.printable import printable

QUIET_SECONDS = 0.25
TITLE_LENGTH = 120
_KINDS = (
    *("xterm", "rxvt", "screen", "tmux", "alacritty", "foot", "konsole", "gnome", "vte", "putty"),
    *("mintty", "contour", "ghostty", "wezterm", "iterm", "st-"),
)
# xterm's control sequences: keep the title, set it, clear it, and restore the kept one
_KEEP, _SET, _CLEAR, _RESTORE = b"\x1b[22;2t", b"\x1b]2;%b\x07", b"\x1b]2;\x07", b"\x1b[23;2t"


class Status:
    """`text` returns the present status. `tick` is called every QUIET_SECONDS."""

    def __init__(self, terminal: int, writes: Writes, text: Callable[[], str]) -> None:
        self._terminal, self._writes, self._text = terminal, writes, text
        self._shown = b""
        self._rest = b""  # of a sequence that a full terminal did not take

    @classmethod
    def open(cls, number: int, kind: str, text: Callable[[], str]) -> Status | None:
        """For the terminal behind a descriptor. None if it has no title, or cannot be opened."""
        if not kind.startswith(_KINDS) or not os.isatty(number):
            return None
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            terminal = os.open(os.ttyname(number), flags)
        except OSError:
            return None
        try:
            same = os.fstat(terminal).st_rdev == os.fstat(number).st_rdev
            if same:
                return cls(terminal, Writes(terminal), text)
        except OSError:
            pass
        os.close(terminal)
        return None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(QUIET_SECONDS)
            self.tick()

    def tick(self) -> None:
        quiet = not self._writes.happened()
        if self._rest:
            self._write(b"")
        elif quiet and _is_ordinary(self._terminal):
            wanted = printable(self._text())[:TITLE_LENGTH].encode(errors="replace")
            if wanted != self._shown:
                self._write((b"" if self._shown else _KEEP) + _SET % wanted)
                self._shown = wanted

    def close(self) -> None:
        """Restores the title. A terminal that cannot do this shows its own one."""
        with contextlib.suppress(OSError):  # the report would wait for a full terminal, too
            os.set_blocking(self._terminal, True)
        if self._shown or self._rest:
            self._write(_CLEAR + _RESTORE)
        self._writes.close()
        os.close(self._terminal)

    def _write(self, more: bytes) -> None:
        """One write(2), which no other write divides."""
        self._rest += more
        with contextlib.suppress(OSError):  # it is full, or gone
            self._rest = self._rest[os.write(self._terminal, self._rest) :]


def _is_ordinary(terminal: int) -> bool:
    """Whether this job has the terminal, and no program has changed how lines are typed."""
    try:
        _, output, _, local, *_ = termios.tcgetattr(terminal)
    except termios.error:
        return False
    wanted = termios.ICANON | termios.ECHO
    return local & wanted == wanted and bool(output & termios.OPOST) and _in_foreground(terminal)


def _in_foreground(terminal: int) -> bool:
    """True on a terminal without job control."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True
