"""A user for the helper alone: every process can signal the other processes of its user
(kill(2)).
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

from receiver.kernel.privileges import Identity, account

# Between the users of systemd-homed and those of DynamicUser; systemd's table (UIDS-GIDS) assigns
# none of these.
SPARE = range(60_578, 61_184)
_IDS = re.compile(r"^[UG]id:\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", re.M)


class HelperUser(msgspec.Struct, frozen=True):
    """`identity` is None when this process may not change its user.

    `shared`: why other processes have this user, too.
    """

    identity: Identity | None
    shared: str = ""


def helper_user(name: str, service_user: str) -> HelperUser:
    """`name`, or without one a user from SPARE that has no account and no process on this host.

    Raises ConfigError.
    """
    if os.geteuid() != 0:
        return HelperUser(None)
    if name:
        chosen = account(name, "privileges.helper_user")
        same = chosen.uid == account(service_user).uid
        return HelperUser(
            chosen, "privileges.helper_user is the user of the service" if same else ""
        )
    mapped = _mapped("uid") & _mapped("gid")
    used = ids_in_use()
    start = secrets.randbelow(
        len(SPARE)
    )  # two services that start at the same time try different users first
    for uid in (*SPARE[start:], *SPARE[:start]):
        if uid in mapped and uid not in used and not _has_account(uid):
            return HelperUser(Identity(uid, uid))
    why = (
        f"this user namespace maps no user from {SPARE.start} to {SPARE.stop - 1}"
        if not mapped
        else "all spare users are in use"
    )
    return HelperUser(account(service_user), why)


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
