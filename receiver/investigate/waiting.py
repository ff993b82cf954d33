"""Executions that wait for their investigation.

A burst of ends must not hold up the service, and the work of one user must not delay the
investigation of another's. So a token bucket limits the rate, users take turns, and the queue has
a bound that is shared out between the users.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from receiver.units import SECOND
from receiver.work.execution import Execution
from receiver.work.fair_table import FairTable

PENDING = 4096  # executions that wait
BURST = 32  # investigations in one step, if there was no need for any before it
PER_SECOND = 200  # and after that, of the events' time
_TOKEN_NS = SECOND // PER_SECOND


class Entry(msgspec.Struct, frozen=True):
    """An execution that has ended, or has had its first symptom while it runs."""

    execution: Execution
    since_ns: int
    ended: bool


class Budget:
    """A token bucket on the time of the events: a replay investigates at the same points."""

    def __init__(self) -> None:
        # in ns, because sums of integers do not depend on the number of steps
        self._left_ns = BURST * _TOKEN_NS
        self._counted_ns = 0

    def allows(self, now_ns: int) -> bool:
        grown = max(0, now_ns - self._counted_ns)
        self._left_ns = min(BURST * _TOKEN_NS, self._left_ns + grown)
        self._counted_ns = max(self._counted_ns, now_ns)
        return self._left_ns >= _TOKEN_NS

    def spend(self) -> None:
        """May be called without tokens: later investigations then wait longer."""
        self._left_ns -= _TOKEN_NS


class Waiting:
    """At most PENDING executions, each at most once. `drops` counts what found no room."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self._entries: FairTable[int, Entry] = FairTable(PENDING)
        self._turns: dict[int, None] = {}  # users; the one whose last turn is longest ago first
        # running executions that are investigated again later, in order of time
        self._later: FairTable[int, Entry] = FairTable(PENDING)

        # asked after every event: the tables of both keep the same dicts
        self._ended, self._running = self._entries.by_key, self._later.by_key

    def __len__(self) -> int:
        return len(self._ended) + len(self._running)

    def __bool__(self) -> bool:
        return bool(self._ended or self._running)

    def add(self, entry: Entry) -> list[Execution]:
        """Returns the ended executions that were dropped: of the user who has most that wait."""
        owner = entry.execution.identity.owner
        self._turns.setdefault(owner)
        dropped = [e for _, e in self._entries.put(id(entry.execution), entry, owner)]
        for each in dropped:
            self._count(each)
        return [each.execution for each in dropped if each.ended]

    def again(self, entry: Entry) -> None:
        """Looks at a running execution again at the time of the entry."""
        owner = entry.execution.identity.owner
        for _, each in self._later.put(id(entry.execution), entry, owner):
            self._count(each)

    def _count(self, entry: Entry) -> None:
        self.drops["uninvestigated_end" if entry.ended else "uninvestigated_symptom"] += 1

    def has(self, execution: Execution) -> bool:
        return id(execution) in self._entries or id(execution) in self._later

    def remove(self, execution: Execution) -> None:
        self._entries.pop(id(execution))
        self._later.pop(id(execution))

    def ended_entries(self) -> list[Entry]:
        """The ended ones, in order of their ends."""
        return [entry for entry in self._entries.values() if entry.ended]

    def is_due(self, until_ns: int) -> bool:
        """Whether an execution has waited since `until_ns` or longer."""
        while (oldest := self._later.oldest()) is not None and oldest[1].since_ns <= until_ns:
            self._later.pop(oldest[0])
            self.add(oldest[1])
        first = self._entries.oldest()
        return first is not None and first[1].since_ns <= until_ns

    def take(self, until_ns: int) -> Entry | None:
        """Removes and returns an entry that is due: the oldest of the user whose turn it is."""
        if not self.is_due(until_ns):
            return None
        for owner in list(self._turns):
            if not self._entries.holds(owner):
                del self._turns[owner]
                continue
            key, entry = self._entries.oldest_of(owner)
            if entry.since_ns <= until_ns:
                self._entries.pop(key)
                del self._turns[owner]
                self._turns[owner] = None
                return entry
        return None
