"""What the commands do with the findings of the core while it runs."""

from __future__ import annotations

from collections.abc import Callable

from receiver.events import Event, ProcessKey
from receiver.observe.listeners import Listener
from receiver.render.live import lifecycle_line
from receiver.render.rows import RunView, Views
from receiver.render.timeline import Timeline
from receiver.text.printable import printable
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Worker


class ViewListener(Listener):
    """Fills the process tree of each execution."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def process_ended(self, process: Worker) -> None:
        self._views.process_ended(process)

    def execution_finished(self, execution: Execution) -> None:
        self._views.closed(execution)


class TimelineListener(Listener):
    """Adds each event to the timeline."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def event(self, event: Event) -> None:
        self._timeline.note(event)


class LiveLines(Listener):
    """Prints a line for each task when it starts and when it ends. `since_ns`: boot time."""

    def __init__(self, since_ns: int, print_line: Callable[[str], None]) -> None:
        self._since_ns, self._print = since_ns, print_line

    def execution_started(self, execution: Execution) -> None:
        self._print(lifecycle_line(execution, "starts", self._since_ns))

    def execution_finished(self, execution: Execution) -> None:
        self._print(lifecycle_line(execution, "ends", self._since_ns))


class Trees(Listener):
    """The process tree of each outermost execution as text, made when the execution is finished:
    its findings are released soon afterwards.
    """

    def __init__(self, draw: Callable[[Execution, RunView], str], facts: Facts) -> None:
        self._draw, self._views = draw, Views(facts)
        self._texts: list[str] = []

    def process_ended(self, process: Worker) -> None:
        self._views.process_ended(process)

    def execution_finished(self, execution: Execution) -> None:
        if execution.outer is None:
            self._texts.append(self._draw(execution, self._views.pop(execution)))
        else:
            self._views.closed(execution)

    def take(self) -> list[str]:
        found, self._texts = self._texts, []
        return found


class CommandLines(Listener):
    """The pid and the command line of each process with work, for `check --explain`."""

    def __init__(self) -> None:
        self.lines: dict[ProcessKey, str] = {}

    def process_ended(self, process: Worker) -> None:
        self.lines[process.key] = f"{process.key.tgid} {printable(process.command[:80])}"
