"""Landlock: after the start, the process reads only the listed paths and writes only below listed
directories.

It applies to the calling thread and to the threads and processes it starts, so it is called while
there is only one thread. Open files stay usable. Sources: landlock(7), landlock_create_ruleset(2),
Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes as c
import errno
import os
import stat
import struct
from collections.abc import Iterable

from receiver.kernel.call_tables import architecture

_CREATE_VERSION, _RULE_PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (
    1 << bit for bit in range(6)
)
_MAKE_DIR, _MAKE_REG, _MAKE_SYM, _REFER, _TRUNCATE, _IOCTL_DEV = (
    1 << 7,
    1 << 8,
    1 << 12,
    1 << 13,
    1 << 14,
    1 << 15,
)
_SCOPE_SIGNAL = 2
_BY_ABI = {
    1: (1 << 13) - 1,
    2: _REFER,
    3: _TRUNCATE,
    5: _IOCTL_DEV,
}  # the access bits that each version added
_SCOPE_FROM = 6
_READ = _READ_FILE | _READ_DIR
_WRITE = (
    _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
)
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


def _call(name: str, *arguments: object) -> int:
    arch = architecture()
    if arch is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc = c.CDLL(None, use_errno=True)
    libc.syscall.restype = c.c_long
    result = libc.syscall(c.c_long(arch.numbers[name]), *arguments)
    if result < 0:
        code = c.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def version() -> int:
    """The ABI of this kernel's Landlock; 0 if it is not compiled in, not enabled, or refused by a
    seccomp filter.
    """
    try:
        return _call("landlock_create_ruleset", None, c.c_size_t(0), c.c_uint(_CREATE_VERSION))
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str]) -> int:
    """Ignores paths that do not exist.

    Afterwards nothing can be executed, and no outside process can be signalled (ABI 6). Needs
    no_new_privs. Returns the ABI, 0 without Landlock. Raises OSError.
    """
    abi = version()
    if not abi:
        return 0
    handled = sum(bits for since, bits in _BY_ABI.items() if since <= abi)
    # struct landlock_ruleset_attr: file system, network (none is handled), scopes
    attributes = (
        struct.pack("=QQQ", handled, 0, _SCOPE_SIGNAL)
        if abi >= _SCOPE_FROM
        else struct.pack("=Q", handled)
    )
    ruleset = _call(
        "landlock_create_ruleset", c.c_char_p(attributes), c.c_size_t(len(attributes)), c.c_uint(0)
    )
    try:
        for paths, rights in ((readable, _READ), (writable, _WRITE)):
            for path in dict.fromkeys(paths):
                _allow(ruleset, path, rights & handled)
        _call("landlock_restrict_self", c.c_int(ruleset), c.c_uint(0))
    finally:
        os.close(ruleset)
    return abi


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        beneath = struct.pack("=Qi", rights, place)  # struct landlock_path_beneath_attr, packed
        _call(
            "landlock_add_rule",
            c.c_int(ruleset),
            c.c_int(_RULE_PATH_BENEATH),
            c.c_char_p(beneath),
            c.c_uint(0),
        )
    finally:
        os.close(place)
