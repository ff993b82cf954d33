"""Evidence that the kernel half took at the decisive moment of a process: a signal, a fault, a
fork, a refusal of memory, a wait for memory.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from receiver.events import (
    Event,
    Fault,
    MemoryRefused,
    MemoryWait,
    ProcessKey,
    SignalState,
    ThreadedFork,
)
from receiver.facts.table import Table

KEPT = 8
_Kept = TypeVar("_Kept", bound=Event)


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one process. The last events of each kind are kept."""

    received: tuple[SignalState, ...] = ()  # signals to it
    sent: tuple[SignalState, ...] = ()  # its signals to processes that do other work
    fault: Fault | None = None
    forked: ThreadedFork | None = None  # its own fork, by a parent with several threads
    refused: tuple[MemoryRefused, ...] = ()
    waits: tuple[MemoryWait, ...] = ()  # the first one and the last one


_NOTHING = Moments()


class MomentTable(Table[Moments]):
    def of(self, key: ProcessKey) -> Moments:
        return self.rows.get(key, _NOTHING)

    def _change(self, key: ProcessKey, **values: object) -> None:
        self.put(key, msgspec.structs.replace(self.of(key), **values))

    def _with(self, kept: tuple[_Kept, ...], event: _Kept) -> tuple[_Kept, ...]:
        if len(kept) >= KEPT:
            self.drops["older_moment_evidence"] += 1
        return (*kept[1 - KEPT :], event)

    def received(self, event: SignalState) -> None:
        kept = self._with(self.of(event.target).received, event)
        self._change(event.target, received=kept)

    def sent(self, event: SignalState) -> None:
        self._change(event.sender, sent=self._with(self.of(event.sender).sent, event))

    def fault(self, event: Fault) -> None:
        self._change(event.process, fault=event)

    def forked(self, event: ThreadedFork) -> None:
        self._change(event.process, forked=event)

    def refused(self, event: MemoryRefused) -> None:
        self._change(event.process, refused=self._with(self.of(event.process).refused, event))

    def waits(self, event: MemoryWait) -> None:
        first = self.of(event.process).waits[:1] or (event,)
        self._change(event.process, waits=(*first, event) if first[0] is not event else first)
