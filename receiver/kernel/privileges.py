"""Giving privileges up after attaching: measured, an unprivileged process can still drain the rings and read its maps."""

from __future__ import annotations

import ctypes as c
import os
import pwd

from receiver.errors import ConfigError, PrivilegeError

_PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 4, 47, 4  # prctl(2)
_PR_SET_KEEPCAPS = 8
_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 21, 38, 39
_CAPABILITY_VERSION_3 = 0x20080522  # capset(2)


class _Header(c.Structure):
    _fields_ = [("version", c.c_uint32), ("pid", c.c_int)]


class _Data(c.Structure):
    _fields_ = [("effective", c.c_uint32), ("permitted", c.c_uint32), ("inheritable", c.c_uint32)]


def keep_what_attaches() -> None:
    """Loses all but CAP_BPF and CAP_PERFMON, for good; where a container engine cannot give these, all but the CAP_SYS_ADMIN that
    stands for both. Best effort on the user id: without root it stays what it is."""
    libc = c.CDLL(None, use_errno=True)
    held = (_Data * 2)()
    libc.capget(c.byref(_Header(_CAPABILITY_VERSION_3, 0)), held)
    both = 1 << (_CAP_PERFMON - 32) | 1 << (_CAP_BPF - 32)
    if os.geteuid() == 0:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
        os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
    two = (_Data * 2)()
    if held[1].permitted & both == both:
        two[1].effective = two[1].permitted = both
    else:
        two[0].effective = two[0].permitted = held[0].permitted & 1 << _CAP_SYS_ADMIN
    libc.capset(c.byref(_Header(_CAPABILITY_VERSION_3, 0)), two)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def drop(user: str) -> None:
    """Becomes `user` when root, and loses all capabilities and the way back to them. Raises when any of it fails."""
    libc = c.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise ConfigError(f"privileges.user: there is no user {user!r} here") from None
        if entry.pw_uid == 0:
            raise ConfigError("privileges.user must not be root; set privileges.drop = false to stay root")
        os.setgroups([])
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    none = (_Data * 2)()
    if libc.capset(c.byref(_Header(_CAPABILITY_VERSION_3, 0)), none) != 0:
        raise PrivilegeError(f"cannot give up capabilities: {os.strerror(c.get_errno())}")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise PrivilegeError(f"cannot set no_new_privs: {os.strerror(c.get_errno())}")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
