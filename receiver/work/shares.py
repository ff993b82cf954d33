"""How much work one user may claim.

An environment names any number of tasks for free, so each user has a rate, and a share of the table
of open work. A refused claim is counted, and its processes are unattributed.
"""

from __future__ import annotations

from collections import Counter

from receiver.units import SECOND

BURST = 1_000  # claims at once, per user; a host runs fewer tasks of one user at a time
PER_SECOND = 50  # and after that
# users whose rates are remembered; the one that claimed nothing for the longest time starts again
_USERS = 4_096


class Share:
    """Room in a bounded table: a user may hold as much as is still free. So one user alone gets
    half of it, and a later user always finds room (dynamic thresholds, Choudhury and Hahne
    1998)."""

    def __init__(self) -> None:
        self._held: Counter[int] = Counter()
        self._total = 0

    def has_room(self, owner: int, limit: int) -> bool:
        return (
            self._held[owner] < limit - self._total if owner in self._held else self._total < limit
        )

    def take(self, owner: int) -> None:
        self._held[owner] += 1
        self._total += 1

    def give_back(self, owner: int) -> None:
        self._held[owner] -= 1
        self._total -= 1
        if not self._held[owner]:
            del self._held[owner]


class Rates:
    """A token bucket for each user, on the time of the events."""

    def __init__(self) -> None:
        self._left: dict[int, tuple[float, int]] = {}  # tokens, and when they were counted

    def allows(self, owner: int, now_ns: int) -> bool:
        left, since_ns = self._left.pop(owner, (float(BURST), now_ns))
        left = min(BURST, left + max(0, now_ns - since_ns) * PER_SECOND / SECOND)
        allowed = left >= 1
        self._left[owner] = (left - 1 if allowed else left, max(now_ns, since_ns))
        if len(self._left) > _USERS:
            del self._left[next(iter(self._left))]
        return allowed
