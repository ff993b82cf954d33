"""openat2(2), which Python lacks: opens a path without following any symbolic link on the way.

Source: openat2(2), Linux 5.6, `include/uapi/linux/openat2.h`. The call has the same number on every
architecture.
"""

from __future__ import annotations

import ctypes as c
import os

_SYS_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04  # includes RESOLVE_NO_MAGICLINKS: /proc/PID/fd/N is refused, too
_AT_FDCWD = -100


class _OpenHow(c.Structure):
    _fields_ = [("flags", c.c_uint64), ("mode", c.c_uint64), ("resolve", c.c_uint64)]


def open_without_links(path: str, flags: int, dir_fd: int = _AT_FDCWD) -> int:
    """Returns a descriptor. `flags` as for open(2). It creates nothing.

    Raises ValueError for a NUL in the path, and OSError: ELOOP for a symbolic link in any
    component, ENOSYS before Linux 5.6, EPERM under a seccomp filter that does not know the call.
    """
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    libc = c.CDLL(None, use_errno=True)
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    fd: int = libc.syscall(
        c.c_long(_SYS_OPENAT2),
        c.c_int(dir_fd),
        c.c_char_p(name),
        c.byref(how),
        c.c_size_t(c.sizeof(how)),
    )
    if fd < 0:
        number = c.get_errno()
        raise OSError(number, os.strerror(number), path)
    return fd
