"""A case holds the processes of one execution, with all facts about them.

The process tree forgets a process one second after its end. A case keeps the values that the tree
and the tables had, within its own bounds.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from receiver.detect.deaths import partition_of
from receiver.events import (
    CallFailed,
    Connection,
    Crash,
    Exit,
    FileChanged,
    LossReason,
    NameQuery,
    OomKill,
    OpenFile,
    ProcessKey,
    Signal,
)
from receiver.facts.ending import Ending
from receiver.facts.losses import ANYBODY, Lost, accounts_of, add_accounts, concerns
from receiver.facts.neighbours import Competitor
from receiver.facts.peers import Peer
from receiver.facts.usage import Usage, moved, resident
from receiver.model import SHORT_NS, Identity
from receiver.text.printable import printable
from receiver.work.children import Grade
from receiver.work.execution import Execution
from receiver.work.tables import Facts, Use
from receiver.work.worker import Worker

if TYPE_CHECKING:
    from receiver.investigate.history import History

CASES = 4096  # open cases, closed ones that wait for their investigation, and those with a failure
ACTORS_PER_CASE = 4096  # above this number, successful processes are only counted
ACTORS = 20_000  # over all cases: above this number, the oldest case is dropped
KEPT_LOSSES = 32
USERS_WITH_LOSSES = 64
# lost events of processes without work: no fact of an execution is missing
UNWATCHED = LossReason.UNWATCHED.name.lower()
DYING_NS, DYING_BYTES = 30_000_000, 1 << 16  # the cost of the exit itself: CPU time and bytes


TaskKey = tuple[str, str, str]


def task_key(identity: Identity) -> TaskKey:
    """Returns the key of a task's history.

    The key includes the user: another user may run a task of the same name, and its history says
    nothing about this one.
    """
    return (f"{identity.system} of uid {identity.owner}", identity.pipeline, identity.task)


class ProcessSnapshot(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The state of one process at its end, or now if it still runs."""

    key: ProcessKey
    parent: ProcessKey | None
    name: str
    comm: str
    executable: str
    argv: tuple[str, ...]
    uid: int
    memory_cgroup: str
    role: str
    partition: str
    execution: Execution
    execs: int
    exec_ns: int
    parent_comm: str
    exit: Exit | None
    end: Ending
    grade: Grade
    signals: tuple[Signal, ...]
    sibling_senders: tuple[ProcessKey, ...]
    oom: OomKill | None
    crash: Crash | None
    company: tuple[Competitor, ...]
    open_files: tuple[OpenFile, ...]
    uses: tuple[Use, ...]
    changes: tuple[FileChanged, ...]
    calls: tuple[CallFailed, ...]
    peers: tuple[Peer, ...]
    name_failures: tuple[NameQuery, ...]
    queues: tuple[Connection, ...]
    usage: Usage | None
    stdin_inode: int
    stdout_inode: int
    findings: tuple[str, ...]
    folded: int
    # The number of threads of the parent at its last sample; 0 if it is unknown.
    parent_threads: int

    @classmethod
    def of(cls, process: Worker, facts: Facts, grade: Grade = Grade.SUCCESS) -> ProcessSnapshot:
        assert process.execution is not None
        parent, death = process.parent, facts.deaths.of(process.key)
        files, network = facts.files.of(process.key), facts.peers.of(process.key)
        return cls(
            key=process.key,
            parent=parent.key if parent is not None else None,
            name=process.name,
            comm=process.comm,
            executable=process.executable,
            argv=process.argv,
            uid=process.uid,
            memory_cgroup=process.memory_cgroup,
            role=process.role,
            partition=partition_of(process),
            execution=process.execution,
            execs=process.execs,
            exec_ns=process.exec_ns,
            parent_comm=parent.comm if parent is not None else "",
            exit=process.exit,
            end=process.end,
            grade=grade,
            signals=facts.signals.of(process.key),
            sibling_senders=facts.signals.siblings(process.key),
            oom=death.oom,
            crash=death.crash,
            company=death.company,
            open_files=death.open_files,
            uses=tuple(files.uses.values()),
            changes=files.changes,
            calls=facts.calls.of(process.key),
            peers=tuple(network.peers.values()),
            name_failures=network.name_failures,
            queues=tuple(network.queues.values()),
            usage=facts.usage.of(process.key),
            stdin_inode=process.stdin_inode,
            stdout_inode=process.stdout_inode,
            findings=facts.reported.of(process.key),
            folded=facts.children.of(process.key).folded,
            parent_threads=_threads(parent, facts),
        )

    @property
    def pid(self) -> int:
        return self.key.tgid

    @property
    def who(self) -> str:
        return printable(f"{self.name} ({self.pid})")

    @property
    def start_ns(self) -> int:
        return self.key.start_boottime_ns

    @property
    def end_ns(self) -> int:
        """The time of the exit; 0 while the process runs."""
        return self.exit.time_boottime_ns if self.exit is not None else 0

    @property
    def failed(self) -> bool:
        return self.exit is not None and self.end.failed

    @property
    def peak_bytes(self) -> int:
        sampled = self.usage.curve.peak if self.usage is not None else 0
        return max(sampled, self.exit.peak_rss_bytes if self.exit is not None else 0)

    @property
    def limit_bytes(self) -> int:
        """The limit of its memory cgroup in bytes; 0 if there is no limit or no sample."""
        return (
            self.usage.last.memory_limit_bytes
            if self.usage is not None and self.usage.last is not None
            else 0
        )

    @property
    def rss_bytes(self) -> int:
        return (
            resident(self.usage.last)
            if self.usage is not None and self.usage.last is not None
            else 0
        )

    @property
    def script(self) -> str:
        """The name of the script that an interpreter runs; empty for any other program."""
        rest = [a for a in self.argv[1:] if not a.startswith("-")]
        return (
            rest[0].rpartition("/")[2]
            if rest and self.name.startswith(("python", "bash", "sh", "java", "perl", "ruby"))
            else ""
        )


def _threads(parent: Worker | None, facts: Facts) -> int:
    last = facts.usage.last(parent.key) if parent is not None else None
    return last.threads if last is not None else 0


class LossWindow(msgspec.Struct, frozen=True):
    """A number of events of one kind that were lost for one reason.

    `user` None: they may concern any work.
    """

    at_ns: int
    kind: str
    reason: str
    count: int
    user: int | None = None


class Step(msgspec.Struct, frozen=True):
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
        steps: Iterable[Step] = (),
        blind: Iterable[str] = (),
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
        self.steps = tuple(steps)
        self.blind = tuple(blind)
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
            self.actors.get(self.execution.speaker)
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
        lost = [a for a in self if a.grade is Grade.LOST_WORK]
        reported = {f.process for f in self.execution.findings}
        failed = lost or [a for a in self if a.grade is Grade.FAILED and a.key in reported]
        if not failed:
            return []
        first = min(failed, key=lambda a: (a.end_ns, a.pid))
        return [first, *self._down(first)]

    def _down(self, actor: ProcessSnapshot) -> list[ProcessSnapshot]:
        out: list[ProcessSnapshot] = []
        at = actor
        for _ in range(32):
            below = [
                c
                for c in self.children(at)
                if c.grade > Grade.ANSWER and (not at.end_ns or c.end_ns <= at.end_ns)
            ]
            if at.end.signal or not below:
                break  # it died of a signal, so its children ended because of it
            at = max(below, key=lambda c: (c.grade is Grade.LOST_WORK, c.end_ns))
            out.append(at)
        return out

    @property
    def origin(self) -> ProcessSnapshot | None:
        return self.path[-1] if self.path else None


class Casebook:
    """All cases by their outermost execution, bounded. `drops` counts dropped entries."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.drops: Counter[str] = Counter()
        self.losses: tuple[LossWindow, ...] = ()
        self.unwatched_losses: tuple[LossWindow, ...] = ()
        self.users_losses: OrderedDict[int, tuple[LossWindow, ...]] = OrderedDict()
        self.steps: tuple[Step, ...] = ()
        self._cases: OrderedDict[int, dict[ProcessKey, ProcessSnapshot]] = OrderedDict()
        self._executions: dict[int, Execution] = {}
        self._left_out: Counter[int] = Counter()
        self._count = 0
        self._where: dict[ProcessKey, int] = {}

    def ended(self, process: Worker, grade: Grade) -> None:
        """Adds a process at its exit.

        Call it after the findings and the grade are set, and before the tree forgets the process.
        """
        if process.execution is None:
            return
        outermost = process.execution.outermost
        add_accounts(outermost.accounts, accounts_of(process))
        case = self._cases.get(id(outermost))
        if case is None:
            case = self._cases[id(outermost)] = {}
            self._executions[id(outermost)] = outermost
            while len(self._cases) > CASES:
                self._forget_oldest(lambda _: 1, keep=id(outermost))
        if (
            _is_uninteresting(process, self._facts)
            and (len(case) >= ACTORS_PER_CASE or _is_short(process, self._facts))
            and process is not outermost.root
        ):
            self._left_out[id(outermost)] += 1
            return
        if len(case) >= 2 * ACTORS_PER_CASE:
            self.drops["too_many_actors"] += 1
            return
        _close_spell(process, self._facts)
        self._count += process.key not in case
        case[process.key] = ProcessSnapshot.of(process, self._facts, grade)
        self._where[process.key] = id(outermost)
        if self._count > ACTORS and len(self._cases) > 1:
            self._forget_oldest(len, keep=id(outermost))

    def lost(self, at_ns: int, lost: Lost) -> None:
        window = LossWindow(at_ns, lost.kind, lost.reason, lost.count, lost.user)
        # Each of these has a queue of its own, so that a flood of them cannot evict the others.
        if lost.reason == UNWATCHED:
            self.unwatched_losses = (*self.unwatched_losses[1 - KEPT_LOSSES :], window)
        elif lost.user is None:
            self.losses = (*self.losses[1 - KEPT_LOSSES :], window)
        else:
            kept = self.users_losses.pop(lost.user, ())
            self.users_losses[lost.user] = (*kept[1 - KEPT_LOSSES :], window)
            if len(self.users_losses) > USERS_WITH_LOSSES:
                # no loss may be hidden: these concern everybody from now on
                _, oldest = self.users_losses.popitem(last=False)
                self.losses = (*self.losses, *oldest)[-KEPT_LOSSES:]

    def accounts(self, execution: Execution, living: Iterable[Worker]) -> set[int]:
        """The users whose lost events may concern the outermost work of this one."""
        outermost = execution.outermost
        for process in living:
            if process.execution is not None and process.execution.outermost is outermost:
                add_accounts(outermost.accounts, accounts_of(process))
        return outermost.accounts or {ANYBODY}

    def _losses_of(self, accounts: set[int]) -> list[LossWindow]:
        own = (w for u, kept in self.users_losses.items() if concerns(u, accounts) for w in kept)
        return sorted((*self.losses, *own), key=lambda window: window.at_ns)

    def stepped(self, at_ns: int, delta_ns: int) -> None:
        self.steps = (*self.steps[1 - KEPT_LOSSES :], Step(at_ns, delta_ns))

    def actor(self, key: ProcessKey) -> ProcessSnapshot | None:
        case = self._cases.get(self._where.get(key, 0))
        return case.get(key) if case is not None else None

    def open(
        self,
        execution: Execution,
        living: Iterable[Worker],
        now_ns: int,
        *,
        blind: Iterable[str] = (),
        interrupted: bool = False,
        strangers: Iterable[Competitor] = (),
        beside: Iterable[Execution] = (),
        names: Mapping[str, str] | None = None,
        history: History | None = None,
    ) -> Case:
        """Returns the case as it is now. `living` are running processes of any execution."""
        outermost = execution.outermost
        living = list(living)
        actors = dict(self._cases.get(id(outermost), {}))
        for process in living:
            if (
                process.exit is None
                and process.execution is not None
                and process.execution.outermost is outermost
            ):
                self._facts.usage.note_idle(process.key, now_ns)
                actors[process.key] = ProcessSnapshot.of(process, self._facts)
        began = execution.start_ns
        return Case(
            outermost,
            actors.values(),
            now_ns,
            left_out=self._left_out[id(outermost)],
            losses=[
                h for h in self._losses_of(self.accounts(execution, living)) if h.at_ns >= began
            ],
            unwatched_losses=[h for h in self.unwatched_losses if h.at_ns >= began],
            steps=[s for s in self.steps if s.at_ns >= began],
            blind=blind,
            interrupted=interrupted,
            strangers=strangers,
            beside=beside,
            elsewhere=self.actor,
            names=names,
            history=history,
        )

    def forget(self, execution: Execution) -> None:
        """Drops the case of this execution."""
        self._forget(id(execution))

    def _forget_oldest(
        self, weight: Callable[[dict[ProcessKey, ProcessSnapshot]], int], keep: int
    ) -> None:
        """Drops the oldest case of the user whose cases weigh most: one user's work, however much,
        takes no facts from another's.
        """
        held: Counter[int] = Counter()
        for key, case in self._cases.items():
            held[self._executions[key].identity.owner] += weight(case)
        for owner, _ in held.most_common():
            for key in self._cases:
                if key != keep and self._executions[key].identity.owner == owner:
                    self._forget(key)
                    return

    def _forget(self, key: int) -> None:
        case = self._cases.pop(key, None)
        if case is None:
            return
        execution = self._executions.pop(key)
        self.drops["forgotten_case"] += not execution.closed
        self._left_out.pop(key, None)
        self._count -= len(case)
        for process in case:
            self._where.pop(process, None)


def _close_spell(process: Worker, facts: Facts) -> None:
    """Extends the idle period to the exit if the process did nothing since its last sample.

    An idle process is sampled less and less often, so the last sample may be old.
    """
    last, end = facts.usage.last(process.key), process.exit
    if end is None or last is None or not facts.waits.of(process.key).idle_since_ns:
        return
    lasted = end.time_boottime_ns - last.time_boottime_ns
    worked = end.cpu_runtime_ns - last.cpu_runtime_ns > lasted // 200 + DYING_NS
    if not worked and end.read_call_bytes + end.write_call_bytes - moved(last) < DYING_BYTES:
        facts.usage.note_idle(process.key, end.time_boottime_ns)


def _is_uninteresting(process: Worker, facts: Facts) -> bool:
    """Whether it succeeded and has no fact that could matter to another process."""
    return (
        not (process.exit is not None and process.exit.wait_status)
        and process.key not in facts.reported.rows
        and process.key not in facts.signals.rows
        and process.key not in facts.calls.rows
    )


def _is_short(process: Worker, facts: Facts) -> bool:
    lived = (
        process.exit.time_boottime_ns - process.key.start_boottime_ns
        if process.exit is not None
        else SHORT_NS
    )
    return (
        lived < SHORT_NS
        and not facts.files.of(process.key).uses
        and not facts.peers.of(process.key).peers
    )
