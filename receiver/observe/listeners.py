"""Who is informed of what the core finds: one protocol for commands, screens and tests.

A listener gets values that belong to the core: it reads them and changes nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec

from receiver.events import Event
from receiver.investigate.report import Report
from receiver.work.execution import Execution
from receiver.work.worker import Worker

log = logging.getLogger("kwitness")
P = ParamSpec("P")


class Listener:
    """Every method does nothing here. A listener overrides the ones that it needs."""

    def execution_started(self, execution: Execution) -> None:
        """It has its names and ids, and its first process."""

    def execution_finished(self, execution: Execution) -> None:
        """Its result is known. Its span is made after this call."""

    def process_ended(self, process: Worker) -> None:
        """A process with work has ended, or the observing ends. Its tables are still complete."""

    def event(self, event: Event) -> None:
        """The event was applied."""

    def report(self, incident_id: str, report: Report) -> None:
        """A report is new or revised. `incident_id`: the incident that it belongs to."""


class Listeners:
    """Calls all listeners, in the order in which they were added.

    A listener that raises an exception is counted in `failed` by its name; the core and the other
    listeners continue. The log has the first exception of each one.
    """

    def __init__(self) -> None:
        self.failed: Counter[str] = Counter()
        self._all: list[Listener] = []
        # those that need events: most do not, and a call for each event costs time
        self.of_events: list[Listener] = []

    def add(self, listener: Listener) -> None:
        self._all.append(listener)
        if type(listener).event is not Listener.event:
            self.of_events.append(listener)

    def execution_started(self, execution: Execution) -> None:
        for each in self._all:
            self._call(each, each.execution_started, execution)

    def execution_finished(self, execution: Execution) -> None:
        for each in self._all:
            self._call(each, each.execution_finished, execution)

    def process_ended(self, process: Worker) -> None:
        for each in self._all:
            self._call(each, each.process_ended, process)

    def event(self, event: Event) -> None:
        for each in self.of_events:
            self._call(each, each.event, event)

    def report(self, incident_id: str, report: Report) -> None:
        for each in self._all:
            self._call(each, each.report, incident_id, report)

    def _call(
        self, listener: Listener, method: Callable[P, None], *args: P.args, **more: P.kwargs
    ) -> None:
        try:
            method(*args, **more)
        except Exception:
            name = type(listener).__name__
            self.failed[name] += 1
            if self.failed[name] == 1:
                log.exception("the listener %s failed; the observing continues", name)
