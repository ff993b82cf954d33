"""The composition root: source, session, core and exporters, and the loops that run them."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from receiver.attribution.declared import DECLARED
from receiver.attribution.rules import Rule
from receiver.investigate.report import Report
from receiver.kernel.choose import open_source
from receiver.kernel.clock import (
    boottime_ns,
    refuse_time_namespace,
)
from receiver.kernel.confinement import Confinement
from receiver.kernel.source_config import Batch, SourceConfig
from receiver.model import CoreOptions, Unseen
from receiver.observe.core import Core
from receiver.observe.recorder import recorder_to
from receiver.observe.recording import Settings
from receiver.observe.session import Session
from receiver.service.following import Following
from receiver.service.host import by_user_of, host_of, losses_of, skipped_metric
from receiver.service.sampler import Sampler
from receiver.service.surroundings import Surroundings
from receiver.service.symbols import with_function_names
from receiver.service.vanished import Vanished
from receiver.signals import Metric
from receiver.synthesis.logs import Logs
from receiver.synthesis.losses import LossRecords

if TYPE_CHECKING:
    from receiver.export.hub import Hub

log = logging.getLogger("kwitness")
TICK_SECONDS = 1.0
EARLY_SECONDS = 0.2  # between the looks at processes that have just begun
STEP_SECONDS = 0.1  # between the ticks, while investigations wait
CLOCK_SECONDS = 10.0
CANARY_SECONDS = 10.0


class Observer:
    """A live observation.

    `start` attaches; `run` continues until `stop`; `finish` closes open executions and flushes.
    """

    def __init__(
        self,
        source: SourceConfig,
        core: CoreOptions,
        hub: Hub | None,
        record_to: BinaryIO | None = None,
        *,
        drops: bool = False,
        helper: bool = False,
        confinement: Confinement | None = None,
        launched: bool = False,
        rules: tuple[Rule, ...] = (),
        record_host: bool = False,
        explain: bool = False,
    ) -> None:
        """`drops`: this process will drop its privileges.

        A helper in the given confinement then attaches hooks if the kernel wants privileges for
        that; with `helper`, always.

        `launched`: the parent process starts the command (`kwitness run`). `record_host`: the
        recording of a command contains all events of other processes, too. `explain`: keeps the
        reasons of all attributions.
        """
        refuse_time_namespace()
        how = {"drops": drops, "helper": helper, "launched": launched}
        self.source = open_source(source, DECLARED.capture, confinement=confinement, **how)
        self.host = host_of(self.source, core)
        self.core = Core(self.host, core, rules, explain=explain)
        self.hub = hub
        self._losses = LossRecords(Logs(self.core.resources, "x"))
        self.stop = asyncio.Event()
        # called after the core: with each batch, and about once a second
        self.each_batch: list[Callable[[Batch], None]] = []
        self.each_tick: list[Callable[[], None]] = []
        self.canary_at = 0.0
        self._metric_interval = hub.settings.metric_interval_seconds if hub else 60.0
        # counters of the service's other parts
        self.own_metrics: list[Callable[[], tuple[Metric, ...]]] = []
        self._surroundings = Surroundings(source.container_names)
        offset_ns, settings = self._surroundings.wall_offset_ns, Settings(core, rules)
        self.recorder = (
            recorder_to(record_to, self.host, offset_ns, settings, record_host=record_host)
            if record_to
            else None
        )
        self.session = Session(self.core, self.recorder)
        self.sampler = Sampler(self.source, source.sample_interval_seconds)
        self._vanished = Vanished(self.source, self.session, self.sampler)
        self._following = Following(self.source, self.session, self._flush, drops=drops)

    def start(self) -> None:
        """Reads the living processes.

        It attached on construction, so no process is missed in between.
        """
        # records contain no cycles: collect rarely, and never scan the imported objects again
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self._surroundings.begin(self.session)
        self.session.batch(self.source.existing(), boottime_ns())
        self._surroundings.name_containers(self.session)
        self._following.follow()
        self.session.unseen(tuple(self.unseen()), boottime_ns())
        for hook in self.source.coverage():
            if not hook.attached:
                log.warning(
                    "%s is not attached (%s): %s is invisible", hook.hook, hook.why, hook.blind
                )
        self._check_canary()
        if self.hub:
            self.hub.start()
        self._flush()

    async def run(self) -> None:
        """Runs until `stop` is set; then drains the rings once more.

        A loop that fails stops the others.
        """
        pump = asyncio.create_task(self.source.pump(self._deliver, self.stop), name="pump")
        ticker = asyncio.create_task(self._tick_forever(), name="ticker")
        exporters = self.hub.tasks if self.hub else []
        done, _ = await asyncio.wait(
            {pump, ticker, *exporters}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in (ticker, pump):
            task.cancel()
        await asyncio.gather(ticker, pump, return_exceptions=True)
        for task in done:
            task.result()  # raises its exception
            if task is not pump:
                raise RuntimeError(f"{task.get_name()} ended too early")

    def _deliver(self, batch: Batch, read_at_ns: int) -> None:
        self.session.batch(batch, read_at_ns)
        self._following.follow()
        for call in self.each_batch:
            call(batch)
        self._flush()

    async def _tick_forever(self) -> None:
        next_clock = next_metrics = time.monotonic()
        while True:
            await self._until_next_tick()
            now = time.monotonic()
            self.tick()
            for call in self.each_tick:
                call()
            self._following.check()
            if now >= next_clock:
                next_clock = now + CLOCK_SECONDS
                self._surroundings.check_clock(self.session)
                self._check_canary()
                self._surroundings.name_containers(self.session)
            if now >= next_metrics:
                next_metrics = now + self._metric_interval
                self.export_metrics()

    async def _until_next_tick(self) -> None:
        """Meanwhile investigates what a burst of ends left over, a bounded number at a time."""
        until = time.monotonic() + TICK_SECONDS
        while (left := until - time.monotonic()) > 0:
            most = EARLY_SECONDS if self.source.following else left
            await asyncio.sleep(min(left, STEP_SECONDS) if self._is_behind() else min(left, most))
            if left > EARLY_SECONDS and (looks := self.sampler.early()):
                self._deliver(looks, boottime_ns())
            if self._is_behind():
                self.session.tick(boottime_ns())
                self._flush()

    def _is_behind(self) -> bool:
        return self.core.incidents.is_behind(boottime_ns())

    def tick(self) -> None:
        now = boottime_ns()
        losses = losses_of(self.source.ledger())
        if self.sampler.missed:
            losses["process_sample", "no_descriptor"] = self.sampler.missed
        if losses != self.core.missing.losses:
            self._vanished.lost(losses)
            # read after the totals, so that no loss of one user counts for everybody
            self.session.losses(losses, now, by_user_of(self.source.user_losses()))
        self._vanished.release(now)
        if samples := self.sampler.due(TICK_SECONDS):
            self._deliver(samples, boottime_ns())
        self.session.tick(now)
        self._following.follow()
        self._flush()
        self._report_losses(now)

    def _report_losses(self, now_ns: int, *, last: bool = False) -> None:
        """Emits the losses of the exporters.

        The core does not: a replay has other exporters and must emit the same signals.
        """
        if self.hub:
            for record in self._losses.due(self.hub.losses(), now_ns, last=last):
                self.hub.put_loss(record)

    def name_functions(self, incident_id: str, report: Report) -> Report:
        """Names the functions of a report's crashes, as far as this host knows them."""
        found = with_function_names(report)
        if found is not report:
            self.session.functions(incident_id, found.crashes, boottime_ns())
        return found

    def _check_canary(self) -> None:
        if self.source.canary():
            self.canary_at = time.monotonic()

    def unseen(self) -> list[Unseen]:
        """The parts that cannot be observed on this host, for reports: nothing is concluded from
        their absence.
        """
        return [
            Unseen(f"{hook.blind} ({hook.why})", hook.kinds)
            for hook in self.source.coverage()
            if not hook.attached
        ]

    @property
    def attaches_itself(self) -> bool:
        """Whether this process attaches the system-call hooks itself, without a helper."""
        return self.source.hooks is not None and self.source.hooks.helper is None

    def ready(self) -> str:
        """ "ready", or the reason why not.

        Blind: the service's own canary event was not seen for two intervals, the last sample
        failed, or system calls cannot be hooked.
        """
        if self.source.hooks is not None and self.source.hooks.failure:
            return f"blind: {self.source.hooks.failure}"
        if self.sampler.missed_last:
            return "blind"
        if not self.canary_at or time.monotonic() - self.canary_at > 2 * CANARY_SECONDS:
            return "blind"
        return "ready"

    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the core, of the source and of the exporters."""
        return (*self.session.metrics(boottime_ns(), exported=False).metrics, *self._own_metrics())

    def _own_metrics(self) -> tuple[Metric, ...]:
        """Those that are no facts about pipelines: a replay does not have them."""
        own = (skipped_metric(self.source.ledger()), *self.sampler.metrics())
        for part in self.own_metrics:
            own += part()
        return own + (self.hub.metrics() if self.hub else ())

    def export_metrics(self) -> None:
        if self.hub:
            found = self.session.metrics(boottime_ns(), exported=True)
            metrics = (*found.metrics, *self._own_metrics())
            self.hub.put_metrics(msgspec.structs.replace(found, metrics=metrics))

    def _flush(self) -> None:
        signals = self.core.take()
        if self.hub and signals:
            self.hub.put(signals)

    def end(self) -> None:
        """After `run`: stops new events, reads the last ones from the rings, and closes every open
        execution.
        """
        self.source.detach()
        more = True
        while more:
            batch, more = self.source.drain()
            if batch:
                self._deliver(batch, boottime_ns())
        self.tick()
        self.session.finish(boottime_ns())
        self._flush()
        self._report_losses(boottime_ns(), last=True)
        self.export_metrics()

    async def close(self, flush_seconds: float) -> None:
        if self.hub:
            await self.hub.shutdown(flush_seconds)
        if self.recorder:
            self.recorder.close()
        self.sampler.close()
        self.source.close()
