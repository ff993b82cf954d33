"""`kwitness serve`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from typing import TYPE_CHECKING

from receiver.cli.common import core_options, stop_on_signals
from receiver.cli.startup import Startup, prepare
from receiver.investigate.report import Report
from receiver.kernel.clock import boottime_ns
from receiver.observe.listeners import Listener
from receiver.render.live import live_tree
from receiver.service import config as configuration
from receiver.service.app import Observer
from receiver.service.incident_api import LiveIncidentApi
from receiver.service.state import (
    ServiceState,
)
from receiver.service.supervisor import Supervisor

if TYPE_CHECKING:
    from receiver.service.admin import Admin

log = logging.getLogger("kwitness")


async def serve(args: argparse.Namespace) -> int:
    """Runs the service: attach, drop privileges, observe until SIGTERM, flush."""
    # before the drop: the user that the service becomes may not be able to read its modules
    from receiver.service.admin import Admin

    startup = prepare(args, os.environ)
    chosen, hub = startup.chosen, startup.hub
    observer = _observer(startup)
    supervisor = Supervisor(os.environ)
    observer.start()
    startup.confine(attaches=observer.attaches_itself)
    observer.own_metrics.append(startup.metrics)
    state = ServiceState(startup.directory)
    _remember(observer, state)
    stop_on_signals(observer.stop.set)
    admin = _admin(Admin, chosen, observer, state, startup.token)
    if admin is not None:
        await admin.start()
        observer.own_metrics.append(admin.metrics)
    hooks, targets = observer.source.coverage(), ", ".join(sorted(hub.targets))
    log.info(
        "attached to %d hooks; exporting to %s",
        sum(h.attached for h in hooks),
        targets or "nowhere",
    )

    def tick() -> None:
        state.tick(hub.unsent())
        startup.report()
        if (seen := observer.ready()) == "ready":
            supervisor.say("WATCHDOG=1")  # a service that receives no events should be restarted
        supervisor.say(f"STATUS={seen}; {len(observer.core.executions.open)} open executions")

    observer.each_tick.append(tick)
    supervisor.say("READY=1")
    try:
        await observer.run()
    finally:
        supervisor.say("STOPPING=1")
        observer.end()
        await asyncio.gather(observer.close(chosen.shutdown_seconds), state.save_last())
        if admin is not None:
            await admin.close()
        await state.end(hub.unsent())
        startup.release()
    failed = sum(p.failed.total() for p in hub.pipelines)
    log.info("stopped: %d items exported, %d not", sum(p.exported for p in hub.pipelines), failed)
    return 0


def _observer(startup: Startup) -> Observer:
    chosen = startup.chosen
    return Observer(
        chosen.kernel,
        core_options(startup.export, chosen.core),
        startup.hub,
        drops=chosen.privileges.drop,
        helper=chosen.privileges.helper == "always",
        confinement=startup.guard,
        rules=chosen.rule,
    )


def _remember(observer: Observer, state: ServiceState) -> None:
    """The history for the investigator, stored in the state directory if there is one."""
    observer.session.history(state.history, boottime_ns())
    observer.own_metrics.append(state.metrics)
    if state.gap is not None:
        observer.session.resumed(state.gap, boottime_ns())
    observer.core.listeners.add(_KeptReports(observer, state))
    state.start()


class _KeptReports(Listener):
    """Adds the names of functions to each report, and stores it."""

    def __init__(self, observer: Observer, state: ServiceState) -> None:
        self._observer, self._state = observer, state

    def report(self, incident_id: str, report: Report) -> None:
        report = self._observer.name_functions(incident_id, report)
        owner = self._observer.core.incidents.owners.get(incident_id, -1)
        self._state.keep_report(incident_id, report, owner)


def _admin(
    kind: type[Admin],
    chosen: configuration.ServeConfig,
    observer: Observer,
    state: ServiceState,
    token: str,
) -> Admin | None:
    """The admin endpoint, unless it is disabled."""
    if not chosen.admin.port:
        return None

    def tree() -> str:
        return live_tree(observer.core.executions.open.values(), boottime_ns())

    return kind(
        chosen.admin.host,
        chosen.admin.port,
        observer.ready,
        observer.metrics,
        tree=tree,
        incidents=LiveIncidentApi(observer.session, boottime_ns, state.earlier),
        token=token or state.token,
    )
