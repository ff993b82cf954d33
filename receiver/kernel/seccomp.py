"""Makes a seccomp filter from tables: classic BPF, installed permanently for all threads of the
calling process.

A call that the tables do not allow fails. With a listener, each such call waits until the counting
process (denials.py) has counted it and answered EPERM. Without one, the kernel answers EPERM and
nothing counts it. A call of another architecture, or of x86's x32 entry, is refused like any other.
"""

from __future__ import annotations

import contextlib
import ctypes as c
import errno
import os
import struct

from receiver.errors import UnavailableError
from receiver.kernel.allowed_calls import Alternatives, CallRules
from receiver.kernel.call_tables import Architecture, architecture

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_PR_SET_NO_NEW_PRIVS = 38
_TSYNC, _SPEC_ALLOW, _NEW_LISTENER, _TSYNC_ESRCH, _WAIT_KILLABLE_RECV = 1, 4, 8, 16, 32
_RET_USER_NOTIF, _RET_ERRNO, _RET_ALLOW = 0x7FC00000, 0x00050000, 0x7FFF0000
_LD_ABS, _AND, _JA, _JEQ, _JGE, _RET = (
    0x20,
    0x54,
    0x05,
    0x15,
    0x35,
    0x06,
)  # BPF_{LD|W|ABS,ALU|AND|K,JMP|JA,JMP|JEQ|K,…}
_NR_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16  # struct seccomp_data
_X32_BIT = 0x40000000
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter


def _op(code: int, k: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, when_true, when_false, k & 0xFFFFFFFF)


def _condition(alternatives: Alternatives, otherwise: int) -> bytes:
    """Returns in every case: allowed when at least one alternative is true."""
    out = b""
    for tests in alternatives:
        left = 3 * len(tests) + 1
        for test in tests:
            left -= 3
            out += (
                _op(_LD_ABS, _ARGS_AT + 8 * test.argument)
                + _op(_AND, test.mask)
                + _op(_JEQ, test.value, 0, left)
            )
        out += _op(_RET, _RET_ALLOW)
    return out + _op(_RET, otherwise)


def program(rules: CallRules, arch: Architecture, *, counted: bool) -> bytes:
    """The filter as an array of struct sock_filter."""
    refuse = _RET_USER_NOTIF if counted else _RET_ERRNO | errno.EPERM
    out = (
        _op(_LD_ABS, _ARCH_AT)
        + _op(_JEQ, arch.audit, 1, 0)
        + _op(_RET, refuse)
        + _op(_LD_ABS, _NR_AT)
    )
    out += _op(_JGE, _X32_BIT, 0, 1) + _op(_RET, refuse)
    for name in sorted(rules.allowed - rules.conditional.keys() - rules.absent):
        if name in arch.numbers:
            out += _op(_JEQ, arch.numbers[name], 0, 1) + _op(_RET, _RET_ALLOW)
    for name in sorted(rules.absent):
        out += _op(_JEQ, arch.numbers[name], 0, 1) + _op(_RET, _RET_ERRNO | errno.ENOSYS)
    for name, alternatives in sorted(rules.conditional.items()):
        if name in arch.numbers:
            block = _condition(alternatives, refuse)
            # a conditional jump has an offset of 8 bits, this jump one of 32
            past = _op(_JA, len(block) // _INSTRUCTION.size)
            out += _op(_JEQ, arch.numbers[name], 1, 0) + past + block
    return out + _op(_RET, refuse)


def ringless(arch: Architecture) -> bytes:
    """A filter that only makes io_uring_setup(2) answer ENOSYS."""
    number = arch.numbers[
        "io_uring_setup"
    ]  # the number is the same on every architecture, and in x32 without that bit
    return (
        _op(_LD_ABS, _NR_AT)
        + _op(_AND, ~_X32_BIT)
        + _op(_JEQ, number, 0, 1)
        + _op(_RET, _RET_ERRNO | errno.ENOSYS)
        + _op(_RET, _RET_ALLOW)
    )


class _Program(c.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", c.c_ushort), ("filter", c.c_char_p)]


def _seccomp(operation: int, flags: int, argument: object) -> int:
    arch = architecture()
    if arch is None:
        raise UnavailableError(f"no seccomp filter for {os.uname().machine}")
    libc = c.CDLL(None, use_errno=True)
    libc.syscall.restype = c.c_long
    result = libc.syscall(
        c.c_long(arch.numbers["seccomp"]), c.c_long(operation), c.c_long(flags), argument
    )
    if result < 0:
        code = c.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def missing() -> str:
    """Why no counting filter can be installed on this kernel; empty when it can."""
    try:
        for action in (_RET_ERRNO, _RET_USER_NOTIF):
            _seccomp(_GET_ACTION_AVAIL, 0, c.byref(c.c_uint32(action)))
    except UnavailableError as error:
        return str(error)
    except OSError as error:
        return (
            "this kernel or the container's own seccomp profile refuses seccomp(2): "
            f"{error.strerror}"
        )
    return ""


def forbid_rings() -> None:
    """Disables io_uring for the rest of the process's life: filters do not see requests through a
    ring. libuv (1.49 and later) opens a ring with every loop, whatever its environment says. It
    works without one, and aborts when an open ring is refused later. Best effort: if the kernel
    refuses, nothing changes.
    """
    arch = architecture()
    if arch is None:
        return
    code = ringless(arch)
    given = _Program(len(code) // _INSTRUCTION.size, code)
    with contextlib.suppress(OSError):
        try:
            _seccomp(_SET_MODE_FILTER, _TSYNC | _SPEC_ALLOW, c.byref(given))
        except OSError as error:
            if error.errno != errno.EACCES:
                raise
            # without CAP_SYS_ADMIN it needs no_new_privs, which matters only for a process that
            # executes a program
            c.CDLL(None).prctl(c.c_int(_PR_SET_NO_NEW_PRIVS), *(c.c_ulong(a) for a in (1, 0, 0, 0)))
            _seccomp(_SET_MODE_FILTER, _TSYNC | _SPEC_ALLOW, c.byref(given))


def install(rules: CallRules, *, counted: bool) -> int:
    """Returns the listener's descriptor, or -1 when `counted` is false.

    Needs no_new_privs. Raises OSError. EBUSY means that a filter with a listener is already
    installed (an inner container).
    """
    arch = architecture()
    if arch is None:
        raise UnavailableError(f"no seccomp filter for {os.uname().machine}")
    code = program(rules, arch, counted=counted)
    given = _Program(len(code) // _INSTRUCTION.size, code)
    flags = _TSYNC | _SPEC_ALLOW  # the latter avoids slower branches on kernels before 5.16
    if not counted:
        if _seccomp(_SET_MODE_FILTER, flags, c.byref(given)):
            raise OSError(errno.ESRCH, "a thread has another filter")
        return -1
    flags |= _NEW_LISTENER | _TSYNC_ESRCH
    try:
        # since 5.19: without it, a signal would restart the wait and count the call twice
        return _seccomp(_SET_MODE_FILTER, flags | _WAIT_KILLABLE_RECV, c.byref(given))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return _seccomp(_SET_MODE_FILTER, flags, c.byref(given))
