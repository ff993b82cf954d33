"""`--timeline`: all events of one execution, in order."""

from __future__ import annotations

from receiver.events import Event, FileClosed, Neighbour, ProcessSample
from receiver.model import about
from receiver.text.event_text import event_line
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Tree

KEPT_LINES = 20_000


class Timeline:
    """Collects one line per event of attributed processes; past the limit they are counted.

    A sample of a process gets a line when it grew by 10 % since its last line.
    """

    def __init__(self, tree: Tree, facts: Facts) -> None:
        self._tree, self._facts = tree, facts
        self._lines: dict[int, list[tuple[int, str]]] = {}  # by execution
        self._told: dict[int, int] = {}
        self.left_out = 0

    def note(self, event: Event) -> None:
        if isinstance(event, Neighbour):
            return
        key = about(event)
        process = self._tree.get(key)
        if process is None or process.execution is None:
            return
        if isinstance(event, ProcessSample):
            rss = event.anon_bytes + event.file_bytes + event.shmem_bytes
            if rss <= self._told.get(key.tgid, 0) * 1.1:
                return
            self._told[key.tgid] = rss
        path = ""
        if (
            isinstance(event, FileClosed)
            and (use := self._facts.files.of(key).uses.get((event.device, event.inode))) is not None
        ):
            path = use.path
        line = event_line(event, "", path).lstrip()
        # the timeline of a command includes the task that runs below it
        for execution in {
            id(p.execution): p.execution
            for p in (process, *process.ancestors())
            if p.execution is not None
        }:
            lines = self._lines.setdefault(execution, [])
            if len(lines) < KEPT_LINES:
                lines.append((event.time_boottime_ns, line))
            else:
                self.left_out += 1

    def text(self, execution: Execution) -> str:
        """Seconds since the start of the execution, and the event."""
        found = sorted(self._lines.get(id(execution), []))
        out = [f"{(at - execution.start_ns) / 1e9:10.4f}  {line}" for at, line in found]
        if self.left_out:
            out.append(f"  … and {self.left_out} more")
        return "\n".join(out)
