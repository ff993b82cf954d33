"""File descriptors: the limit, and a few that are kept back for when there is none left.

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
    """Whether the call failed because there was no descriptor or memory for one, and not because of what it was asked."""
    return error.errno in EXHAUSTED


def raise_limit() -> tuple[int, int]:
    """Raises the soft RLIMIT_NOFILE to the hard one, at most to WANTED. Gives the old (soft, hard): a command that is started
    on behalf of somebody else must get these."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft, hard


class Reserve:
    """Descriptors of /dev/null that can be closed to make room. Each `give` frees one; `refill` takes them back."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[int] = []
        self.refill()

    def __len__(self) -> int:
        return len(self._held)

    def refill(self) -> None:
        """As many as can be had again."""
        with contextlib.suppress(OSError):
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def give(self) -> bool:
        """Closes one. False when there is none left."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """All of it is free inside."""
        self.close()
        try:
            yield
        finally:
            self.refill()

    def close(self) -> None:
        while self.give():
            pass
