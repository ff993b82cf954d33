"""`kwitness serve --mode insights`: OTLP from the gateway instead of kernel events. It needs no
privilege at all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from receiver import semconv as sc
from receiver.cli import confined
from receiver.cli.common import VERSION, stop_on_signals
from receiver.cli.preload import load_all
from receiver.export.hub import Hub
from receiver.export.settings import from_environment
from receiver.insights.inbound import Inbound
from receiver.insights.service import LOOKS, Insights
from receiver.kernel.clock import host_name
from receiver.kernel.descriptors import raise_limit
from receiver.kernel.privileges import drop_to
from receiver.render.terminal import screen
from receiver.service import config as configuration
from receiver.service.admin import Admin
from receiver.service.incident_api import IncidentApi
from receiver.service.state import ServiceState, open_directory_of_service, read_token
from receiver.service.supervisor import Supervisor
from receiver.signals import Block, Metric, MetricSnapshot, Point

log = logging.getLogger("kwitness")
LOOK_SECONDS = 1.0
LAST_SECONDS = 4.0  # of the shutdown: reserved for the exporters


async def serve(args: argparse.Namespace) -> int:
    """Runs until SIGTERM.

    If started as root, it first becomes another user and drops the privileges that it does not
    need.
    """
    raise_limit()
    chosen = configuration.load(Path(args.config) if args.config else None)
    token = read_token(Path(chosen.admin.token_file)) if chosen.admin.token_file else ""
    becomes = confined.becomes(chosen.privileges, chosen.state.directory)
    directory = open_directory_of_service(
        chosen.state.directory, {}, becomes.identity if becomes is not None else None
    )
    export = from_environment(os.environ)
    guard = confined.confinement(chosen.privileges, becomes)
    hub = Hub(export, VERSION)
    supervisor, stop = Supervisor(os.environ), asyncio.Event()
    if directory is not None:
        hub.samples.load()
    if becomes is not None:
        if os.geteuid() == 0:
            load_all()  # the user that the service becomes may not be able to read its modules
        drop_to(becomes.identity)
    if guard is not None:
        place = str(directory.path) if directory is not None else ""
        guard.service(confined.readable(chosen, export), confined.writable(place))
    name = export.service_name or "kwitness-insights"
    resource = Block(
        (
            (sc.SERVICE_NAME, name),
            (sc.HOST_NAME, host_name()),
            (sc.OS_TYPE, "linux"),
            (sc.SERVICE_INSTANCE_ID, host_name()),
        )
    )
    state = ServiceState(directory, with_history=False)
    insights = Insights(resource, lambda record: hub.put([record]), state.keep_report)
    if directory is not None:
        hub.samples.keep_in(directory.fd)
    for report in state.earlier.values():
        insights.keep(report)
    token = token or state.token
    inbound = Inbound(chosen.insights, lambda batch: insights.take_batch(batch, time.monotonic()))
    admin = None

    def metrics() -> tuple[Metric, ...]:
        own = confined.metrics(guard) if guard is not None else ()
        return (*_metrics(insights, inbound, admin), *state.metrics(), *own)

    if chosen.admin.port:
        admin = Admin(
            chosen.admin.host,
            chosen.admin.port,
            lambda: "ready",
            metrics,
            tree=lambda: _listed(insights),
            incidents=IncidentApi(lambda: insights.reports),
            token=token,
        )
    stop_on_signals(stop.set)
    await inbound.start()
    hub.start()
    if admin is not None:
        await admin.start()
    log.info(
        "insights: receiving OTLP at %s",
        ", ".join(f"{kind} port {port}" for kind, port in inbound.ports.items()),
    )
    supervisor.say("READY=1")

    def tick() -> None:
        state.tick(hub.unsent())
        if guard is not None:
            guard.report()

    try:
        await _look_forever(
            insights,
            hub,
            resource=resource,
            supervisor=supervisor,
            stop=stop,
            metrics=metrics,
            tick=tick,
        )
    finally:
        supervisor.say("STOPPING=1")
        end = time.monotonic() + chosen.shutdown_seconds
        await inbound.close()
        await _look(insights, float("inf"), lambda: time.monotonic() < end - LAST_SECONDS)
        await hub.shutdown(max(1.0, end - time.monotonic() - 1.0))
        if admin is not None:
            await admin.close()
        await state.end(hub.unsent())
        if guard is not None:
            guard.report()
            guard.close()
    return 0


def _metrics(insights: Insights, inbound: Inbound, admin: Admin | None) -> tuple[Metric, ...]:
    """All metrics, one of each name."""
    own = {m.name: m for m in insights.metrics()}
    requests = tuple(
        Point(((sc.PIPELINE_OBSERVER_LOSS_REASON, reason),), n)
        for reason, n in sorted(inbound.refused.items())
    )
    name = sc.METRIC_PIPELINE_INSIGHTS_REFUSED[0]
    own[name] = Metric(*sc.METRIC_PIPELINE_INSIGHTS_REFUSED, own[name].points + requests)
    closed = tuple(
        p
        for m in (*inbound.metrics(), *(admin.metrics() if admin is not None else ()))
        for p in m.points
    )
    return (*own.values(), Metric(*sc.METRIC_PIPELINE_OBSERVER_CONNECTIONS_CLOSED, closed))


async def _look(insights: Insights, now: float, go_on: Callable[[], bool]) -> None:
    """Evaluates all runs that are complete enough at `now`, and lets the event loop run after every
    LOOKS runs.
    """
    more = True
    while more:
        more = insights.evaluate_due(now, time.time_ns(), LOOKS) and go_on()
        await asyncio.sleep(0)


async def _look_forever(
    insights: Insights,
    hub: Hub,
    *,
    resource: Block,
    supervisor: Supervisor,
    stop: asyncio.Event,
    metrics: Callable[[], tuple[Metric, ...]],
    tick: Callable[[], None],
) -> None:
    """Evaluates due runs once a second, and emits the service's metrics, until `stop` is set."""
    began, next_metrics = time.time_ns(), time.monotonic()
    while not stop.is_set():
        await _look(insights, time.monotonic(), lambda: not stop.is_set())
        tick()
        supervisor.say(
            "WATCHDOG=1", f"STATUS={len(insights.runs)} runs known, {len(insights.reports)} reports"
        )
        if time.monotonic() >= next_metrics:
            next_metrics += hub.settings.metric_interval_seconds
            hub.put_metrics(
                MetricSnapshot(resource, began, time.time_ns(), (*metrics(), *hub.metrics()))
            )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)


def _listed(insights: Insights) -> str:
    """The latest reports, one screen each."""
    return "\n".join(screen(report) for report in list(insights.reports.values())[-5:]) + "\n"
