"""Hooks the system calls of processes with work, and detaches when there is none for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from receiver.errors import UnavailableError
from receiver.kernel.choose import LiveOrFallback
from receiver.kernel.clock import boottime_ns
from receiver.model import Blind
from receiver.observe.session import Session
from receiver.work.worker import Worker

log = logging.getLogger("kwitness")
IDLE_SECONDS = 60.0  # without an open execution, the system-call hooks are detached after this time


class Following:
    """`flush` sends what the core emitted. `drops`: this process drops its privileges, so a hook
    that is refused stays refused.
    """

    def __init__(
        self,
        source: LiveOrFallback,
        session: Session,
        flush: Callable[[], None],
        *,
        drops: bool,
    ) -> None:
        self._source, self._session, self._flush, self._drops = source, session, flush, drops
        self._idle_since = 0.0
        # processes to follow from the next attachment on; bounded by the number of pids
        self._joined: dict[int, Worker] = {}
        source.on_late = self._late
        if source.hooks is not None:
            source.hooks.on_interrupted = self._interrupted

    def follow(self) -> None:
        """Call it after each batch."""
        members, before = self._session.core.members, self._source.following
        joined = members.to_watch()
        if not before and self._source.hooks is not None:
            self._note_late(members.ended_unwatched)
        if joined:
            self._idle_since = 0.0
            self._joined |= {p.key.tgid: p for p in joined}
            self._source.watch([p.key for p in joined])
            if self._source.following:
                self._joined.clear()
        elif self._session.core.bindings.need_calls:
            self._idle_since = 0.0
        elif self._source.following:
            now = time.monotonic()
            self._idle_since = self._idle_since or now
            if now - self._idle_since > IDLE_SECONDS:
                self._source.unwatch()

    def check(self) -> None:
        """Raises UnavailableError when this process can never hook system calls again."""
        hooks = self._source.hooks
        if hooks is None:
            return
        hooks.retry()
        if hooks.final and self._drops:
            raise UnavailableError(
                f"{hooks.failure}, and there are no privileges left to retry: restart kwitness"
            )

    def _late(self, pids: list[int]) -> None:
        """These processes are followed from now on; their earlier calls were not seen."""
        self._note_late(
            [process for pid in pids if (process := self._joined.pop(pid, None)) is not None]
        )

    def _note_late(self, processes: list[Worker]) -> None:
        now = boottime_ns()
        late = []
        for process in processes:
            if process.execution is None:
                continue  # the missed calls of an orchestrator do not concern its tasks
            began = max(process.key.start_boottime_ns, process.execution.outermost.start_ns)
            until = process.exit.time_boottime_ns if process.exit is not None else now
            late.append(Blind("late_attach", began, max(began, until), process.key))
        if late:
            self._session.blind(late, now)

    def _interrupted(self, began_ns: int, until_ns: int, why: str) -> None:
        if until_ns:
            seconds = (until_ns - began_ns) / 1e9
            log.warning("%s: system calls were not observed for %.3f s", why, seconds)
        else:
            log.warning("%s: system calls are not observed", why)
        self._session.blind([Blind("interrupted", began_ns, until_ns, why=why)], boottime_ns())
        self._flush()
