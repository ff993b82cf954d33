"""Drops privileges after attaching.

Each step is checked, and the result is read back from the kernel.

Measured: an unprivileged process can still drain the rings and read its maps.
Sources: capabilities(7), prctl(2), credentials(7).
"""

from __future__ import annotations

import ctypes as c
import errno
import os
import pwd

import msgspec

from receiver.errors import ConfigError, PrivilegeError

# prctl(2)
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = (
    3,
    4,
    8,
    23,
    24,
)
(
    _PR_GET_SECUREBITS,
    _PR_SET_SECUREBITS,
    _PR_SET_NO_NEW_PRIVS,
    _PR_GET_NO_NEW_PRIVS,
    _PR_CAP_AMBIENT,
) = 27, 28, 38, 39, 47
_PR_CAP_AMBIENT_IS_SET, _PR_CAP_AMBIENT_CLEAR_ALL = 1, 4
# NOROOT, NO_CAP_AMBIENT_RAISE, and the locks of these, of KEEP_CAPS and of NO_SETUID_FIXUP;
# include/uapi/linux/securebits.h
_SECUREBITS = 0b1110_1011
CAP_SETPCAP, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 8, 12, 21, 38, 39
_CAPABILITY_VERSION_3 = 0x20080522  # capset(2)
_CAPABILITIES = 64  # the kernel knows about the first 41


class UserIdentity(msgspec.Struct, frozen=True):
    """A user and its group."""

    uid: int
    gid: int


class Privileges(msgspec.Struct, frozen=True, kw_only=True):
    """The privileges of the calling thread. Sets of capabilities are bits."""

    users: tuple[int, int, int]  # real, effective, saved
    groups: tuple[int, ...]
    effective: int
    permitted: int
    inheritable: int
    bounding: int
    ambient: int
    securebits: int
    no_new_privs: bool
    dumpable: bool


class _Header(c.Structure):
    _fields_ = [("version", c.c_uint32), ("pid", c.c_int)]


class _Data(c.Structure):
    _fields_ = [("effective", c.c_uint32), ("permitted", c.c_uint32), ("inheritable", c.c_uint32)]


_libc = c.CDLL(None, use_errno=True)


def _prctl(what: str, option: int, *arguments: int) -> int:
    given = [c.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    result = int(_libc.prctl(c.c_int(option), *given))
    if result < 0:
        raise PrivilegeError(f"cannot {what}: {os.strerror(c.get_errno())}")
    return result


def _capabilities() -> tuple[int, int, int]:
    """Effective, permitted, inheritable."""
    held = (_Data * 2)()
    if _libc.capget(c.byref(_Header(_CAPABILITY_VERSION_3, 0)), held) != 0:
        raise PrivilegeError(f"cannot read capabilities: {os.strerror(c.get_errno())}")
    low, high = held
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def _set_capabilities(effective: int, permitted: int) -> None:
    """Sets effective and permitted; nothing is inheritable."""
    low, high = (
        (effective >> shift & 0xFFFFFFFF, permitted >> shift & 0xFFFFFFFF, 0) for shift in (0, 32)
    )
    if (
        _libc.capset(
            c.byref(_Header(_CAPABILITY_VERSION_3, 0)), (_Data * 2)(_Data(*low), _Data(*high))
        )
        != 0
    ):
        raise PrivilegeError(f"cannot drop capabilities: {os.strerror(c.get_errno())}")


def _bits(option: int, *before: int) -> int:
    """The capabilities for which prctl answers 1. It answers EINVAL beyond the last one."""
    found = 0
    for capability in range(_CAPABILITIES):
        arguments = [c.c_ulong(a) for a in (*before, capability, 0, 0, 0)[:4]]
        result = _libc.prctl(c.c_int(option), *arguments)
        if result < 0:
            break
        found |= result << capability
    return found


def held() -> Privileges:
    """Read from the kernel. Raises PrivilegeError if the kernel refuses."""
    effective, permitted, inheritable = _capabilities()
    return Privileges(
        users=os.getresuid(),
        groups=tuple(os.getgroups()),
        effective=effective,
        permitted=permitted,
        inheritable=inheritable,
        bounding=_bits(_PR_CAPBSET_READ),
        ambient=_bits(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_IS_SET),
        securebits=_prctl("read securebits", _PR_GET_SECUREBITS),
        no_new_privs=bool(_prctl("read no_new_privs", _PR_GET_NO_NEW_PRIVS)),
        dumpable=bool(_prctl("read dumpable", _PR_GET_DUMPABLE)),
    )


def account(user: str, setting: str = "privileges.user") -> UserIdentity:
    """Raises ConfigError with the name of the setting."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"{setting}: there is no user {user!r} on this host") from None
    if entry.pw_uid == 0:
        raise ConfigError(f"{setting} must not be root; set privileges.drop = false to stay root")
    return UserIdentity(entry.pw_uid, entry.pw_gid)


def drop(user: str) -> Privileges:
    """Becomes `user` when root, and drops all capabilities and every way to regain them.

    Raises PrivilegeError when a step fails.
    """
    return drop_to(account(user) if os.geteuid() == 0 else None)


def drop_to(identity: UserIdentity | None) -> Privileges:
    """As `drop`; with None the user stays. Raises PrivilegeError."""
    return _reduce(identity, keep=0)


def keep_what_attaches(identity: UserIdentity | None = None) -> Privileges:
    """Drops all capabilities but CAP_BPF and CAP_PERFMON permanently.

    Where a container engine cannot grant these, it keeps only CAP_SYS_ADMIN, which includes both.
    When root it becomes `identity`, by default nobody. Raises PrivilegeError when a step fails.
    """
    permitted = _capabilities()[1]
    keep = 1 << CAP_PERFMON | 1 << CAP_BPF
    if permitted & keep != keep:
        keep = permitted & 1 << CAP_SYS_ADMIN
    if not keep:
        raise PrivilegeError(
            "neither CAP_BPF and CAP_PERFMON nor CAP_SYS_ADMIN is held: the helper could not "
            "attach later"
        )
    root = os.geteuid() == 0
    return _reduce((identity or account("nobody")) if root else None, keep)


def _reduce(identity: UserIdentity | None, keep: int) -> Privileges:
    permitted = _capabilities()[1]
    if identity is not None:
        _prctl("keep capabilities over the change of user", _PR_SET_KEEPCAPS, 1)
        _become(identity)
        _prctl("reset what kept capabilities", _PR_SET_KEEPCAPS, 0)
    limits = bool(
        permitted >> CAP_SETPCAP & 1
    )  # without it the set stays, and no_new_privs makes it ineffective
    if limits:
        _set_capabilities(1 << CAP_SETPCAP, permitted)
        for capability in range(_bits(_PR_CAPBSET_READ).bit_length()):
            _prctl("empty the bounding set", _PR_CAPBSET_DROP, capability)
        _prctl("lock securebits", _PR_SET_SECUREBITS, _SECUREBITS)
    _prctl("clear the ambient set", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities(keep, keep)
    _prctl("set no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)
    _prctl("switch dumping off", _PR_SET_DUMPABLE, 0)
    found = held()
    if wrong := mismatches(found, identity, keep, limits=limits):
        raise PrivilegeError(f"cannot drop privileges: {', '.join(wrong)}")
    return found


def _become(identity: UserIdentity) -> None:
    try:
        os.setgroups([])
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        why = (
            "CAP_SETUID and CAP_SETGID are needed" if error.errno == errno.EPERM else error.strerror
        )
        raise PrivilegeError(f"cannot become user {identity.uid}: {why}", "capabilities") from None


def mismatches(
    found: Privileges, identity: UserIdentity | None, keep: int, *, limits: bool
) -> list[str]:
    """The values that are wrong after a drop, as names for an error line."""
    wanted: dict[str, tuple[object, object]] = {
        "no_new_privs": (found.no_new_privs, True),
        "dumpable": (found.dumpable, False),
        "effective capabilities": (found.effective, keep),
        "permitted capabilities": (found.permitted, keep),
        "inheritable capabilities": (found.inheritable, 0),
        "ambient capabilities": (found.ambient, 0),
    }
    if identity is not None:
        wanted |= {"user": (found.users, (identity.uid,) * 3), "groups": (found.groups, ())}
    if limits:
        wanted |= {
            "bounding set": (found.bounding, 0),
            "securebits": (found.securebits, _SECUREBITS),
        }
    return [
        f"{name} is {have}, not {want}" for name, (have, want) in wanted.items() if have != want
    ]
