"""Processes that have ended without an exit record, because it was lost."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.events import Existing, ProcessKey
from receiver.kernel.choose import LiveOrFallback
from receiver.kernel.clock import boottime_ns, gone
from receiver.kernel.decode import decode
from receiver.observe.session import Session
from receiver.service.sampler import Sampler
from receiver.text.redact import Redactor


class Vanished:
    """The exit of a process may still be in a ring, so it is released after everything that was in
    the rings at the time of the check has been read.
    """

    def __init__(self, source: LiveOrFallback, session: Session, sampler: Sampler) -> None:
        self._source, self._session, self._sampler = source, session, sampler
        self._suspected = False  # exits were lost since the last check
        # netlink does not know which records it lost
        self._kinds = ("exit",) if source.name == "ebpf" else ("fork",)
        self._gone: list[ProcessKey] = []
        self._checked_ns = 0

    def lost(self, losses: Mapping[tuple[str, str], int]) -> None:
        """Takes note of new totals, before the core does."""
        known = self._session.core.missing.losses
        self._suspected |= any(
            count > known.get(key, 0) for key, count in losses.items() if key[0] in self._kinds
        )

    def release(self, now_ns: int) -> None:
        """Call it at each tick."""
        unended = self._session.core.unended
        if self._checked_ns and self._source.read_until_ns > self._checked_ns:
            living = set(unended.keys())
            self._session.vanished([key for key in self._gone if key in living], now_ns)
            self._gone, self._checked_ns = [], 0
        if self._suspected and not self._checked_ns:
            found = self._sampler.with_descriptors(self._find)
            self._suspected = found is None  # then try again at the next tick
            if found is not None:
                self._gone, self._checked_ns = found, boottime_ns()

    def _find(self) -> list[ProcessKey]:
        """In a pid namespace /proc has other pids, so the kernel half is asked."""
        core = self._session.core
        living = core.unended.keys()
        if not core.host.pid_namespace:
            return gone(living)
        there = {
            event.process
            for raw in self._source.existing()
            if isinstance(event := decode(raw, Redactor("strip")), Existing)
        }
        return [key for key in living if key not in there]
