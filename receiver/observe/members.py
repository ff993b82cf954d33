"""Which processes do which work: they join it, move to other work, and leave it."""

from __future__ import annotations

from collections import Counter

from receiver.facts.ending import Ending
from receiver.observe.accounts import Accounts
from receiver.work.execution import Execution
from receiver.work.worker import Tree, Worker


class Members:
    """Keeps the numbers of living processes of all work. `drops` counts released processes."""

    def __init__(self, tree: Tree, accounts: Accounts) -> None:
        self._tree = tree
        self.accounts = accounts
        self.drops: Counter[str] = Counter()
        self.read_at_ns = 0  # of the present batch of events
        self._to_watch: list[Worker] = []
        # left out by the last `to_watch`: they had ended before
        self.ended_unwatched: list[Worker] = []

    def join(self, process: Worker, execution: Execution) -> None:
        """A process without work does this work from now on."""
        process.execution = execution
        parent = process.parent
        if parent is not None and 0 < parent.watched_ns < process.key.start_boottime_ns:
            process.watched_ns = parent.watched_ns  # the BPF program set the mark at the fork
        else:
            self.follow(process)
        for each in execution.chain():
            each.live += 1
            each.totals.processes += 1
            self.accounts.changed(each)

    def enter_late(self, process: Worker, execution: Execution) -> None:
        """A process that has ended did this work. It is not among the living ones."""
        process.execution = execution

    def follow(self, process: Worker) -> None:
        """Its system calls must be observed, although it may have no work: the files that it opens
        name work.
        """
        if not process.watched_ns:
            process.watched_ns = self.read_at_ns
            self._to_watch.append(process)

    def rebind(self, process: Worker, execution: Execution | None) -> None:
        """Moves a living process from its present work to `execution`.

        The work around both does not change.
        """
        old = list(process.execution.chain()) if process.execution is not None else []
        new = list(execution.chain()) if execution is not None else []
        if execution is not None and not old:
            self.join(process, execution)
            return
        process.execution = execution
        for each in old:
            if each not in new:
                each.live -= 1
                each.end_ns = max(each.end_ns, self.read_at_ns)
                self.accounts.changed(each)
        for each in new:
            if each not in old:
                each.live += 1
                each.totals.processes += 1
                self.accounts.changed(each)

    def to_watch(self) -> list[Worker]:
        """Living processes that joined since the last call and that the BPF programs may not watch
        yet.
        """
        joined, self._to_watch = self._to_watch, []
        self.ended_unwatched = [p for p in joined if p.exit is not None]
        return [p for p in joined if p.exit is None]

    def left(
        self, process: Worker, execution: Execution, at_ns: int, end: Ending | None
    ) -> list[Execution]:
        """The process has ended (`end`: how; None: its end was not seen). The work that is over."""
        for each in execution.chain():
            each.live -= 1
            if process.key in each.owner_processes or not each.has_owner or each.owner_processes:
                each.end_ns = max(each.end_ns, at_ns)
            self.accounts.changed(each)
            if end is not None and self._speaks_for(process, each):
                each.root_ended(process, failed=end.failed, error=end.error)
            each.owner_processes.pop(process.key, None)
        return [e for e in execution.chain() if _is_over(e, process)]

    def _speaks_for(self, process: Worker, execution: Execution) -> bool:
        """Whether its exit status is the outcome: it holds the work, or it is the first process of
        it.
        """
        if execution.has_owner:
            return process.key in execution.owner_processes
        parent = process.parent
        outside = (
            parent is None or parent.execution is None or execution not in parent.execution.chain()
        )
        return process is execution.root or outside

    def release(self, execution: Execution) -> None:
        """A process that outlives the work (a daemon that the work started) is released."""
        for process in list(self._tree.processes()):
            if (
                process.exit is None
                and process.execution is not None
                and (execution in process.execution.chain())
            ):
                process.detach(execution.identity.key)
                self.rebind(
                    process,
                    next(
                        (e for e in execution.chain() if not e.closed and e is not execution), None
                    ),
                )
                self.drops["released"] += 1


def _is_over(execution: Execution, process: Worker) -> bool:
    """Whether it ends with this process, which was the last one of it."""
    over = (execution.has_owner and not execution.owner_processes) or (
        execution.identity.source == "command" and process is execution.root
    )
    return over and execution.live == 0
