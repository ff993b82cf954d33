"""Whose work lost events concern.

The kernel half gives each user a share of what it can report. A user that floods it loses events of
its own. They say nothing about the work of the others, so the kernel half counts them by user. All
other losses may concern any work.

A user is a number of the kernel half (`accountable_user` in bpf/share.bpf.h): the user of a
process; in a user namespace, the user that made the outermost one; for root, a control group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set

import msgspec

from receiver.constants import CONTROL_GROUP_BIT, LOSSES_BY_USER
from receiver.facts.process import Process

CONTROL_GROUP = 1 << CONTROL_GROUP_BIT
# Users of a user namespace have numbers from here on in the first one (SUB_UID_MIN, login.defs(5)).
# The user that made the namespace is not in any record, so it may be any user.
MAPPED_USERS = 65_536
ANY_USER, ANYBODY = -1, -2
ACCOUNTS_PER_WORK = 64

Losses = Mapping[tuple[str, str], int]  # totals by kind and reason
LossesByUser = Mapping[tuple[str, str, int], int]  # the same, and the user


class Lost(msgspec.Struct, frozen=True):
    """Events that were lost since the last look. `user` None: they may concern any work."""

    kind: str
    reason: str
    count: int
    user: int | None


def accounts_of(process: Process) -> set[int]:
    """The users whose share the events of this process may have used."""
    users = {process.uid}
    if process.exit is not None:
        users.add(process.exit.uid)  # root may become another user without an exec
    found = {user for user in users if 0 < user < MAPPED_USERS}
    if found != users:
        found.add(CONTROL_GROUP | process.cgroup_id)
    if max(users) >= MAPPED_USERS:
        found.add(ANY_USER)
    return found


def add_accounts(known: set[int], more: Iterable[int]) -> None:
    """Adds to the accounts of one work. Past the limit, every loss concerns it."""
    known.update(more)
    if len(known) > ACCOUNTS_PER_WORK:
        known.clear()
        known.add(ANYBODY)


def concerns(user: int | None, accounts: Set[int]) -> bool:
    """Whether what this user lost may concern work with these accounts."""
    return (
        user is None
        or user in accounts
        or ANYBODY in accounts
        or (ANY_USER in accounts and not user & CONTROL_GROUP)
    )


class LossAccount:
    """The counters of the kernel half, and the share of each user in them. Bounded."""

    def __init__(self) -> None:
        self._raw: dict[tuple[str, str, int], int] = {}  # as the kernel half has them now
        self._of_user: dict[tuple[str, str, int], int] = {}  # since the start
        self._settled: Counter[tuple[str, str]] = Counter()  # what was returned by `grow`

    def grow(
        self, totals: Losses, by_user: LossesByUser, known: Callable[[], Set[int]]
    ) -> list[Lost]:
        """Returns the losses since the last call. All counts are since the start of the kernel
        half.

        `known` returns the accounts of all known work. What a user without any lost may concern
        everybody: a process may have changed its control group since its last exec.
        """
        out: list[Lost] = []
        accounts: Set[int] | None = None
        for (kind, reason, user), count in by_user.items():
            grown = self._grown((kind, reason, user), count)
            if grown <= 0:
                continue
            accounts = known() if accounts is None else accounts
            self._settled[kind, reason] += grown
            if concerns(user, accounts):
                self._add((kind, reason, user), grown)
                out.append(Lost(kind, reason, grown, user))
            else:
                out.append(Lost(kind, reason, grown, None))
        self._raw = dict(by_user)
        for (kind, reason), total in totals.items():
            # negative: the rows of the users were read a moment after the totals
            rest = total - self._settled[kind, reason]
            if rest > 0:
                self._settled[kind, reason] += rest
                out.append(Lost(kind, reason, rest, None))
        return out

    def _grown(self, key: tuple[str, str, int], count: int) -> int:
        """A row that the kernel half dropped begins again at 0."""
        before = self._raw.get(key, 0)
        return count - before if count >= before else count

    def _add(self, key: tuple[str, str, int], count: int) -> None:
        self._of_user[key] = self._of_user.pop(key, 0) + count
        while len(self._of_user) > LOSSES_BY_USER:
            del self._of_user[next(iter(self._of_user))]  # it counts for everybody from now on

    def concerning(self, totals: Losses, accounts: Set[int]) -> dict[tuple[str, str], int]:
        """The totals without what only concerns other users."""
        out = dict(totals)
        for (kind, reason, user), count in self._of_user.items():
            if (kind, reason) in out and not concerns(user, accounts):
                out[kind, reason] -= count
        return {key: count for key, count in out.items() if count > 0}


class LossyTimes:
    """Until when records may lack a fact: of everybody, and of single users. Bounded."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._until_ns = 0
        self._of_user: dict[int, int] = {}

    def lost(self, user: int | None, now_ns: int) -> None:
        if user is None or len(self._of_user) >= LOSSES_BY_USER:
            self._until_ns = now_ns + self._window_ns
            return
        self._of_user = {u: until for u, until in self._of_user.items() if until > now_ns}
        self._of_user[user] = now_ns + self._window_ns

    def has(self, process: Process, at_ns: int) -> bool:
        """Whether events of this process may have been lost shortly before."""
        if at_ns < self._until_ns:
            return True
        if not self._of_user:
            return False
        accounts = accounts_of(process)
        return any(
            at_ns < until and concerns(user, accounts) for user, until in self._of_user.items()
        )
