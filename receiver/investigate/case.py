"""A case holds the processes of one execution, with all facts about them.

The process tree forgets a process one second after its end. A case keeps the values that the tree
and the tables had, within its own bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from receiver.events import ProcessKey
from receiver.facts.neighbours import Competitor
from receiver.investigate.descendants import Descendants
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.model import Identity, Unseen
from receiver.units import SECOND
from receiver.work.children import ExitSeverity
from receiver.work.execution import Execution

if TYPE_CHECKING:
    from receiver.investigate.history import History


TaskKey = tuple[str, str, str]


def task_key(identity: Identity) -> TaskKey:
    """Returns the key of a task's history.

    The key includes the user: another user may run a task of the same name, and its history says
    nothing about this one.
    """
    return (f"{identity.system} of uid {identity.owner}", identity.pipeline, identity.task)


def _names(execution: Execution) -> tuple[object, ...]:
    """What is the same for two attempts of one piece of work."""
    identity = execution.identity
    return (identity.system, identity.pipeline, identity.task, identity.map_index, identity.owner)


class LossWindow(msgspec.Struct, frozen=True):
    """A number of events of one kind that were lost for one reason.

    `user` None: they may concern any work.
    """

    at_ns: int
    kind: str
    reason: str
    count: int
    user: int | None = None


class ClockStep(msgspec.Struct, frozen=True):
    """A step of the wall clock."""

    at_ns: int
    delta_ns: int


class Case:
    """The processes of one outermost execution. The causes read a case and never change it."""

    def __init__(
        self,
        execution: Execution,
        actors: Iterable[ProcessSnapshot],
        now_ns: int,
        *,
        left_out: int = 0,
        losses: Iterable[LossWindow] = (),
        unwatched_losses: Iterable[LossWindow] = (),
        clock_steps: Iterable[ClockStep] = (),
        unseen: Iterable[Unseen] = (),
        interrupted: bool = False,
        strangers: Iterable[Competitor] = (),
        beside: Iterable[Execution] = (),
        elsewhere: Callable[[ProcessKey], ProcessSnapshot | None] = lambda _: None,
        names: Mapping[str, str] | None = None,
        history: History | None = None,
    ) -> None:
        self.execution = execution
        self.actors = {a.key: a for a in sorted(actors, key=lambda a: (a.start_ns, a.pid))}
        self.now_ns = now_ns
        self.left_out = left_out
        self.losses = tuple(losses)
        # Losses among processes outside of every execution: they are reported, but no conclusion
        # uses them.
        self.unwatched_losses = tuple(unwatched_losses)
        self.clock_steps = tuple(clock_steps)
        self.unseen = tuple(unseen)
        # System calls were not observed for a time, so a missing call proves nothing.
        self.interrupted = interrupted
        self.strangers = tuple(strangers)
        self.beside = tuple(beside)
        self.elsewhere = elsewhere  # finds a process in another case
        self.names = names or {}  # the name that was looked up, by the address in the answer
        self.history = history

    def __iter__(self) -> Iterator[ProcessSnapshot]:
        return iter(self.actors.values())

    def get(self, key: ProcessKey | None) -> ProcessSnapshot | None:
        return (self.actors.get(key) or self.elsewhere(key)) if key is not None else None

    def by_pid(self, pid: int, at_ns: int) -> ProcessSnapshot | None:
        """Returns the process that had this pid at this time."""
        found = [
            a
            for a in self
            if a.pid == pid and a.start_ns <= at_ns and (not a.end_ns or a.end_ns >= at_ns)
        ]
        return found[-1] if found else None

    @cached_property
    def _children(self) -> dict[ProcessKey, list[ProcessSnapshot]]:
        out: dict[ProcessKey, list[ProcessSnapshot]] = {}
        for actor in self:
            if actor.parent is not None:
                out.setdefault(actor.parent, []).append(actor)
        return out

    @cached_property
    def descendants(self) -> Descendants:
        return Descendants(self.children, self.below)

    def children(self, actor: ProcessSnapshot) -> list[ProcessSnapshot]:
        return self._children.get(actor.key, [])

    def below(self, actor: ProcessSnapshot, limit: int = 1024) -> list[ProcessSnapshot]:
        """Returns all descendants, at most `limit`."""
        out: list[ProcessSnapshot] = []
        queue = list(self.children(actor))
        while queue and len(out) < limit:
            at = queue.pop()
            out.append(at)
            queue += self.children(at)
        return out

    def above(self, actor: ProcessSnapshot) -> list[ProcessSnapshot]:
        """Returns the ancestors, the parent first."""
        out: list[ProcessSnapshot] = []
        at = self.get(actor.parent)
        while at is not None and len(out) < 64 and at not in out:
            out.append(at)
            at = self.get(at.parent)
        return out

    def related(self, one: ProcessSnapshot, other: ProcessSnapshot) -> bool:
        """Whether one is an ancestor of the other, or both are workers of the same pool.

        Workers of a pool run the same program and have the same parent.
        """
        if one is other or other in self.above(one) or one in self.above(other):
            return True
        return (
            one.parent == other.parent
            and one.executable == other.executable
            and one.script == other.script
        )

    @cached_property
    def root(self) -> ProcessSnapshot | None:
        return (
            self.actors.get(self.execution.deciding_root)
            or self.actors.get(self.execution.root.key)
            or next(iter(self.actors.values()), None)
        )

    @cached_property
    def end_ns(self) -> int:
        return self.execution.end_ns if self.execution.closed else self.now_ns

    @cached_property
    def slow(self) -> bool:
        """Whether it took longer than all runs in its history."""
        known = (
            self.history.duration(task_key(self.execution.identity))
            if self.history is not None
            else None
        )
        return known is not None and known.is_far_above(self.seconds)

    @property
    def seconds(self) -> float:
        return max(0, self.end_ns - self.execution.start_ns) / 1e9

    def at(self, time_ns: int) -> float:
        """Converts a boot time to seconds since the start of the execution."""
        return (time_ns - self.execution.start_ns) / 1e9

    @cached_property
    def failed_inside(self) -> list[Execution]:
        """The work inside of the execution that failed, and that no later attempt made good.

        The root, such as a scheduler, may report success nevertheless. While it runs, a later
        attempt may still make it good.
        """
        if self.root is None or self.root.exit is None:
            return []
        inner = {
            each: None
            for actor in self
            for each in actor.execution.chain()
            if each is not self.execution and each.closed
        }
        good: dict[tuple[object, ...], int] = {}
        for each in inner:
            if each.result == "success":
                names = _names(each)
                good[names] = max(good.get(names, 0), each.end_ns)
        return [e for e in inner if e.result == "failure" and good.get(_names(e), 0) < e.end_ns]

    @cached_property
    def path(self) -> list[ProcessSnapshot]:
        """The processes from the root down to the one whose failure made the root fail.

        If the root succeeded, the path begins at the process whose failure was not reported. It is
        empty if nothing failed.
        """
        root = self.root
        if root is None:
            return []
        if root.failed:
            return [root, *self._down(root)]
        lost = [a for a in self if a.exit_severity is ExitSeverity.LOST_WORK]
        reported = {f.process for f in self.execution.findings}
        failed = lost or [
            a
            for a in self
            if a.exit_severity is ExitSeverity.FAILED
            and (a.key in reported or any(e in self.failed_inside for e in a.execution.chain()))
        ]
        if not failed:
            return []
        first = min(failed, key=lambda a: (a.end_ns, a.pid))
        return [first, *self._down(first)]

    def _down(self, actor: ProcessSnapshot) -> list[ProcessSnapshot]:
        out: list[ProcessSnapshot] = []
        at = actor
        for _ in range(32):
            pool = {*self.pool_of(at)}
            below = [
                c
                for c in self.children(at)
                if c.exit_severity > ExitSeverity.ANSWER
                and (not at.end_ns or c.end_ns <= at.end_ns)
                and not (c.exit_severity is ExitSeverity.STOPPED and c in pool)
            ]
            if not at.end.signal and not below:
                below = self._handed_on(at)
            if at.end.signal or not below:
                break  # it died of a signal, so its children ended because of it
            at = max(below, key=_rank_of_failure)
            out.append(at)
        return out

    def _handed_on(self, actor: ProcessSnapshot) -> list[ProcessSnapshot]:
        """What failed below its workers just before it did: they hand a result on and end well.

        It ended with the same status, or with the one that an exception gives any program. Status 1
        of the last child may be an answer: its parent ended with it, too.
        """
        children = self.children(actor)
        below = [
            c
            for worker in children
            if not worker.execs and not worker.failed
            for c in self.children(worker)
            if c.exit_severity >= ExitSeverity.FAILED and actor.end.code in (1, c.end.code)
        ]
        last = max(children, key=lambda c: (c.start_ns, c.pid), default=None)
        if last is not None and last.failed and last.end.code == actor.end.code:
            below.append(last)
        return [c for c in below if c.end_ns and 0 <= actor.end_ns - c.end_ns <= SECOND]

    def pool_of(self, actor: ProcessSnapshot) -> list[ProcessSnapshot]:
        """The workers that it took down with itself: two forks of it or more, at its own end."""
        workers = [
            c
            for c in self.children(actor)
            if not c.execs and c.end_ns and 0 <= actor.end_ns - c.end_ns <= SECOND
        ]
        return workers if actor.failed and not actor.end.signal and len(workers) > 1 else []

    @property
    def origin(self) -> ProcessSnapshot | None:
        return self.path[-1] if self.path else None


def _rank_of_failure(child: ProcessSnapshot) -> tuple[bool, bool, int]:
    """The child that failed last; one that its parent stopped only if no other one failed."""
    severity = child.exit_severity
    return severity is ExitSeverity.LOST_WORK, severity >= ExitSeverity.FAILED, child.end_ns
