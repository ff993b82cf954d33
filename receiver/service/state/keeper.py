"""Loads and saves a history beside the event loop. It waits for a busy file or a full disk.

Nothing here raises for a bad file: the history is then empty, the log has the reason, and items
that could not be stored are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from receiver.investigate.entries import owner_of
from receiver.investigate.history import History
from receiver.service.state.history import HistoryError, HistoryStore, Item
from receiver.service.state.worker import WriterThread, reason_of
from receiver.work.fair_table import FairTable

log = logging.getLogger("kwitness.state")
# Runs and sightings that wait for the file. Above this number, the oldest of the user who has most
# are skipped.
WAITING_ITEMS = 5000
HOLD_SECONDS = 60.0  # how long items wait for a busy file or a full disk
PATIENCE_SECONDS = 0.25  # per attempt: the thread has other jobs, too
RETRY_SECONDS = 1.0
_PASSING = {"busy", "full", "io_error", "read_only"}  # temporary reasons


class HistoryKeeper:
    """`history` is empty until the file is loaded, and complete afterwards.

    Call `save` about once a second.
    """

    def __init__(self, path: Path, worker: WriterThread) -> None:
        self.history = History()
        self._path, self._worker = path, worker
        self._store: HistoryStore | None = None  # used by the worker's thread only
        self._usable = True
        self._waiting: list[Item] = []
        self._waiting_since = 0.0
        self._saving: asyncio.Task[HistoryError | OSError | None] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()  # loaded, or failed for another reason than a lock

    def start(self) -> None:
        """Starts loading. Call it in the event loop."""
        self._loading = asyncio.create_task(self._load(), name="history")

    async def settled(self, seconds: float) -> bool:
        """Waits at most this long while the file is locked. Returns whether it is loaded."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), seconds)
        return self._loading is not None and self._loading.done() and self._usable

    async def _load(self) -> None:
        said = ""
        while True:
            try:
                earlier = await self._worker.ask(self._open)
            except HistoryError as error:
                if error.reason != said:
                    log.warning("%s; earlier runs are not known", error)
                    said = error.reason
                if error.reason != "busy":
                    self._answered.set()
                if error.reason not in _PASSING:
                    self._usable = False
                    return
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.history.absorb(earlier)
                self._answered.set()
                return

    def _open(self) -> History:
        """Runs in the worker's thread."""
        if self._store is None:
            self._store = HistoryStore(self._path, patience_seconds=PATIENCE_SECONDS)
        return self._store.load()

    def save(self) -> None:
        """Passes new items to the thread, unless it is still storing earlier ones."""
        if fresh := self.history.take():
            self._waiting_since = self._waiting_since if self._waiting else time.monotonic()
            self._waiting += fresh
        if not self._waiting:
            return
        if not self._usable:
            self._skip("unusable", "")
        elif time.monotonic() - self._waiting_since > HOLD_SECONDS:
            self._skip("busy", f"the history was busy for {HOLD_SECONDS:.0f} s")
        else:
            self._skip_too_many()
            if self._is_free():
                self._saving = asyncio.create_task(
                    self._save(PATIENCE_SECONDS), name="save history"
                )

    def _is_free(self) -> bool:
        loaded = self._loading is not None and self._loading.done()
        return loaded and (self._saving is None or self._saving.done())

    async def _save(self, patience_seconds: float) -> HistoryError | OSError | None:
        """Returns why it failed, or nothing."""
        items, self._waiting = self._waiting, []

        def store() -> None:
            if self._store is None:
                self._store = HistoryStore(self._path, patience_seconds=patience_seconds)
            self._store.save(items, patience_seconds=patience_seconds)

        try:
            await self._worker.ask(store)
        except BaseException as error:
            self._waiting = items + self._waiting
            if not isinstance(error, HistoryError | OSError):
                raise
            await self._failed(error)
            return error
        self._waiting_since = time.monotonic()
        return None

    async def _failed(self, error: HistoryError | OSError) -> None:
        reason = getattr(error, "reason", "busy")
        if reason not in _PASSING:
            self._skip(reason, str(error))
            with contextlib.suppress(OSError):
                await self._worker.ask(
                    self._close_store
                )  # the next open detects a damaged file again

    def _skip(self, reason: str, why: str) -> None:
        """Skips all items that wait."""
        count, self._waiting = len(self._waiting), []
        self._waiting_since = time.monotonic()
        self._worker.skip("history", reason, count, why)

    def _skip_too_many(self) -> None:
        if len(self._waiting) <= WAITING_ITEMS:
            return
        kept: FairTable[int, Item] = FairTable(WAITING_ITEMS)
        for number, item in enumerate(self._waiting):
            owner = owner_of(item[0][0]) if isinstance(item, tuple) else item.owner
            kept.put(number, item, owner)
        count, self._waiting = len(self._waiting) - len(kept), list(kept.values())
        self._worker.skip("history", "busy", count, "too many wait for it")

    async def close(self, seconds: float) -> bool:
        """Stores the remaining items; waits this long for a lock.

        Returns whether all of them are stored.
        """
        deadline = time.monotonic() + seconds
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=seconds)
            self._saving.cancel()  # its items, if it has not ended, are counted below
            await asyncio.gather(self._saving, return_exceptions=True)
        await self.settled(max(0.0, deadline - time.monotonic()))
        if self._loading is not None and not self._loading.done():
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        self._waiting += self.history.take()
        error: HistoryError | OSError | None = None
        skipped = self._worker.skipped.total()
        while self._waiting and self._usable:
            error = await self._save(PATIENCE_SECONDS)
            if reason_of(error) != "busy" or time.monotonic() >= deadline:
                break
            await asyncio.sleep(PATIENCE_SECONDS)
        if self._waiting:
            self._skip(reason_of(error), str(error or ""))
        with contextlib.suppress(OSError):
            await self._worker.ask(self._close_store)
        return self._worker.skipped.total() == skipped

    def _close_store(self) -> None:
        """Runs in the worker's thread."""
        if self._store is not None:
            self._store.close()
            self._store = None
