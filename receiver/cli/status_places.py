"""Where a terminal shows the status: in its title, or in its last row.

The sequences are xterm's, https://invisible-island.net/xterm/ctlseqs/ctlseqs.html. Each status is
one sequence, for one write(2).
"""

from __future__ import annotations

import os
import unicodedata
from typing import Protocol

TITLE_LENGTH = 120
FEWEST_ROWS, FEWEST_COLUMNS = 5, 20  # a smaller terminal has no row to spare
_TITLED = (
    *("xterm", "rxvt", "screen", "tmux", "alacritty", "foot", "konsole", "gnome", "vte", "putty"),
    *("mintty", "contour", "ghostty", "wezterm", "iterm", "st-"),
)
_WITH_REGION = (*_TITLED, "linux", "vt1", "vt2", "vt3", "vt4", "vt5")


class StatusPlace(Protocol):
    """`size` is the terminal's."""

    kinds: tuple[str, ...]  # how TERM begins

    def draw(self, text: str, size: os.terminal_size, *, first: bool) -> bytes:
        """Empty: this terminal has no room."""

    def undo(self, size: os.terminal_size) -> bytes: ...


class TerminalTitle:
    """The title is outside of the text, so it moves none of it."""

    kinds: tuple[str, ...] = _TITLED

    def draw(self, text: str, size: os.terminal_size, *, first: bool) -> bytes:
        keep = b"\x1b[22;2t" if first else b""
        return keep + b"\x1b]2;%b\x07" % text[:TITLE_LENGTH].encode(errors="replace")

    def undo(self, size: os.terminal_size) -> bytes:
        """Terminals that cannot restore a title show their own one when it is empty."""
        return b"\x1b]2;\x07\x1b[23;2t"


class LastRow:
    """The last row. The rows above it are the scroll region (DECSTBM): the command's lines scroll
    there.

    A command may have removed the region since, and may have moved into the last row. Therefore
    each status sets the region again: without it, one step down and one up leaves the last row and
    keeps the column, and scrolls only if the cursor was there. DECSC and DECRC keep the position
    and the colours.
    """

    kinds: tuple[str, ...] = _WITH_REGION

    def __init__(self, *, colour: bool) -> None:
        self._style = b"\x1b[0;7m" if colour else b"\x1b[0m"

    def draw(self, text: str, size: os.terminal_size, *, first: bool) -> bytes:
        columns, rows = size
        if rows < FEWEST_ROWS or columns < FEWEST_COLUMNS:
            return b""
        leave = b"\x1b7\x1b[r\x1b8\x1bD\x1b[A"
        line = fitting(text, columns - 1).encode(errors="replace")
        region = b"\x1b7\x1b[1;%dr\x1b[%d;1H\x1b(B" % (rows - 1, rows)
        return leave + region + self._style + line + b"\x1b[0m\x1b[K\x1b8"

    def undo(self, size: os.terminal_size) -> bytes:
        return b"\x1b7\x1b[r\x1b[%d;1H\x1b[0m\x1b[2K\x1b8" % size.lines


def fitting(text: str, columns: int) -> str:
    """The beginning of a text, at most so wide on every terminal.

    Terminals disagree about combining characters, ambiguous ones and emoji; the most is counted.
    """
    used = 0
    for place, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WFA" else 1
        if used > columns:
            return text[:place]
    return text
