"""`kwitness serve` and `kwitness check`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from receiver.cli import confined
from receiver.cli.common import VERSION, core_options, stop_on_signals
from receiver.cli.explain import explain
from receiver.cli.preload import load_all
from receiver.errors import KwitnessError
from receiver.export.hub import Hub
from receiver.export.settings import from_environment
from receiver.investigate.report import Report
from receiver.kernel.clock import boottime_ns
from receiver.kernel.confinement import survey
from receiver.kernel.descriptors import raise_limit
from receiver.kernel.remedies import remedy, surroundings
from receiver.observe.listeners import Listener
from receiver.render.live import live_tree
from receiver.service import config as configuration
from receiver.service.app import Observer
from receiver.service.incident_api import LiveIncidentApi
from receiver.service.state import (
    ServiceState,
    open_directory_of_service,
    read_token,
    state_path,
)
from receiver.service.supervisor import Supervisor
from receiver.service.symbols import available
from receiver.text.printable import printable

if TYPE_CHECKING:
    from receiver.service.admin import Admin

log = logging.getLogger("kwitness")


async def serve(args: argparse.Namespace) -> int:
    """Runs the service: attach, drop privileges, observe until SIGTERM, flush."""
    from receiver.kernel.privileges import drop_to
    from receiver.service.admin import (
        Admin,
    )  # before the drop: the user that the service becomes may not be able to read its modules

    raise_limit()
    chosen = configuration.load(Path(args.config) if args.config else None)
    export = from_environment(os.environ)
    hub = Hub(export, VERSION)
    place = state_path(chosen.state.directory, os.environ)
    becomes = confined.becomes(chosen.privileges, place)
    # a second service exits here
    directory = open_directory_of_service(
        chosen.state.directory, os.environ, becomes.identity if becomes is not None else None
    )
    guard = confined.confinement(chosen.privileges, becomes)
    observer = Observer(
        chosen.kernel,
        core_options(export, chosen.core),
        hub,
        drops=chosen.privileges.drop,
        helper=chosen.privileges.helper == "always",
        confinement=guard,
        rules=chosen.rule,
    )
    supervisor = Supervisor(os.environ)
    token = read_token(Path(chosen.admin.token_file)) if chosen.admin.token_file else ""
    observer.start()
    if directory is not None:
        hub.samples.load()
    if becomes is not None:
        if os.geteuid() == 0:
            load_all()
        drop_to(becomes.identity)
    if guard is not None:
        place = str(directory.path) if directory is not None else ""
        guard.service(
            confined.readable(chosen, export),
            confined.writable(place),
            attaches=observer.attaches_itself,
        )
        observer.own_metrics.append(partial(confined.metrics, guard))
    state = ServiceState(directory)
    _remember(observer, state)
    if directory is not None:
        hub.samples.keep_in(directory.fd)
    stop_on_signals(observer.stop.set)
    admin = _admin(Admin, chosen, observer, state, token)
    if admin is not None:
        await admin.start()
        observer.own_metrics.append(admin.metrics)
    log.info(
        "attached to %d hooks; exporting to %s",
        sum(h.attached for h in observer.source.coverage()),
        ", ".join(sorted(hub.targets)) or "nowhere",
    )

    def tick() -> None:
        state.tick(hub.unsent())
        if guard is not None:
            guard.report()
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
        if guard is not None:
            guard.report()
            guard.close()
    failed = sum(p.failed.total() for p in hub.pipelines)
    log.info("stopped: %d items exported, %d not", sum(p.exported for p in hub.pipelines), failed)
    return 0


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

    def report(self, number: str, report: Report) -> None:
        report = self._observer.name_functions(number, report)
        owner = self._observer.core.incidents.owners.get(number, -1)
        self._state.keep_report(number, report, owner)


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


def check(args: argparse.Namespace) -> int:
    """0 ready, 1 degraded, 2 cannot run."""
    if args.explain:
        return explain(args)
    if args.ready:
        return ready(args)
    from receiver.attribution.declared import DECLARED
    from receiver.kernel.hooks import BLIND_SPOTS
    from receiver.kernel.probes import Probes

    chosen = configuration.load(Path(args.config) if args.config else None)
    place = state_path(chosen.state.directory, os.environ)
    confinement = survey(chosen.privileges.user, chosen.privileges.helper_user, place)
    try:
        probes = Probes(lifecycle_bytes=1 << 16, bulk_bytes=1 << 16, capture=DECLARED.capture)
        try:
            probes.attach()
            with contextlib.suppress(
                OSError
            ):  # as for a task: a refused hook appears in the coverage
                probes.attach_calls()
            coverage, libbpf = probes.coverage(), probes.library.version
        finally:
            probes.close()
    except KwitnessError as error:
        advice = remedy(error.topic, surroundings())
        if args.json:
            print(json.dumps({"status": "cannot run", "why": str(error), "remedy": advice}))
        else:
            print(f"cannot run: {error}" + (f"\n  here: {advice}" if advice else ""))
        return 2
    missing = [hook for hook in coverage if not hook.attached]
    if args.json:
        print(
            json.dumps(
                {
                    "status": "degraded" if missing else "ready",
                    "hooks": msgspec.to_builtins(coverage),
                    "blind_spots": BLIND_SPOTS,
                    "confinement": msgspec.to_builtins(confinement),
                    "libbpf": libbpf,
                }
            )
        )
    else:
        for hook in coverage:
            state = "attached" if hook.attached else f"MISSING ({hook.why})"
            print(f"  {hook.hook:<28} {state:<10} {hook.blind}")
        print(f"  library: {libbpf}")
        print(
            "  names of functions in crashes: "
            + (
                "by bcc"
                if available()
                else "not available, only file and offset; install python3-bpfcc"
            )
        )
        for line in confined.lines(confinement):
            print(f"  {line}")
        for what in BLIND_SPOTS:
            print(f"  not visible anywhere: {what}")
        print(f"degraded: without {', '.join(h.hook for h in missing)}" if missing else "ready")
    return 1 if missing else 0


def ready(args: argparse.Namespace) -> int:
    """Prints the answer of /readyz: 0 ready, 1 not ready or no answer. For health checks and
    probes.
    """
    chosen = configuration.load(Path(args.config) if args.config else None)
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{chosen.admin.port}/readyz", timeout=3
        ) as answer:
            said, status = answer.read(100).decode("utf-8", "replace"), 0
    except urllib.error.HTTPError as error:
        with error:
            said, status = error.read(100).decode("utf-8", "replace"), 1
    except OSError as error:
        said, status = f"no service answers on port {chosen.admin.port}: {error}", 1
    print(printable(said.strip()))
    return status
