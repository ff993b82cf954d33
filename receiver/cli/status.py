"""The status of a running command, on its terminal.

The command and the observer write to one terminal, and nobody can order the two. A line among the
command's own lines could therefore not be erased in time: it would be mixed with them. The status
is outside of them: by default in the title, which terminfo(5) calls the status line. The user may
ask for the last row instead, which changes where the command's lines scroll (`status_places`).

Even so, nothing is written unless all of this is true:

- stderr is a terminal of a known kind;
- the command is in the foreground;
- the terminal is in its ordinary mode, so that neither a full-screen program nor a prompt for a
  password has it;
- nobody has written to it for QUIET_SECONDS, so that no sequence of bytes is torn apart.

The terminal is opened once more, because a full one must not block the observer, and O_NONBLOCK on
the inherited descriptor would change the command's own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable

from receiver.cli.common import colour_wanted
from receiver.cli.status_places import LastRow, StatusPlace, TerminalTitle
from receiver.cli.terminal import Undo, is_ordinary
from receiver.kernel.inotify import Writes
from receiver.service.config import RunConfig
from receiver.text.printable import printable

QUIET_SECONDS = 0.25


def open_status(
    args: argparse.Namespace, settings: RunConfig, text: Callable[[], str], undo: Undo
) -> Status | None:
    """On the terminal behind stderr. None: it was turned off, or there is no such terminal."""
    if args.quiet or args.no_status or not settings.status:
        return None
    in_row = args.status_line or settings.status_line
    place: StatusPlace = LastRow(colour=colour_wanted(terminal=True)) if in_row else TerminalTitle()
    return Status.open(sys.stderr.fileno(), os.environ.get("TERM", ""), place, text, undo)


class Status:
    """`text` returns the present status. `tick` is called every QUIET_SECONDS."""

    def __init__(
        self, terminal: int, writes: Writes, place: StatusPlace, text: Callable[[], str], undo: Undo
    ) -> None:
        self._terminal, self._writes, self._place = terminal, writes, place
        self._text, self._undo = text, undo
        self._shown: tuple[str, os.terminal_size] | None = None
        self._rest = b""  # of a sequence that a full terminal did not take
        self._held = False

    @classmethod
    def open(
        cls, number: int, kind: str, place: StatusPlace, text: Callable[[], str], undo: Undo
    ) -> Status | None:
        """For the terminal behind a descriptor. None if it has no such place, or cannot be opened.

        `kind`: the value of TERM.
        """
        if not kind.startswith(place.kinds) or not os.isatty(number):
            return None
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            terminal = os.open(os.ttyname(number), flags)
        except OSError:
            return None
        try:
            same = os.fstat(terminal).st_rdev == os.fstat(number).st_rdev
            if same:
                return cls(terminal, Writes(terminal), place, text, undo)
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
        if self._held or not is_ordinary(self._terminal):
            return
        if self._rest:
            self._write(b"")
        elif quiet:
            self._show(printable(self._text()))

    def hold(self) -> None:
        """The command is stopped, and a shell takes the terminal: takes the status off."""
        self._held = True
        self._restore()

    def release(self) -> None:
        self._held = False

    def close(self) -> None:
        self._restore()
        self._writes.close()
        os.close(self._terminal)

    def _show(self, text: str) -> None:
        try:
            size = os.get_terminal_size(self._terminal)
        except OSError:
            return
        if (text, size) == self._shown or not (text or self._shown):
            return
        sequence = self._place.draw(text, size, first=self._shown is None)
        if not sequence:
            self._restore()
            return
        self._undo.keep(self._place.undo(size))
        self._shown = (text, size)
        self._write(sequence)

    def _restore(self) -> None:
        if self._shown is None:
            return
        with contextlib.suppress(OSError):  # the report would wait for a full terminal, too
            os.set_blocking(self._terminal, True)
        self._write(self._undo.kept())
        self._undo.forget()
        self._shown = None
        with contextlib.suppress(OSError):
            os.set_blocking(self._terminal, False)

    def _write(self, more: bytes) -> None:
        """One write(2), which no other write divides."""
        self._rest += more
        with contextlib.suppress(OSError):  # it is full, or gone
            self._rest = self._rest[os.write(self._terminal, self._rest) :]
