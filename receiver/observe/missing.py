"""What was not observed: lost events, intervals without system calls, what the source cannot see,
and the gap before the start. Each becomes a record, a metric and a mark on what it may concern.
"""

from __future__ import annotations

from collections.abc import Callable

from receiver import semconv as sc
from receiver.facts.losses import LossAccount, Losses, LossesByUser, LossyTimes, accounts_of
from receiver.investigate.casebook import UNWATCHED, Casebook
from receiver.model import Blind, Gap, Unseen
from receiver.signals import OtlpSignal
from receiver.synthesis.logs import Logs
from receiver.synthesis.metrics import MetricStore
from receiver.units import SECOND
from receiver.work.blind import BlindTimes
from receiver.work.execution import Execution
from receiver.work.worker import Tree, Worker

LOSS_WINDOW_NS = 60 * SECOND  # how long after a loss records are marked incomplete


class Missing:
    """`losses` are cumulative, by (kind, reason). `emit` takes the records.

    `unseen`: what the source cannot see on this host; its absence proves nothing.
    """

    def __init__(
        self,
        tree: Tree,
        *,
        logs: Logs,
        book: MetricStore,
        casebook: Casebook,
        emit: Callable[[OtlpSignal], None],
    ) -> None:
        self.losses: dict[tuple[str, str], int] = {}
        self.unseen: tuple[Unseen, ...] = ()
        self._tree, self._casebook = tree, casebook
        self._logs, self._book, self._emit = logs, book, emit
        self._blind_times = BlindTimes()
        self._loss_account = LossAccount()
        self._lossy_times = LossyTimes(LOSS_WINDOW_NS)

    def note_losses(self, losses: Losses, now_ns: int, by_user: LossesByUser | None = None) -> None:
        """Cumulative counts of lost events by (kind, reason), and by user those that concern one.

        Growth becomes a record, a metric, and a mark on the signals that follow and on the reports
        about the works that it may concern.
        """
        for key, total in losses.items():
            grown = total - self.losses.get(key, 0)
            if grown <= 0:
                continue
            self.losses[key] = total
            self._emit(self._logs.lost_event(*key, grown, now_ns))
            self.count_lost(*key, grown)
        for lost in self._loss_account.grow(losses, by_user or {}, self._accounts):
            if lost.reason != UNWATCHED:
                self._lossy_times.lost(lost.user, now_ns)
            self._casebook.lost(now_ns, lost)

    def _accounts(self) -> set[int]:
        """The users of all known work."""
        return set().union(
            *(accounts_of(p) for p in self._tree.processes() if p.execution is not None)
        )

    def losses_of(self, execution: Execution) -> dict[tuple[str, str], int]:
        """The losses that may concern this work."""
        accounts = self._casebook.accounts(execution, self._tree.processes())
        return self._loss_account.concerning(self.losses, accounts)

    def is_lossy(self, process: Worker, read_at_ns: int) -> bool:
        """Whether events were lost shortly before this batch, so that a fact about the process may
        be missing.
        """
        return self._lossy_times.has(process, read_at_ns)

    def resumed(self, gap: Gap, now_ns: int) -> None:
        """The gap before the observer started, and the unsent items of the previous service."""
        self._emit(self._logs.gap_event(gap, now_ns))
        for kind, count in gap.unsent:
            self._emit(self._logs.unsent_event(kind, gap.reason, count, now_ns))
            self.count_lost(kind, gap.reason, count)

    def note_blind(self, blind: Blind, now_ns: int) -> None:
        """System calls were not observed: of one process before its hooks were attached, or of all
        watched processes.
        """
        reason = ((sc.PIPELINE_OBSERVER_BLIND_REASON, blind.reason),)
        if blind.reason == "late_attach":
            process = self._tree.get(blind.process)
            if process is None or process.execution is None:
                return
            work = process.execution.outermost
            work.late_processes += 1
            work.late_ns = max(work.late_ns, blind.until_ns - blind.began_ns)
        else:
            self._blind_times.interrupted(blind)
            self._emit(self._logs.blind_event(blind, now_ns))
        if blind.until_ns:
            self._book.add(sc.METRIC_PIPELINE_OBSERVER_BLIND_COUNT, reason)
            self._book.add(
                sc.METRIC_PIPELINE_OBSERVER_BLIND_TIME,
                reason,
                (blind.until_ns - blind.began_ns) / SECOND,
            )

    def unseen_of(self, execution: Execution, now_ns: int) -> tuple[Unseen, ...]:
        """What was not visible of this work."""
        return (*self.unseen, *self._blind_times.of(execution, now_ns))

    def interrupted(self, execution: Execution, now_ns: int) -> bool:
        """Whether its system calls were not observed for a time."""
        return self._blind_times.hides(execution, now_ns)

    def count_lost(self, kind: str, reason: str, count: int) -> None:
        labels = (
            (sc.PIPELINE_OBSERVER_EVENT_KIND, kind),
            (sc.PIPELINE_OBSERVER_LOSS_REASON, reason),
        )
        self._book.add(sc.METRIC_PIPELINE_OBSERVER_EVENTS_LOST, labels, count)
