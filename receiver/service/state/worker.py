"""One thread for operations that may wait for a disk or a lock, so that the event loop
never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from receiver.errors import KwitnessError

log = logging.getLogger("kwitness.state")
JOBS = 512
QUIET_SECONDS = 60.0  # at most one log line a minute for each reason; the counters are exact
T = TypeVar("T")


class WriterThread:
    """Runs jobs in order.

    When the queue is full, a job is skipped and counted. A daemon thread: a hanging disk does not
    delay the exit.
    """

    def __init__(self) -> None:
        """Create it after privileges are dropped: a thread keeps the privileges that it started
        with.
        """
        self.skipped: Counter[str] = Counter()  # items that could not be stored, by kind and reason
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(JOBS)
        self._said: dict[str, tuple[float, int]] = {}
        self._thread = threading.Thread(target=self._work, name="state", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def put(self, what: str, job: Callable[[], object], items: int = 1) -> None:
        """`what` is the kind of item that is lost if the job fails."""

        def guarded() -> None:
            try:
                job()
            except (OSError, KwitnessError) as error:
                self.skip(
                    what, reason_of(error), items, str(getattr(error, "strerror", None) or error)
                )

        try:
            self._jobs.put_nowait(guarded)
        except queue.Full:
            self.skip(what, "busy", items, "the disk is too slow")

    def skip(self, what: str, reason: str, items: int, why: str) -> None:
        """Counts, and logs once a minute for each reason.

        Without `why` it was already logged. Any thread may call it.
        """
        key, now = f"{what}_{reason}", time.monotonic()
        self.skipped[key] += items
        if not why:
            return
        said, count = self._said.get(key, (-QUIET_SECONDS, 0))
        if now - said < QUIET_SECONDS:
            self._said[key] = said, count + items
            return
        self._said[key] = now, 0
        log.warning("%d items of %s not stored: %s", items + count, what, why)

    async def ask(self, job: Callable[[], T]) -> T:
        """The job's result, or its exception. Raises OSError when too many jobs wait."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result, raised = None, None
            try:
                result = job()
            except Exception as error:  # the caller gets it
                raised = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: the result is not needed
                loop.call_soon_threadsafe(settle, result, raised)

        try:
            self._jobs.put_nowait(run)
        except queue.Full:
            raise OSError("too many jobs wait for the disk") from None
        return await future

    async def close(self, seconds: float) -> bool:
        """Waits for the queued jobs. False when they took longer; the thread is then abandoned."""
        deadline, asked = time.monotonic() + seconds, False
        while self._thread.is_alive() and time.monotonic() < deadline:
            if not asked:
                with contextlib.suppress(queue.Full):
                    self._jobs.put_nowait(None)
                    asked = True
            await asyncio.sleep(0.005)
        for key, (_, count) in self._said.items():
            if count:
                log.warning("%d more items were not stored (%s)", count, key)
        return not self._thread.is_alive()


def reason_of(error: BaseException | None) -> str:
    """A value from a closed set, for a metric."""
    if reason := getattr(error, "reason", ""):
        return str(reason)
    number = getattr(error, "errno", None) or 0
    return {
        errno.ENOSPC: "full",
        errno.EDQUOT: "full",
        errno.EROFS: "read_only",
        errno.EIO: "io_error",
        errno.EPERM: "refused",
    }.get(number, "unusable")
