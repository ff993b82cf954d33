"""Everything that a service keeps in its state directory.

A part that cannot be used is logged, and the others work.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from receiver import semconv as sc
from receiver.errors import ConfigError
from receiver.investigate.history import History
from receiver.investigate.report import Report
from receiver.kernel.clock import boot_id, boottime_ns
from receiver.kernel.privileges import UserIdentity
from receiver.model import Gap
from receiver.service.state.directory import StateDirectory
from receiver.service.state.keeper import HistoryKeeper
from receiver.service.state.life import Life, LifeMark, gap_after
from receiver.service.state.reports import ReportStore
from receiver.service.state.token import make_token
from receiver.service.state.worker import WriterThread
from receiver.signals import Metric, Point

log = logging.getLogger("kwitness.state")
HISTORY_SECONDS = 3.0  # at the end
CLOSE_SECONDS = 1.0  # … for a disk that does not answer
T = TypeVar("T")


def state_path(configured: str, environment: Mapping[str, str]) -> str:
    """The configured directory, or systemd's STATE_DIRECTORY. Empty without either."""
    return configured or environment.get("STATE_DIRECTORY", "").split(":")[0]


def open_directory_of_service(
    configured: str, environment: Mapping[str, str], user: UserIdentity | None
) -> StateDirectory | None:
    """None without a directory, or on a full disk.

    Call it before privileges are dropped and before anything attaches. `user`: the user that the
    service becomes; None if it does not change its user.
    """
    path = state_path(configured, environment)
    if not path:
        return None
    trusted = path in environment.get("STATE_DIRECTORY", "").split(":")
    try:
        return StateDirectory(path, user=user, follow_trusted_links=trusted)
    except OSError as error:
        log.error(
            "state.directory %s: %s; history and reports are in memory only, until the next start",
            path,
            error.strerror,
        )
        return None


class ServiceState:
    """Create it after privileges are dropped.

    Without a directory it keeps everything in memory only.
    """

    def __init__(self, directory: StateDirectory | None, *, with_history: bool = True) -> None:
        self.directory = directory
        self.token = ""
        self.gap: Gap | None = None
        self.earlier: dict[str, Report] = {}
        self._in_memory = History()
        self._boot_id = boot_id()
        self._worker: WriterThread | None = None
        self._keeper: HistoryKeeper | None = None
        self._reports: ReportStore | None = None
        self._life: LifeMark | None = None
        if directory is None:
            return
        self._worker = WriterThread()
        self.token = self._part("admin.token", lambda: make_token(directory.fd)) or ""
        self._reports = self._part("incidents", lambda: ReportStore(directory.fd))
        if self._reports is not None:
            self.earlier = self._part("incidents", self._reports.load) or {}
        self._life = self._part("last-life", lambda: LifeMark(directory.fd))
        if self._life is not None and self._life.last is not None:
            self.gap = gap_after(self._life.last, self._boot_id, time.time_ns(), boottime_ns())
            log_gap(self.gap)
        if with_history:
            self._keeper = HistoryKeeper(directory.path / "history.db", self._worker)

    def _part(self, name: str, make: Callable[[], T]) -> T | None:
        assert self.directory is not None
        try:
            return make()
        except (OSError, ConfigError) as error:
            why = getattr(error, "strerror", None) or error
            log.error(
                "%s cannot be used (%s): the service works without it",
                self.directory.path / name,
                why,
            )
            return None

    @property
    def history(self) -> History:
        """One object for the whole time: the content of the file is added to it after loading."""
        return self._keeper.history if self._keeper is not None else self._in_memory

    def start(self) -> None:
        """Starts loading the history. Call it in the event loop."""
        if self._keeper is not None:
            self._keeper.start()

    def keep_report(self, incident_id: str, report: Report, owner: int = -1) -> None:
        """`owner`: the user whose work it is about; -1 when that is not known."""
        reports = self._reports
        if self._worker is None:
            return
        if reports is None:
            self._worker.skip("report", "unusable", 1, "")
            return
        self._worker.put("report", lambda: reports.save(incident_id, report, owner))

    def tick(self, unsent: Mapping[str, int]) -> None:
        """Called about once a second: stores new items, and marks that the service is alive."""
        if self._keeper is not None:
            self._keeper.save()
        self._mark(unsent, ended=False)

    def _mark(self, unsent: Mapping[str, int], *, ended: bool) -> None:
        life = self._life
        if life is None or self._worker is None:
            return
        now = Life(
            boot_id=self._boot_id,
            pid=os.getpid(),
            seen_unix_ns=time.time_ns(),
            seen_boottime_ns=boottime_ns(),
            unsent=dict(unsent),
            ended=ended,
        )
        self._worker.put("mark", lambda: life.write(now))

    async def save_last(self) -> None:
        """Stores the rest of the history. It may wait for a lock, while the export finishes."""
        if self._keeper is not None:
            await self._keeper.close(HISTORY_SECONDS)

    async def end(self, unsent: Mapping[str, int]) -> None:
        """At the very end, after the export: `unsent` items are lost. An exception in progress is
        not a shutdown.
        """
        if self._worker is None:
            return
        self._mark(unsent, ended=sys.exc_info()[0] is None)
        done = await self._worker.close(CLOSE_SECONDS)
        if not done:
            log.warning("the disk of the state directory does not respond: unsaved items are lost")
        elif self.directory is not None:
            for part in (self._life, self._reports, self.directory):
                if part is not None:
                    part.close()

    def metrics(self) -> tuple[Metric, ...]:
        if self._worker is None:
            return ()
        points = tuple(
            Point(((sc.PIPELINE_OBSERVER_LOSS_REASON, reason),), count)
            for reason, count in sorted(self._worker.skipped.copy().items())
        )
        return (Metric(*sc.METRIC_PIPELINE_OBSERVER_STATE_SKIPPED, points),) if points else ()


def log_gap(gap: Gap) -> None:
    """One line about the end of the previous service."""
    how = {
        "stopped": "was stopped",
        "killed": "was killed without a shutdown",
        "host_restarted": "ended when the host restarted",
    }[gap.reason]
    text = f"the previous service {how}; nothing was observed for {gap.seconds:.1f} s"
    if gap.unsent:
        lost = " and ".join(f"{count} {kind.replace('_', ' ')}s" for kind, count in gap.unsent)
        text += f"; its export queue was lost: {lost} at the last count"
    log.log(
        logging.INFO if gap.reason == "stopped" and not gap.unsent else logging.WARNING, "%s", text
    )
