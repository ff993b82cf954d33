"""Processes whose exit was not seen: it was lost, or the observing ends before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from receiver.events import ProcessKey
from receiver.observe.activity import Activity
from receiver.observe.attempts import Attempts
from receiver.observe.bindings import Bindings
from receiver.observe.output import Output
from receiver.work.worker import Tree, Worker


class Unended:
    """Their spans have no outcome, and their execution is incomplete."""

    def __init__(
        self,
        tree: Tree,
        attempts: Attempts,
        bindings: Bindings,
        activity: Activity,
        output: Output,
    ) -> None:
        self._tree, self._attempts, self._bindings = tree, attempts, bindings
        self._activity, self._output = activity, output

    def keys(self) -> list[ProcessKey]:
        return [p.key for p in self._tree.processes() if p.exit is None]

    def vanished(self, keys: Iterable[ProcessKey], now_ns: int) -> None:
        """These processes ended and their exits were lost."""
        for key in keys:
            process = self._tree.vanished(key)
            if process is not None:
                self._release(process, now_ns)
                self._tree.free(process)

    def sweep(self, now_ns: int) -> None:
        """Forgets ended processes, and the oldest ones past the limit."""
        self._tree.sweep(now_ns)
        forgotten, self._tree.forgotten = self._tree.forgotten, []
        for process in forgotten:
            self._release(process, now_ns)
            self._tree.free(process)

    def _release(self, process: Worker, now_ns: int) -> None:
        self._activity.forget(process.key)  # reports what waits for its end
        self._bindings.lost(process, now_ns)
        execution = process.execution
        if execution is None or process.exit is not None:
            return
        if process.execs:
            self._output.span(process, now_ns)
        if process is execution.root:
            execution.incomplete = True
        self._attempts.leave(process, execution, now_ns)

    def finish(self, now_ns: int, process_ended: Callable[[Worker], None]) -> None:
        """The observing ends. `process_ended` is called with each process that still runs."""
        for process in self._tree.processes():
            execution = process.execution
            if process.exit is not None or execution is None or execution.closed:
                continue
            for thread in list(process.steps):
                self._attempts.end_step(process, thread, now_ns, end="unknown")
            if process.execs:
                self._output.span(process, now_ns)
                process_ended(process)
