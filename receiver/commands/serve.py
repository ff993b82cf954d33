"""`kwitness serve` and `kwitness check`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import pwd
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from receiver import config as configuration
from receiver.app import Observer
from receiver.commands.common import VERSION, core_options, stop_on_signals
from receiver.commands.explain import explain
from receiver.commands.preload import load_all
from receiver.desk import DeskOfCore
from receiver.errors import ConfigError, KwitnessError
from receiver.export.hub import Hub
from receiver.export.settings import ExportSettings, from_environment
from receiver.investigate.history import History
from receiver.investigate.report import Report
from receiver.kernel.clock import boottime_ns
from receiver.kernel.descriptors import raise_limit
from receiver.kernel.remedies import remedy, surroundings
from receiver.show import live_tree
from receiver.state import State, hand_over, read_token
from receiver.supervisor import Supervisor
from receiver.symbols import available, named
from receiver.text import printable

if TYPE_CHECKING:
    from receiver.admin import Admin

log = logging.getLogger("kwitness")


async def serve(args: argparse.Namespace) -> int:
    """The service: attach, drop privileges, observe until SIGTERM, flush."""
    from receiver.admin import Admin  # all of it before the drop: who we become may not be able to read our own modules
    from receiver.kernel.privileges import drop

    raise_limit()
    chosen = configuration.load(Path(args.config) if args.config else None)
    export = from_environment(os.environ)
    hub = Hub(export, VERSION)
    observer = Observer(chosen.kernel, core_options(export, chosen.core), hub, drops=chosen.privileges.drop, rules=chosen.rule)
    supervisor = Supervisor(os.environ)
    token = read_token(Path(chosen.admin.token_file)) if chosen.admin.token_file else ""
    place = _state_folder(chosen)
    observer.start()
    if chosen.privileges.drop:
        if os.geteuid() == 0:
            load_all()
        drop(chosen.privileges.user)
    memory = _Memory(observer, State(place) if place is not None else None)
    stop_on_signals(observer.stop.set)
    admin = _admin(Admin, chosen, observer, memory.state, token)
    if admin is not None:
        await admin.start()
        observer.own_metrics.append(admin.metrics)
    log.info("attached to %d hooks; exporting to %s", sum(h.attached for h in observer.source.coverage()), _targets(hub, export))

    def tick() -> None:
        memory.save()
        if (seen := observer.ready()) == "ready":
            supervisor.say("WATCHDOG=1")  # a service that is alive and sees nothing is one to restart
        supervisor.say(f"STATUS={seen}; {len(observer.core.executions.open)} executions in work")

    observer.on_tick = tick
    supervisor.say("READY=1")
    try:
        await observer.run()
    finally:
        supervisor.say("STOPPING=1")
        observer.end()
        memory.close()
        await observer.close(chosen.shutdown_seconds)
        if admin is not None:
            await admin.close()
    failed = sum(p.failed.total() for p in hub.pipelines)
    log.info("stopped: %d items exported, %d not", sum(p.exported for p in hub.pipelines), failed)
    return 0


class _Memory:
    """What the investigator knows of earlier runs, and what outlives us when there is a state directory."""

    def __init__(self, observer: Observer, state: State | None) -> None:
        self.state = state
        self._core = observer.core
        self._history = self._core.history = state.history.load() if state is not None else History()
        self._core.blind = tuple(observer.blind())
        self._core.incidents.on_report = self._keep

    def _keep(self, number: str, report: Report) -> None:
        report = self._core.incidents.reports[number] = named(report)
        if self.state is not None:
            self.state.reports.save(number, report)

    def save(self) -> None:
        if self.state is not None:
            self.state.history.save(self._history.take())

    def close(self) -> None:
        self.save()
        if self.state is not None:
            self.state.close()


def _admin(
    kind: type[Admin], chosen: configuration.ServeConfig, observer: Observer, state: State | None, token: str
) -> Admin | None:
    """The endpoint, unless it is switched off."""
    if not chosen.admin.port:
        return None

    def tree() -> str:
        return live_tree(observer.core.executions.open.values(), boottime_ns())

    desk = DeskOfCore(observer.core, boottime_ns, state.reports.load() if state is not None else None)
    token = token or (state.token if state is not None else "")
    return kind(chosen.admin.host, chosen.admin.port, observer.ready, observer.metrics, tree, desk, token)


def _state_folder(chosen: configuration.ServeConfig) -> Path | None:
    """Handed over to who we become, before privileges go; a container's volume is that user's already, and there is no
    CAP_CHOWN for more. systemd names a directory in STATE_DIRECTORY."""
    place = chosen.state.directory or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not place:
        return None
    if chosen.privileges.drop and os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(chosen.privileges.user)
        except KeyError:
            raise ConfigError(f"privileges.user: there is no user {chosen.privileges.user!r} here") from None
        hand_over(Path(place), entry.pw_uid, entry.pw_gid)
    return Path(place)


def _targets(hub: Hub, export: ExportSettings) -> str:
    names = sorted({export.otlp[p.signal].endpoint if p.kind.startswith("otlp_") else p.kind for p in hub.pipelines})
    return ", ".join(names) or "nowhere"


def check(args: argparse.Namespace) -> int:
    """0 ready, 1 degraded, 2 cannot run."""
    if args.explain:
        return explain(args)
    if args.ready:
        return ready(args)
    from receiver.kernel.probes import BLIND_SPOTS, Probes

    try:
        probes = Probes(lifecycle_bytes=1 << 16, bulk_bytes=1 << 16)
        try:
            probes.attach()
            probes.attach_calls()  # as for a task: what is refused should show here
            coverage = probes.coverage()
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
                {"status": "degraded" if missing else "ready", "hooks": msgspec.to_builtins(coverage), "blind_spots": BLIND_SPOTS}
            )
        )
    else:
        for hook in coverage:
            state = "attached" if hook.attached else f"MISSING ({hook.why})"
            print(f"  {hook.hook:<28} {state:<10} {hook.blind}")
        print(
            "  names of functions in crashes: "
            + ("by bcc" if available() else "not here (apt install python3-bpfcc): file and offset only")
        )
        for what in BLIND_SPOTS:
            print(f"  not visible anywhere: {what}")
        print(f"degraded: without {', '.join(h.hook for h in missing)}" if missing else "ready")
    return 1 if missing else 0


def ready(args: argparse.Namespace) -> int:
    """What /readyz of the service here says: 0 it sees, 1 it does not, or nobody answers. For health checks and exec probes."""
    chosen = configuration.load(Path(args.config) if args.config else None)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{chosen.admin.port}/readyz", timeout=3) as answer:
            said, status = answer.read(100).decode("utf-8", "replace"), 0
    except urllib.error.HTTPError as error:
        with error:
            said, status = error.read(100).decode("utf-8", "replace"), 1
    except OSError as error:
        said, status = f"no service answers on port {chosen.admin.port}: {error}", 1
    print(printable(said.strip()))
    return status
