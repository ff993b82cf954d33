"""`kwitness serve --mode insights`: OTLP from the gateway instead of kernel events. It needs no privilege at all."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from receiver import config as configuration
from receiver import semconv as sc
from receiver.admin import Admin
from receiver.commands import confined
from receiver.commands.common import VERSION, stop_on_signals
from receiver.desk import Desk
from receiver.export.hub import Hub
from receiver.export.settings import from_environment
from receiver.insights.inbound import Inbound
from receiver.insights.service import Insights
from receiver.kernel.clock import host_name
from receiver.kernel.confinement import Confinement
from receiver.show import screen
from receiver.signals import Block, Metric, MetricSnapshot
from receiver.state import ServiceState, open_directory_of_service, read_token
from receiver.supervisor import Supervisor

log = logging.getLogger("kwitness")
LOOK_SECONDS = 1.0


async def serve(args: argparse.Namespace) -> int:
    """Until SIGTERM. Becomes nobody first, when it was started as root."""
    from receiver.kernel.privileges import drop

    chosen = configuration.load(Path(args.config) if args.config else None)
    token = read_token(Path(chosen.admin.token_file)) if chosen.admin.token_file else ""
    becomes = chosen.privileges.user if chosen.privileges.drop else ""
    directory = open_directory_of_service(chosen.state.directory, {}, becomes)
    export = from_environment(os.environ)
    guard = confined.confinement(chosen.privileges)
    hub = Hub(export, VERSION)
    supervisor, stop = Supervisor(os.environ), asyncio.Event()
    if directory is not None:
        hub.samples.load()
    if chosen.privileges.drop:
        drop(chosen.privileges.user)
    if guard is not None:
        guard.service(confined.readable(chosen, export), confined.writable(str(directory.path) if directory is not None else ""))
    name = export.service_name or "kwitness-insights"
    resource = Block(
        ((sc.SERVICE_NAME, name), (sc.HOST_NAME, host_name()), (sc.OS_TYPE, "linux"), (sc.SERVICE_INSTANCE_ID, host_name()))
    )

    def metrics() -> tuple[Metric, ...]:
        own = confined.metrics(guard) if guard is not None else ()
        return (*insights.metrics(), *state.metrics(), *own)

    insights = Insights(resource, lambda record: hub.put([record]))
    state = ServiceState(directory, with_history=False)
    hub.samples.keep_in(Path(directory.path) / "rejected" if directory is not None else None)
    insights.reports.update(state.earlier)
    insights.on_report = state.keep_report
    token = token or state.token
    inbound = Inbound(chosen.insights, lambda told: insights.take(told, time.monotonic()))
    stop_on_signals(stop.set)
    await inbound.start()
    hub.start()
    admin = None
    if chosen.admin.port:
        desk = Desk(lambda: insights.reports)
        admin = Admin(chosen.admin.host, chosen.admin.port, lambda: "ready", metrics, lambda: _listed(insights), desk, token)
        await admin.start()
    log.info("insights: OTLP comes in at %s", ", ".join(f"{kind} port {port}" for kind, port in inbound.ports.items()))
    supervisor.say("READY=1")
    try:
        await _look_forever(insights, hub, state, resource, supervisor, stop, metrics, guard)
    finally:
        supervisor.say("STOPPING=1")
        await inbound.close()
        insights.look(float("inf"), time.time_ns())
        await hub.shutdown(chosen.shutdown_seconds)
        if admin is not None:
            await admin.close()
        await state.end(hub.unsent())
        if guard is not None:
            guard.report()
            guard.close()
    return 0


async def _look_forever(
    insights: Insights,
    hub: Hub,
    state: ServiceState,
    resource: Block,
    supervisor: Supervisor,
    stop: asyncio.Event,
    metrics: Callable[[], tuple[Metric, ...]],
    guard: Confinement | None,
) -> None:
    """Concludes once a second about what is due, and sends its own metrics, until `stop` is set."""
    began, next_metrics = time.time_ns(), time.monotonic()
    while not stop.is_set():
        insights.look(time.monotonic(), time.time_ns())
        state.tick(hub.unsent())
        if guard is not None:
            guard.report()
        supervisor.say("WATCHDOG=1", f"STATUS={len(insights.runs)} runs known, {len(insights.reports)} reports")
        if time.monotonic() >= next_metrics:
            next_metrics += hub.settings.metric_interval_seconds
            hub.put_metrics(MetricSnapshot(resource, began, time.time_ns(), (*metrics(), *hub.metrics())))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)


def _listed(insights: Insights) -> str:
    """The latest reports, one screen each."""
    return "\n".join(screen(report) for report in list(insights.reports.values())[-5:]) + "\n"
