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
from typing import NamedTuple

from receiver import semconv as sc
from receiver.cli.common import stop_on_signals
from receiver.cli.startup import prepare
from receiver.export.hub import Hub
from receiver.insights.inbound import Inbound
from receiver.insights.service import LOOKS, Insights
from receiver.kernel.clock import host_name
from receiver.render.terminal import screen
from receiver.service import config as configuration
from receiver.service.admin import Admin
from receiver.service.incident_api import IncidentApi
from receiver.service.state import ServiceState
from receiver.service.supervisor import Supervisor
from receiver.signals import Metric, MetricSnapshot, Point, ResourceAttributes

log = logging.getLogger("kwitness")
LOOK_SECONDS = 1.0
LAST_SECONDS = 4.0  # of the shutdown: reserved for the exporters


class Duties(NamedTuple):
    """What the service does once a second, beside its evaluations."""

    resource: ResourceAttributes
    supervisor: Supervisor
    metrics: Callable[[], tuple[Metric, ...]]
    tick: Callable[[], None]


async def serve(args: argparse.Namespace) -> int:
    """Runs until SIGTERM.

    If started as root, it first becomes another user and drops the privileges that it does not
    need.
    """
    startup = prepare(args, {})
    chosen, hub = startup.chosen, startup.hub
    supervisor, stop = Supervisor(os.environ), asyncio.Event()
    startup.confine()
    resource = _resource(startup.export.service_name or "kwitness-insights")
    state = ServiceState(startup.directory, with_history=False)
    insights = Insights(resource, lambda record: hub.put([record]), state.keep_report)
    for report in state.earlier.values():
        insights.keep(report)
    inbound = Inbound(chosen.insights, lambda batch: insights.take_batch(batch, time.monotonic()))
    admin = None

    def metrics() -> tuple[Metric, ...]:
        return (*_metrics(insights, inbound, admin), *state.metrics(), *startup.metrics())

    if chosen.admin.port:
        admin = _admin(chosen.admin, insights, metrics, startup.token or state.token)
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
        startup.report()

    duties = Duties(resource, supervisor, metrics, tick)
    try:
        await _look_forever(insights, hub, duties, stop)
    finally:
        supervisor.say("STOPPING=1")
        await _end(insights, inbound, hub, chosen.shutdown_seconds)
        if admin is not None:
            await admin.close()
        await state.end(hub.unsent())
        startup.release()
    return 0


def _resource(name: str) -> ResourceAttributes:
    return ResourceAttributes(
        (
            (sc.SERVICE_NAME, name),
            (sc.HOST_NAME, host_name()),
            (sc.OS_TYPE, "linux"),
            (sc.SERVICE_INSTANCE_ID, host_name()),
        )
    )


def _admin(
    settings: configuration.AdminConfig,
    insights: Insights,
    metrics: Callable[[], tuple[Metric, ...]],
    token: str,
) -> Admin:
    return Admin(
        settings.host,
        settings.port,
        lambda: "ready",
        metrics,
        tree=lambda: _listed(insights),
        incidents=IncidentApi(lambda: insights.reports),
        token=token,
    )


async def _end(insights: Insights, inbound: Inbound, hub: Hub, seconds: float) -> None:
    """Takes no more uploads, investigates what is there as far as the time allows, and exports
    it."""
    end = time.monotonic() + seconds
    await inbound.close()
    await _look(insights, float("inf"), lambda: time.monotonic() < end - LAST_SECONDS)
    await hub.shutdown(max(1.0, end - time.monotonic() - 1.0))


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


async def _look_forever(insights: Insights, hub: Hub, duties: Duties, stop: asyncio.Event) -> None:
    """Evaluates due runs once a second, and emits the service's metrics, until `stop` is set."""
    began, next_metrics = time.time_ns(), time.monotonic()
    while not stop.is_set():
        await _look(insights, time.monotonic(), lambda: not stop.is_set())
        duties.tick()
        duties.supervisor.say(
            "WATCHDOG=1", f"STATUS={len(insights.runs)} runs known, {len(insights.reports)} reports"
        )
        if time.monotonic() >= next_metrics:
            next_metrics += hub.settings.metric_interval_seconds
            hub.put_metrics(
                MetricSnapshot(
                    duties.resource, began, time.time_ns(), (*duties.metrics(), *hub.metrics())
                )
            )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)


def _listed(insights: Insights) -> str:
    """The latest reports, one screen each."""
    return "\n".join(screen(report) for report in list(insights.reports.values())[-5:]) + "\n"
