"""Signals that a process received."""

from __future__ import annotations

from receiver.events import ProcessKey, Signal
from receiver.facts.table import Table

KEPT_SIGNALS = 8

# the last signals, and those senders that did the same work as the process when they sent them
Received = tuple[tuple[Signal, ...], tuple[ProcessKey, ...]]
_NONE: Received = ((), ())


class SignalTable(Table[Received]):
    def received(self, event: Signal, *, same_work: bool) -> None:
        """`same_work`: the sender does the same work as the process."""
        signals, siblings = self.rows.get(event.target, _NONE)
        if len(signals) == KEPT_SIGNALS:
            self.drops["older_signal"] += 1
        if same_work:
            siblings = (*siblings[1 - KEPT_SIGNALS :], event.sender)
        self.put(event.target, ((*signals[1 - KEPT_SIGNALS :], event), siblings))

    def of(self, key: ProcessKey) -> tuple[Signal, ...]:
        return self.rows.get(key, _NONE)[0]

    def siblings(self, key: ProcessKey) -> tuple[ProcessKey, ...]:
        """The last senders that did the same work."""
        return self.rows.get(key, _NONE)[1]
