"""inotify(7), which Python lacks: whether anybody has written to a file since the last question.

Writes to a terminal count; characters that the terminal echoes do not.
"""

from __future__ import annotations

import ctypes as c
import os

_IN_MODIFY = 0x2
_ENOUGH = 65_536  # equal events in a row are one event of 16 bytes, so one read empties the queue


class Writes:
    """Watches one open file. Raises OSError: EMFILE, or EACCES without permission to read it."""

    def __init__(self, fd: int) -> None:
        libc = c.CDLL(None, use_errno=True)
        self._fd: int = libc.inotify_init1(c.c_int(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._fd < 0:
            raise _failed()
        path = f"/proc/self/fd/{fd}".encode()
        if libc.inotify_add_watch(c.c_int(self._fd), c.c_char_p(path), c.c_uint32(_IN_MODIFY)) < 0:
            error = _failed()
            self.close()
            raise error

    def happened(self) -> bool:
        """Whether there was a write since the last call."""
        try:
            return bool(os.read(self._fd, _ENOUGH))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._fd)


def _failed() -> OSError:
    number = c.get_errno()
    return OSError(number, os.strerror(number))
