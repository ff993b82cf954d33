"""The terminal of a command: its mode, and the bytes that restore it.

The launcher imports this module, too, so it imports little.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import termios

_LENGTH = 2  # bytes of the number that says how many bytes follow


class Undo:
    """The bytes that take the status off the terminal, in memory that two processes share.

    The observer stores them before it writes the status. The launcher survives the observer, so it
    writes them if the observer could not. Create it before the fork. Raises OSError.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def keep(self, sequence: bytes) -> None:
        self.forget()  # a process that is killed here leaves no half of a sequence
        self._memory[_LENGTH : _LENGTH + len(sequence)] = sequence
        self._memory[:_LENGTH] = len(sequence).to_bytes(_LENGTH, "little")

    def forget(self) -> None:
        self._memory[:_LENGTH] = bytes(_LENGTH)

    def kept(self) -> bytes:
        """Empty: the terminal shows no status."""
        length = int.from_bytes(self._memory[:_LENGTH], "little")
        return self._memory[_LENGTH : _LENGTH + length]

    def write(self, terminal: int) -> None:
        """Restores the terminal, once."""
        sequence = self.kept()
        self.forget()
        if sequence:
            with contextlib.suppress(OSError):  # it is gone
                os.write(terminal, sequence)


def is_ordinary(terminal: int) -> bool:
    """Whether this job has the terminal, and no program has changed how lines are typed.

    Full-screen programs, line editors and password prompts change it.
    """
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
