"""Exports one signal: queue, batches, sending with retry, and the account of every item.

The account: enqueued = exported + rejected + failed + dropped + (in the queue and in flight). An
item that was accepted is never sent again. A batch is encoded once, however often it is sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from receiver.export.encode import Envelope
from receiver.export.options import BatchSettings, SignalName
from receiver.export.outcome import Accepted, Backoff, Outcome, Permanent, Retryable, TooLarge
from receiver.export.queue import ImportanceQueue, Item
from receiver.export.rejected import SAMPLE_BYTES, RejectedSamples
from receiver.export.transport import Transport
from receiver.signals import Importance, ResourceAttributes
from receiver.text.printable import printable
from receiver.text.redact import Redactor

log = logging.getLogger("kwitness.export")
_READ = 4096  # characters of an answer; redaction comes before the cut to what is logged
_QUIET_SECONDS = 60.0  # at most one log line a minute per kind of failure; the counters are exact
_LEAST_DELAY_SECONDS = 0.05  # OTEL_BSP_SCHEDULE_DELAY=0 must not make a busy loop
_NO_LIMIT = 1 << 62
_SIZE_SECONDS = 60.0  # how long a size that was refused with 413 counts as too large


class Pipeline:
    """Start with `run()` in a task; end with `shutdown()`."""

    def __init__(
        self,
        signal: SignalName,
        transport: Transport,
        settings: BatchSettings,
        envelope: Envelope,
        kind: str,
    ) -> None:
        self.signal = signal
        self.kind = kind  # otel.component.type
        self.settings = settings
        self.queue = ImportanceQueue(settings.queue_items, settings.queue_bytes)
        self.exported = 0
        self.rejected = 0
        self.failed: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self.samples: RejectedSamples | None = None
        self.retries: Counter[str] = Counter()
        self.in_flight = 0
        self._transport = transport
        self._envelope = envelope
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._deadline = float("inf")
        self._logged: dict[str, float] = {}
        self.new_backoff: Callable[[], Backoff] = Backoff
        self._refused_bytes = (
            _NO_LIMIT  # the smallest body that was too large, and how long that is assumed
        )
        self._refused_until = 0.0

    def put(
        self,
        resource: ResourceAttributes,
        encoded: bytes,
        importance: Importance,
        *,
        reports_loss: bool = False,
    ) -> None:
        self.queue.put(Item(resource, encoded, importance, reports_loss))
        if importance is Importance.FINDING or len(self.queue) >= self.settings.batch_items:
            self._wake.set()

    async def run(self) -> None:
        """Runs until shutdown, and then until the queue is empty or the deadline has passed."""
        while True:
            if not self._stopping.is_set() and len(self.queue) < self.settings.batch_items:
                await self._pause(
                    max(self.settings.delay_seconds, _LEAST_DELAY_SECONDS), self._wake
                )
            self._wake.clear()
            while batch := self.queue.take(self.settings.batch_items, self.settings.batch_bytes):
                self.in_flight = len(batch)
                await self._deliver(batch, self.new_backoff())
                self.in_flight = 0
                if time.monotonic() >= self._deadline:
                    break
            if self._stopping.is_set():
                leftover = self.queue.take(1 << 62, 1 << 62)
                if leftover:
                    self._fail("shutdown", leftover, "")
                return

    def losses(self) -> Counter[str]:
        """Items that the server does not have and will not get, by reason.

        Records of losses are not counted here.
        """
        return self._lost + Counter(queue_full=self.queue.lost)

    async def shutdown(self, timeout_seconds: float) -> None:
        """Lets `run` flush until the timeout, then end.

        Items that could not be sent are counted as failed: shutdown.
        """
        self._deadline = time.monotonic() + timeout_seconds
        self._stopping.set()
        self._wake.set()

    async def close(self) -> None:
        await self._transport.close()

    async def _pause(self, seconds: float, *events: asyncio.Event) -> None:
        """Sleeps, or less if one of the events is set."""
        waiters = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(
                waiters, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for waiter in waiters:
                waiter.cancel()

    async def _deliver(self, batch: list[Item], backoff: Backoff) -> None:
        """Retries until the batch is accepted, refused permanently, or the shutdown deadline has
        passed.
        """
        body = self._envelope.request((resource, encoded) for resource, encoded, *_ in batch)
        while True:
            asked = len(body) < self._size_limit()
            outcome = await self._send(body) if asked else TooLarge()
            if isinstance(outcome, Accepted):
                rejected = min(max(outcome.rejected, 0), len(batch))
                self.exported += len(batch) - rejected
                self.rejected += rejected
                if rejected or outcome.message:
                    self._log_reason(
                        "partial_success",
                        f"the server kept {len(batch) - rejected} of {len(batch)}: "
                        f"{outcome.message}",
                    )
                if rejected:
                    # the server does not name the rejected items: records of losses are assumed to
                    # be among them, so that none causes another
                    self._lost["partial_success"] += max(
                        0, rejected - sum(item.reports_loss for item in batch)
                    )
                    self._keep_sample("partial_success", batch, outcome.message)
                return
            if isinstance(outcome, Permanent):
                self._fail(outcome.reason, batch, outcome.message)
                self._keep_sample(outcome.reason, batch, outcome.message)
                return
            if isinstance(outcome, TooLarge):
                if asked:
                    self._refused_bytes = len(body)
                    self._refused_until = time.monotonic() + _SIZE_SECONDS
                if len(batch) == 1:
                    self._fail("too_large", batch, "")
                    self._keep_sample(
                        "too_large", batch, f"a request of {len(body)} bytes was too large"
                    )
                    return
                middle = len(batch) // 2
                await self._deliver(batch[:middle], backoff)
                await self._deliver(batch[middle:], backoff)
                return
            if not await self._wait(outcome, backoff):
                self._fail("shutdown", batch, outcome.reason)
                return

    async def _send(self, body: bytes) -> Outcome:
        try:
            return await self._transport.send(body)
        except Exception as error:  # a defect in the transport costs this batch, never the service
            log.debug("export of %s", self.signal, exc_info=True)
            return Permanent("internal", f"{type(error).__name__}: {error}")

    def _size_limit(self) -> int:
        """Whether bodies of this size were refused a short time ago: they are split without asking
        again. Without this, a server that refuses every size gets twice as many requests as there
        are items.
        """
        return self._refused_bytes if time.monotonic() < self._refused_until else _NO_LIMIT

    async def _wait(self, outcome: Retryable, backoff: Backoff) -> bool:
        """False when the deadline leaves no time for another attempt."""
        self.retries[outcome.reason] += 1
        self._log_reason(outcome.reason, "will be tried again")
        seconds = backoff.wait_seconds(outcome.after_seconds)
        if self._stopping.is_set():
            seconds = min(seconds, 1.0)  # a flush must not wait for a long backoff
            await asyncio.sleep(max(0.0, min(seconds, self._deadline - time.monotonic())))
        else:
            await self._pause(seconds, self._stopping)
        return time.monotonic() < self._deadline

    def _fail(self, reason: str, items: list[Item], message: str) -> None:
        self.failed[reason] += len(items)
        self._lost[reason] += sum(not item.reports_loss for item in items)
        self._log_reason(reason, f"{len(items)} items were dropped: {message}")

    def _keep_sample(self, reason: str, batch: list[Item], answer: str) -> None:
        """As many of the first items as a sample may hold, and at least one."""
        if self.samples is None or not self.samples.wants(self.signal, reason):
            return
        size = 0
        first: list[tuple[ResourceAttributes, bytes]] = []
        for item in batch:
            size += len(item.encoded)
            if first and size > SAMPLE_BYTES:
                break
            first.append((item.resource, item.encoded))
        self.samples.keep(self.signal, reason, answer, self._envelope.request(first), len(batch))

    def _log_reason(self, reason: str, detail: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(reason, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            self._logged[reason] = now
            # a server may quote the request, headers included
            plain = Redactor("scrub").line(printable(detail[:_READ]).encode("utf-8", "replace"))[
                :300
            ]
            log.warning("export of %s: %s; %s", self.signal, reason, plain)
