"""The processes that another process ended with a signal, by sender."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from receiver.events import ProcessKey, Signal
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, sent_by_process
from receiver.investigate.snapshot import ProcessSnapshot

TOGETHER_NS = 500_000_000  # signals to one group arrive within this time


class Killing(msgspec.Struct, frozen=True, eq=False):
    """One sender, and the process that it ended: the one on the path of the failure, or the first.

    `group` are all that it ended.
    """

    victim: ProcessSnapshot
    event: Signal
    group: tuple[tuple[ProcessSnapshot, Signal], ...]

    @property
    def by(self) -> str:
        return f"{self.event.sender_comm} ({self.event.sender.tgid})"


def killings(case: Case) -> Iterator[Killing]:
    by_sender: dict[ProcessKey, list[tuple[ProcessSnapshot, Signal]]] = defaultdict(list)
    for actor in case:
        event = died_of(actor)
        if (
            event is not None
            and not actor.end.expected_shutdown
            and event.signal != signal.SIGPIPE
            and sent_by_process(actor, event)
        ):
            by_sender[event.sender].append((actor, event))
    for group in by_sender.values():
        group.sort(key=lambda pair: (pair[1].time_boottime_ns, pair[0].pid))
        first = next((pair for pair in group if pair[0] in case.path), group[0])
        yield Killing(*first, tuple(group))
