"""The composition root: source, session, core and exporters, and the loops that run them."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec

from receiver import semconv as sc
from receiver.attribution.declared import DECLARED
from receiver.attribution.rules import Rule
from receiver.errors import UnavailableError
from receiver.events import WIRES, EventKind, Existing, FilterReason, Ledger, LossReason, ProcessKey
from receiver.investigate.report import Report
from receiver.kernel.choose import open_source
from receiver.kernel.clock import (
    boot_id,
    boottime_ns,
    gone,
    host_addresses,
    host_name,
    machine_id,
    refuse_time_namespace,
    wall_offset_ns,
)
from receiver.kernel.confinement import Confinement
from receiver.kernel.decode import decode
from receiver.kernel.descriptors import Reserve, exhausted
from receiver.kernel.pods import container_names
from receiver.kernel.source_config import Batch, SourceConfig
from receiver.model import Blind, ContainerName, CoreOptions, Host
from receiver.observe.core import Core
from receiver.observe.recorder import Recorder
from receiver.observe.recording import Header, Settings
from receiver.observe.recording_scope import CommandScope
from receiver.observe.session import Session
from receiver.safe.log_limit import LogLimit
from receiver.service.symbols import named
from receiver.signals import Metric, Point
from receiver.synthesis.logs import Logs
from receiver.synthesis.losses import LossRecords
from receiver.text.redact import Redactor
from receiver.work.worker import Worker

if TYPE_CHECKING:
    from receiver.export.hub import Hub

log = logging.getLogger("kwitness")
TICK_SECONDS = 1.0
STEP_SECONDS = 0.1  # between the ticks, while investigations wait
CLOCK_SECONDS = 10.0
CANARY_SECONDS = 10.0
IDLE_SECONDS = 60.0  # without an open execution, the system-call hooks are detached after this time
STEP_NS = 50_000_000  # a larger change of the wall clock is a step, not slew
SLEW_NS = 500_000  # a smaller change is measurement noise
SPARE_DESCRIPTORS = 16  # for the files that every sample opens
_T = TypeVar("_T")


def this_host(source: str = "ebpf") -> Host:
    """The session id belongs to this attachment: event ids start again with every attachment."""
    boot = boot_id()
    session = hashlib.sha256(f"{boot} {boottime_ns()}".encode()).hexdigest()[:12]
    return Host(boot, host_name(), session, source=source, id=machine_id())


def losses_of(ledger: Ledger) -> dict[tuple[str, str], int]:
    """Cumulative losses by (kind, reason), without zeros."""
    return {
        (EventKind(kind).name.lower(), LossReason(reason).name.lower()): count
        for kind, reasons in enumerate(ledger.lost)
        for reason, count in enumerate(reasons)
        if count and kind
    }


def by_user_of(rows: Mapping[tuple[int, int, int], int]) -> dict[tuple[str, str, int], int]:
    """Cumulative losses by (kind, reason, user). Rows of kinds that are not known are left out."""
    return {
        (EventKind(kind).name.lower(), LossReason(reason).name.lower(), user): count
        for (user, kind, reason), count in rows.items()
    }


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
        self.source = open_source(
            source,
            DECLARED.capture,
            drops=drops,
            helper=helper,
            launched=launched,
            confinement=confinement,
        )
        self.host = this_host(self.source.name)
        if self.source.namespace:
            mine = {
                "pid_namespace": self.source.namespace,
                "observer_pid": self.source.starter_tgid,
            }
            self.host = msgspec.structs.replace(self.host, **mine)
        if core.include_addresses:
            self.host = msgspec.structs.replace(self.host, addresses=host_addresses())
        self.core = Core(self.host, core, rules, explain=explain)
        self.hub = hub
        self._losses = LossRecords(Logs(self.core.blocks, "x"))
        self.stop = asyncio.Event()
        # called after the core: with each batch, and about once a second
        self.each_batch: list[Callable[[Batch], None]] = []
        self.each_tick: list[Callable[[], None]] = []
        self.canary_at = 0.0
        self._idle_since = 0.0
        self._metric_interval = hub.settings.metric_interval_seconds if hub else 60.0
        self._sample_interval = source.sample_interval_seconds
        self._next_sample = 0.0
        self._sample_seconds = 0.0
        self._reserve = Reserve(SPARE_DESCRIPTORS)
        self._samples_missed, self._missed_last = 0, False
        self._limited = LogLimit(log)
        self.own_metrics: list[
            Callable[[], tuple[Metric, ...]]
        ] = []  # counters of the service's other parts
        self._drops = drops
        self._joined: dict[
            int, Worker
        ] = {}  # processes to follow from the next attachment on; bounded by the number of pids
        self.source.on_late = self._late
        if self.source.hooks is not None:
            self.source.hooks.on_interrupted = self._interrupted
        self._ends_lost = False  # exits were lost since the last check for ended processes
        self._ends_lost_with = (
            ("exit",) if self.source.name == "ebpf" else ("fork",)
        )  # netlink does not know which records it lost
        self._gone_then: list[ProcessKey] = []
        self._gone_at_ns = 0
        self._wall_offset = wall_offset_ns()
        self._container_folder = source.container_names
        self._containers: tuple[ContainerName, ...] = ()
        self.recorder = (
            self._recorder_to(record_to, Settings(core, rules), record_host=record_host)
            if record_to
            else None
        )
        self.session = Session(self.core, self.recorder)

    def _recorder_to(self, output: BinaryIO, settings: Settings, *, record_host: bool) -> Recorder:
        """Stores all events, unless only one command is observed and not the whole host."""
        whole = record_host or not settings.options.only_commands
        header = Header(
            WIRES, self.host, self._wall_offset, "host" if whole else "command", settings
        )
        return Recorder(output, header, None if whole else CommandScope(self.host.pid_namespace))

    def start(self) -> None:
        """Reads the living processes.

        It attached on construction, so no process is missed in between.
        """
        # records contain no cycles: collect rarely, and never scan the imported objects again
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self.session.wall_offset(self._wall_offset, boottime_ns())
        self.session.batch(self.source.existing(), boottime_ns())
        self._name_containers()
        self._follow()
        self.session.unseen(tuple(self.blind()), boottime_ns())
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
        self._follow()
        for call in self.each_batch:
            call(batch)
        self._flush()

    def _follow(self) -> None:
        """Hooks the system calls of processes that have joined an execution.

        Detaches when no execution has been active for a while.
        """
        before = self.source.following
        joined = self.core.members.to_watch()
        if not before and self.source.hooks is not None:
            self._note_late(self.core.members.ended_unwatched)
        if joined:
            self._idle_since = 0.0
            self._joined |= {p.key.tgid: p for p in joined}
            self.source.watch([p.key for p in joined])
            if self.source.following:
                self._joined.clear()
        elif self.core.bindings.need_calls:
            self._idle_since = 0.0
        elif self.source.following:
            now = time.monotonic()
            self._idle_since = self._idle_since or now
            if now - self._idle_since > IDLE_SECONDS:
                self.source.unwatch()

    def _late(self, pids: list[int]) -> None:
        """These processes are followed from now on; their earlier calls were not seen."""
        self._note_late(
            [process for pid in pids if (process := self._joined.pop(pid, None)) is not None]
        )

    def _note_late(self, processes: list[Worker]) -> None:
        now = boottime_ns()
        late = []
        for process in processes:
            if (
                process.execution is not None
            ):  # the missed calls of an orchestrator do not concern its tasks
                began = max(process.key.start_boottime_ns, process.execution.outermost.start_ns)
                until = process.exit.time_boottime_ns if process.exit is not None else now
                late.append(Blind("late_attach", began, max(began, until), process.key))
        if late:
            self.session.blind(late, now)

    def _interrupted(self, began_ns: int, until_ns: int, why: str) -> None:
        if until_ns:
            log.warning(
                "%s: system calls were not observed for %.3f s", why, (until_ns - began_ns) / 1e9
            )
        else:
            log.warning("%s: system calls are not observed", why)
        self.session.blind([Blind("interrupted", began_ns, until_ns, why=why)], boottime_ns())
        self._flush()

    def _check_hooks(self) -> None:
        """Raises UnavailableError when this process can never hook system calls again."""
        if self.source.hooks is None:
            return
        self.source.hooks.retry()
        if self.source.hooks.final and self._drops:
            raise UnavailableError(
                f"{self.source.hooks.failure}, and there are no privileges left to retry: "
                "restart kwitness"
            )

    async def _tick_forever(self) -> None:
        next_clock = next_metrics = time.monotonic()
        while True:
            await self._until_next_tick()
            now = time.monotonic()
            self.tick()
            for call in self.each_tick:
                call()
            self._check_hooks()
            if now >= next_clock:
                next_clock = now + CLOCK_SECONDS
                self._check_clock()
                self._check_canary()
                self._name_containers()
            if now >= next_metrics:
                next_metrics = now + self._metric_interval
                self.export_metrics()

    async def _until_next_tick(self) -> None:
        """Meanwhile investigates what a burst of ends left over, a bounded number at a time."""
        until = time.monotonic() + TICK_SECONDS
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, STEP_SECONDS) if self._is_behind() else left)
            if self._is_behind():
                self.session.tick(boottime_ns())
                self._flush()

    def _is_behind(self) -> bool:
        return self.core.incidents.is_behind(boottime_ns())

    def tick(self) -> None:
        now = boottime_ns()
        losses = losses_of(self.source.ledger())
        if self._samples_missed:
            losses["process_sample", "no_descriptor"] = self._samples_missed
        if losses != self.core.missing.losses:
            self._ends_lost |= any(
                n > self.core.missing.losses.get(k, 0)
                for k, n in losses.items()
                if k[0] in self._ends_lost_with
            )
            # read after the totals, so that no loss of one user counts for everybody
            self.session.losses(losses, now, by_user_of(self.source.user_losses()))
        self._release_vanished(now)
        self._sample()
        self.session.tick(now)
        self._follow()
        self._flush()
        self._report_losses(now)

    def _report_losses(self, now_ns: int, *, last: bool = False) -> None:
        """Emits the losses of the exporters.

        The core does not: a replay has other exporters and must emit the same signals.
        """
        if self.hub:
            for record in self._losses.due(self.hub.losses(), now_ns, last=last):
                self.hub.put_loss(record)

    def _release_vanished(self, now: int) -> None:
        """Releases processes that have ended without an exit record.

        The exit of a process may still be in a ring, so it is released after everything that was in
        the rings at the time of the check has been read.
        """
        if self._gone_at_ns and self.source.read_until_ns > self._gone_at_ns:
            living = set(self.core.unended.keys())
            self.session.vanished([key for key in self._gone_then if key in living], now)
            self._gone_then, self._gone_at_ns = [], 0
        if self._ends_lost and not self._gone_at_ns:
            self._ends_lost = False
            if (gone := self._with_descriptors(self._gone)) is None:
                self._ends_lost = True  # try again at the next tick
            else:
                self._gone_then, self._gone_at_ns = gone, boottime_ns()

    def _gone(self) -> list[ProcessKey]:
        """The processes whose exits were lost.

        In a pid namespace /proc has other pids, so the kernel half is asked.
        """
        living = self.core.unended.keys()
        if not self.host.pid_namespace:
            return gone(living)
        there = {
            event.process
            for raw in self.source.existing()
            if isinstance(event := decode(raw, Redactor("strip")), Existing)
        }
        return [key for key in living if key not in there]

    def _sample(self) -> None:
        """Samples the watched processes at the configured interval. Its own cost is a metric."""
        start = time.monotonic()
        if start < self._next_sample:
            return
        self._next_sample = (
            start + self._sample_interval - TICK_SECONDS / 2
        )  # ticks come slightly late, never early
        samples = self._with_descriptors(self.source.sample)
        self._sample_seconds += time.monotonic() - start
        self._missed_last = samples is None
        self._samples_missed += self._missed_last
        if samples:
            self._deliver(samples, boottime_ns())

    def _with_descriptors(self, look: Callable[[], _T]) -> _T | None:
        """Calls `look()`.

        If no descriptor is free it tries again with the reserve; None if that was not enough.
        """
        try:
            return look()
        except OSError as error:
            if not exhausted(error):
                raise
        try:
            with self._reserve.lent():
                return look()
        except OSError as error:
            if not exhausted(error):
                raise
            text = (
                "no file descriptor is free (%s): skipped a sample of processes; raise LimitNOFILE="
            )
            self._limited.say(logging.ERROR, "descriptors", text, error.strerror)
            return None

    def _check_clock(self) -> None:
        offset = wall_offset_ns()
        if abs(offset - self._wall_offset) > STEP_NS:
            log.warning("the wall clock moved by %.3f s", (offset - self._wall_offset) / 1e9)
        if abs(offset - self._wall_offset) > SLEW_NS:
            self._wall_offset = offset
            self.session.wall_offset(offset, boottime_ns())

    def _name_containers(self) -> None:
        found = container_names(self._container_folder) if self._container_folder else ()
        if found != self._containers:
            self._containers = found
            self.session.containers(found, boottime_ns())

    def name_functions(self, number: str, report: Report) -> Report:
        """Names the functions of a report's crashes, as far as this host knows them."""
        found = named(report)
        if found is not report:
            self.session.functions(number, found.crashes, boottime_ns())
        return found

    def _check_canary(self) -> None:
        if self.source.canary():
            self.canary_at = time.monotonic()

    def blind(self) -> list[str]:
        """The parts that cannot be observed on this host, for reports: nothing is concluded from
        their absence.
        """
        return [
            f"{hook.blind} ({hook.why})" for hook in self.source.coverage() if not hook.attached
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
        if self._missed_last:
            return "blind"
        if not self.canary_at or time.monotonic() - self.canary_at > 2 * CANARY_SECONDS:
            return "blind"
        return "ready"

    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the core, of the source and of the exporters."""
        return (*self.session.metrics(boottime_ns(), exported=False).metrics, *self._own_metrics())

    def _own_metrics(self) -> tuple[Metric, ...]:
        """Those that are no facts about pipelines: a replay does not have them."""
        skipped = tuple(
            Point(
                (
                    (sc.PIPELINE_OBSERVER_EVENT_KIND, EventKind(kind).name.lower()),
                    (sc.PIPELINE_OBSERVER_LOSS_REASON, reason.name.lower()),
                ),
                n,
            )
            for kind, counts in enumerate(self.source.ledger().filtered)
            for reason, n in zip(FilterReason, counts, strict=True)
            if n and kind
        )
        own: tuple[Metric, ...] = (Metric(*sc.METRIC_PIPELINE_OBSERVER_SKIPPED, skipped),)
        if self._sample_seconds:
            own += (
                Metric(
                    *sc.METRIC_PIPELINE_OBSERVER_SAMPLE_TIME, (Point((), self._sample_seconds),)
                ),
            )
        if self._samples_missed:
            own += (
                Metric(
                    *sc.METRIC_PIPELINE_OBSERVER_SAMPLES_MISSED, (Point((), self._samples_missed),)
                ),
            )
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
        self._reserve.close()
        self.source.close()
