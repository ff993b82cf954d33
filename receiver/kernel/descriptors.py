"""File descriptors: their limit, and a reserve for the time when none is free.

Sources: getrlimit(2), open(2) (EMFILE: the process's limit, ENFILE: the host's), accept(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator

WANTED = 65_536
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def exhausted(error: OSError) -> bool:
    """Whether the call failed because no descriptor, or no memory for one, was free."""
    return error.errno in EXHAUSTED


def raise_limit() -> tuple[int, int]:
    """Raises the soft RLIMIT_NOFILE to the hard limit, at most to WANTED.

    Returns the old (soft, hard), which a command that is started for the user must get back.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft, hard


class Reserve:
    """Descriptors of /dev/null that can be closed to free a number.

    `give` frees one, `refill` reopens them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[int] = []
        self.refill()

    def __len__(self) -> int:
        return len(self._held)

    def refill(self) -> None:
        """Opens as many as possible again."""
        with contextlib.suppress(OSError):
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def give(self) -> bool:
        """Closes one. False when none is left."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """The whole reserve is free inside the block."""
        self.close()
        try:
            yield
        finally:
            self.refill()

    def close(self) -> None:
        while self.give():
            pass
