"""Users for the service alone and for its helper alone: every process can signal the other
processes of its user (kill(2)).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from receiver.kernel.privileges import UserIdentity, account

# Between the users of systemd-homed and those of DynamicUser; systemd's table (UIDS-GIDS) assigns
# none of these.
SPARE = range(60_578, 61_184)
_IDS = re.compile(r"^[UG]id:\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", re.M)


ACCOUNT = "kwitness"  # the user of the service, where the host has this account
_SHARED = "nobody"


class OwnUser(msgspec.Struct, frozen=True):
    """`identity` is None when this process may not change its user.

    `shared`: why other processes have this user, too.
    """

    identity: UserIdentity | None
    shared: str = ""


def service_user(name: str, directory: str = "") -> OwnUser:
    """The user that a service of root becomes: `name`, or without one a user of its own.

    This is the owner of its state directory, if that is one of the following. Otherwise the account
    `kwitness`, or where the host has none, a spare user. Raises ConfigError.
    """
    if os.geteuid() != 0:
        return OwnUser(None)
    if name:
        return OwnUser(account(name), _why_shared(name))
    owner = _owner(directory)
    known = [user for user in (ACCOUNT, _SHARED) if _has_account_named(user)]
    for user in known:
        if account(user).uid == owner:
            why = f"its state directory {directory} belongs to {user}"
            return OwnUser(account(user), why if user == _SHARED else "")
    if owner in SPARE and owner in _mapped("uid") & _mapped("gid") and not _has_account(owner):
        why = f"a process of the user {owner} of its state directory runs"
        return OwnUser(UserIdentity(owner, owner), why if owner in ids_in_use() else "")
    if ACCOUNT in known:
        return OwnUser(account(ACCOUNT))
    return _spare_user(account(_SHARED))


def _why_shared(name: str) -> str:
    return "privileges.user is nobody, which other services have, too" if name == _SHARED else ""


def _owner(directory: str) -> int:
    """Only to choose a user: whether that user may use the directory is checked when it is
    opened."""
    try:
        return os.lstat(directory).st_uid if directory else -1
    except (OSError, ValueError):
        return -1


def helper_user(name: str, service: UserIdentity | None) -> OwnUser:
    """The user of the helper: `name`, or without one a spare user. Raises ConfigError."""
    if os.geteuid() != 0:
        return OwnUser(None)
    service = service or account(_SHARED)
    if name:
        chosen = account(name, "privileges.helper_user")
        same = chosen.uid == service.uid
        return OwnUser(chosen, "privileges.helper_user is the user of the service" if same else "")
    return _spare_user(service)


def _spare_user(otherwise: UserIdentity) -> OwnUser:
    """A user from SPARE that has no account and no process on this host, and is not `otherwise`."""
    mapped = _mapped("uid") & _mapped("gid")
    used = ids_in_use() | {otherwise.uid, otherwise.gid}
    start = secrets.randbelow(
        len(SPARE)
    )  # two services that start at the same time try different users first
    for uid in (*SPARE[start:], *SPARE[:start]):
        if uid in mapped and uid not in used and not _has_account(uid):
            return OwnUser(UserIdentity(uid, uid))
    why = (
        f"this user namespace maps no user from {SPARE.start} to {SPARE.stop - 1}"
        if not mapped
        else "all spare users are in use"
    )
    return OwnUser(otherwise, why)


def _mapped(kind: str) -> set[int]:
    """The users of SPARE that exist in this user namespace: user_namespaces(7)."""
    try:
        lines = Path(f"/proc/self/{kind}_map").read_text().splitlines()
    except OSError:
        return set(SPARE)
    found: set[int] = set()
    for line in lines:
        inside, _, count = map(int, line.split())
        found.update(uid for uid in SPARE if inside <= uid < inside + count)
    return found


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _has_account_named(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def ids_in_use(proc: Path = Path("/proc")) -> set[int]:
    """Users and groups of all visible processes."""
    return {
        int(number) for status in _statuses(proc) for ids in _IDS.findall(status) for number in ids
    }


def _statuses(proc: Path) -> Iterable[str]:
    for entry in os.listdir(proc):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                yield (proc / entry / "status").read_text("utf-8", "replace")
