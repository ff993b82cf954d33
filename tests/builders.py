"""Stories of processes, told as the kernel would: every step is wire bytes, so that the whole core
is under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from receiver.events import Event, OpenedFlag, ProcessKey
from receiver.investigate.report import Report
from receiver.observe.listeners import Listener
from receiver.signals import LogRecord, Span, Value
from receiver.work.execution import Execution
from receiver.work.worker import Worker
from tests.story.endings import Endings
from tests.story.files import Files
from tests.story.processes import Processes, airflow
from tests.story.teller import HOST, MS, SELF, WALL_OFFSET_NS

__all__ = [
    "HOST",
    "MS",
    "SELF",
    "WALL_OFFSET_NS",
    "Calls",
    "Story",
    "airflow",
    "attributes",
]


def _ignore(*_: object) -> None: ...


class Calls(Listener):
    """A listener made of functions."""

    def __init__(
        self,
        *,
        execution_started: Callable[[Execution], object] = _ignore,
        execution_finished: Callable[[Execution], object] = _ignore,
        process_ended: Callable[[Worker], object] = _ignore,
        event: Callable[[Any], object] = _ignore,
        report: Callable[[str, Report], object] = _ignore,
    ) -> None:
        self._started, self._finished, self._process_ended = (
            execution_started,
            execution_finished,
            process_ended,
        )
        self._event, self._report = event, report

    def execution_started(self, execution: Execution) -> None:
        self._started(execution)

    def execution_finished(self, execution: Execution) -> None:
        self._finished(execution)

    def process_ended(self, process: Worker) -> None:
        self._process_ended(process)

    def event(self, event: Event) -> None:
        self._event(event)

    def report(self, incident_id: str, report: Report) -> None:
        self._report(incident_id, report)


class Story(Processes, Endings, Files):
    """What happens to processes and files, as the kernel tells it."""

    def scheduler(
        self, *, uid: int = 1000, package: OpenedFlag = OpenedFlag.ROOT_OWNS, **other: Any
    ) -> ProcessKey:
        """Airflow's, with all that proves it to be the one of `uid`."""
        key = self.service("python3", "/venv/bin/airflow", "scheduler", uid=uid, **other)
        self.opens(
            key, "/venv/lib/python3.11/site-packages/airflow/__init__.py", opened_flags=int(package)
        )
        return key


def attributes(record: Span | LogRecord) -> dict[str, Value]:
    """All of them, the shared ones, too."""
    out: dict[str, Value] = {}
    for each in record.shared:
        out |= dict(each.items)
    return out | dict(record.attributes)
