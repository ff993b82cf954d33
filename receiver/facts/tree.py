"""The process tree, keyed by (tgid, start time), bounded, and tolerant of events that are lost or
late.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, TypeVar

from receiver.events import Exec, Existing, Exit, Fork, ImageFlag, ProcessKey, Title
from receiver.facts.handover import handed_over
from receiver.facts.process import Process
from receiver.model import NOBODY

P = TypeVar("P", bound=Process)


class ProcessTree(Generic[P]):
    """Applies lifecycle events. `drops` counts the events that could not be applied, by reason."""

    def __init__(
        self,
        make: Callable[[ProcessKey, P | None, str, int], P],
        limit: int,
        linger_ns: int,
        forget: Callable[[ProcessKey], None] = lambda _: None,
    ) -> None:
        """`make` makes a process from its key, parent, comm and user id. `forget` frees what the
        tables hold of a process that the tree forgets.
        """
        self._make = make
        self.limit = limit
        self._forget_facts = forget
        self.linger_ns = linger_ns
        self.drops: Counter[str] = Counter()
        self._processes: dict[ProcessKey, P] = {}
        self._dead: deque[P] = deque()  # in order of their exits
        # evicted while alive; callers that count living processes take them from here
        self.forgotten: list[P] = []

    def __len__(self) -> int:
        return len(self._processes)

    def get(self, key: ProcessKey) -> P | None:
        return self._processes.get(key)

    def processes(self) -> list[P]:
        return list(self._processes.values())

    def fork(self, event: Fork) -> P:
        """The creator is the parent that counts: re-parenting does not change the work of a
        process.
        """
        known = self._processes.get(event.process)
        if known is not None and not known.stub:
            return known  # the iterator reported it first
        parent = self._processes.get(event.parent)
        if known is None:
            known = self._add(self._make(event.process, parent, event.comm, event.uid))
        else:
            if parent is not None:
                known.parent, known.context = parent, known.context or parent.context
            known.comm, known.uid = known.comm or event.comm, event.uid
            known.described_anew()
            known.started_by = (
                parent.started_by if parent is not None and parent.uid == event.uid else ""
            )
        known.stub = False
        known.parent_pid = event.parent.tgid
        known.cgroup_id = event.cgroup_id
        known.vpid = event.pid_namespace_pid
        return known

    def image(self, event: Exec | Existing) -> P:
        """A new image in a known process, or in one that existed before the observer started."""
        process = self._processes.get(event.process)
        if process is None:
            parent = event.real_parent if event.real_parent != NOBODY else event.parent
            process = self._add(
                self._make(event.process, self._processes.get(parent), event.comm, event.uid)
            )
        elif type(event) is Existing and process.execs:
            return process  # live events are more recent
        elif process.uid != event.uid or process.stub:  # the user of a stub is not known
            known = type(event) is Exec and not process.stub
            process.started_by = (
                handed_over(process.uid, process.executable, event.executable) if known else ""
            )
        process.image(event)
        return process

    def adopt_parents(self, events: list[Existing]) -> None:
        """Links processes that existed before the observer started: the iterator lists them by pid,
        not parents first.
        """
        for event in events:
            process = self._processes.get(event.process)
            parent = event.real_parent if event.real_parent != NOBODY else event.parent
            if process is not None and process.parent is None:
                process.parent = self._processes.get(parent)

    def title(self, event: Title) -> P:
        """Importing setproctitle sets the comm to a part of argv[0]: that is no title."""
        process = self.ensure(event.process, event.comm)
        process.comm = event.comm
        first = process.argv[0] if process.argv else ""
        if event.title and event.title != first and not first.startswith(event.title):
            process.title = event.title
            process.described_anew()
        return process

    def exited(self, event: Exit) -> P | None:
        """None for a second exit of one process (older kernels can report it twice)."""
        process = self.ensure(event.process, event.comm, event.real_parent)
        if process.exit is not None:
            self.drops["second_exit"] += 1
            return None
        process.exit = event
        if (
            event.title
            and process.argv
            and event.title != process.argv[0]
            and not process.image_flags & ImageFlag.ARGV_UNREADABLE
        ):
            process.title = event.title
            process.described_anew()
        self._dead.append(process)
        return process

    def ensure(self, key: ProcessKey, comm: str, parent: ProcessKey = NOBODY) -> P:
        """The process, or a stub of it: it existed before the observer started, or its fork event
        was lost.
        """
        process = self._processes.get(key)
        if process is None:
            process = self._add(self._make(key, self._processes.get(parent), comm, 0))
            process.stub = True
            self.drops["stub"] += 1
        return process

    def _add(self, process: P) -> P:
        if len(self._processes) >= self.limit:
            self._evict()
        self._processes[process.key] = process
        return process

    def _evict(self) -> None:
        """Evicts from a full tree: the oldest ended process, else the oldest of all."""
        if self._dead:
            victim = self._dead.popleft()
            self.drops["evicted_dead"] += 1
        else:
            victim = next(iter(self._processes.values()))
            self.drops["evicted_live"] += 1
            del self._processes[victim.key]
            self.forgotten.append(victim)  # its rows are still needed to report its end
            return
        self._forget(victim)

    def _forget(self, process: P) -> None:
        self._processes.pop(process.key, None)
        self.free(process)

    def free(self, process: P) -> None:
        """Frees what the tables hold of a process that left the tree while it was alive."""
        if process.key not in self._processes:  # else it was seen again: these are its rows
            self._forget_facts(process.key)
        process.forget()

    def vanished(self, key: ProcessKey) -> P | None:
        """Removes a process whose exit event was lost and that does not exist any more. The caller
        frees it.

        None when its exit arrived after all.
        """
        process = self._processes.get(key)
        if process is None or process.exit is not None:
            return None
        self.drops["vanished"] += 1
        del self._processes[key]
        return process

    def sweep(self, now_ns: int) -> None:
        """Removes processes that ended more than `linger_ns` ago; until then, late events still
        find them.
        """
        while self._dead:
            exit_event = self._dead[0].exit
            if exit_event is not None and exit_event.time_boottime_ns + self.linger_ns > now_ns:
                return
            self._forget(self._dead.popleft())
