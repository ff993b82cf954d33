"""All cases by their outermost execution, within bounds."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from receiver.events import LossReason, ProcessKey
from receiver.facts.losses import ANYBODY, Lost, accounts_of, add_accounts, concerns
from receiver.facts.neighbours import Competitor
from receiver.facts.usage import moved
from receiver.investigate.case import Case, ClockStep, LossWindow
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.model import SHORT_NS, Unseen
from receiver.work.children import ExitSeverity
from receiver.work.execution import Execution
from receiver.work.tables import Facts
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


class Casebook:
    """All cases by their outermost execution, bounded. `drops` counts dropped entries."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.drops: Counter[str] = Counter()
        self.losses: tuple[LossWindow, ...] = ()
        self.unwatched_losses: tuple[LossWindow, ...] = ()
        self.users_losses: OrderedDict[int, tuple[LossWindow, ...]] = OrderedDict()
        self.clock_steps: tuple[ClockStep, ...] = ()
        self._cases: OrderedDict[int, dict[ProcessKey, ProcessSnapshot]] = OrderedDict()
        self._executions: dict[int, Execution] = {}
        self._left_out: Counter[int] = Counter()
        self._count = 0
        self._where: dict[ProcessKey, int] = {}

    def process_ended(self, process: Worker, exit_severity: ExitSeverity) -> None:
        """Adds a process at its exit.

        Call it after the findings and the severity of the exit are set, and before the tree forgets
        the process.
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
        _close_idle_period(process, self._facts)
        self._count += process.key not in case
        case[process.key] = ProcessSnapshot.of(process, self._facts, exit_severity)
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
        self.clock_steps = (*self.clock_steps[1 - KEPT_LOSSES :], ClockStep(at_ns, delta_ns))

    def actor(self, key: ProcessKey) -> ProcessSnapshot | None:
        case = self._cases.get(self._where.get(key, 0))
        return case.get(key) if case is not None else None

    def open(
        self,
        execution: Execution,
        living: Iterable[Worker],
        now_ns: int,
        *,
        unseen: Iterable[Unseen] = (),
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
            clock_steps=[s for s in self.clock_steps if s.at_ns >= began],
            unseen=unseen,
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


def _close_idle_period(process: Worker, facts: Facts) -> None:
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
        and not facts.files.of(process.key).changes
        and not facts.peers.of(process.key).peers
    )
