"""`kwitness serve` and `kwitness check`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import pwd
from pathlib import Path

import msgspec

from receiver import config as configuration
from receiver.app import Observer
from receiver.commands.common import VERSION, core_options, stop_on_signals
from receiver.commands.explain import explain
from receiver.desk import DeskOfCore
from receiver.errors import ConfigError, KwitnessError
from receiver.export.hub import Hub
from receiver.export.settings import ExportSettings, from_environment
from receiver.investigate.history import History
from receiver.investigate.report import Report
from receiver.kernel.clock import boottime_ns
from receiver.show import live_tree
from receiver.state import State, read_token
from receiver.symbols import available, named

log = logging.getLogger("kwitness")


async def serve(args: argparse.Namespace) -> int:
    """The service: attach, drop privileges, observe until SIGTERM, flush."""
    from receiver.admin import Admin
    from receiver.kernel.privileges import drop

    chosen = configuration.load(Path(args.config) if args.config else None)
    export = from_environment(os.environ)
    hub = Hub(export, VERSION)
    observer = Observer(chosen.kernel, core_options(export, chosen.core), hub, drops=chosen.privileges.drop, rules=chosen.rule)
    state = _open_state(chosen)
    token = read_token(Path(chosen.admin.token_file)) if chosen.admin.token_file else state.token if state is not None else ""
    observer.core.history = state.history.load() if state is not None else History()
    observer.core.blind = tuple(observer.blind())

    def keep(number: str, report: Report) -> None:
        report = observer.core.incidents.reports[number] = named(report)
        if state is not None:
            state.reports.save(number, report)

    observer.core.incidents.on_report = keep
    observer.start()
    if chosen.privileges.drop:
        drop(chosen.privileges.user)
    stop_on_signals(observer.stop.set)

    def tree() -> str:
        return live_tree(observer.core.executions.open.values(), boottime_ns())

    admin = None
    if chosen.admin.port:
        desk = DeskOfCore(observer.core, boottime_ns, state.reports.load() if state is not None else None)
        admin = Admin(chosen.admin.host, chosen.admin.port, observer.ready, observer.metrics, tree, desk, token)
        await admin.start()
    log.info("attached to %d hooks; exporting to %s", sum(h.attached for h in observer.source.coverage()), _targets(hub, export))
    if state is not None:
        observer.on_tick = lambda: state.history.save(observer.core.history.take())  # type: ignore[union-attr]
    try:
        await observer.run()
    finally:
        observer.end()
        if state is not None:
            state.history.save(observer.core.history.take())
            state.close()
        await observer.close(chosen.shutdown_seconds)
        if admin:
            await admin.close()
    failed = sum(p.failed.total() for p in hub.pipelines)
    log.info("stopped: %d items exported, %d not", sum(p.exported for p in hub.pipelines), failed)
    return 0


def _open_state(chosen: configuration.ServeConfig) -> State | None:
    """Opened before privileges go, and handed over to who we become. systemd names a directory in STATE_DIRECTORY."""
    place = chosen.state.directory or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not place:
        return None
    state = State(Path(place))
    if chosen.privileges.drop and os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(chosen.privileges.user)
        except KeyError:
            raise ConfigError(f"privileges.user: there is no user {chosen.privileges.user!r} here") from None
        state.hand_over(entry.pw_uid, entry.pw_gid)
    return state


def _targets(hub: Hub, export: ExportSettings) -> str:
    names = sorted({export.otlp[p.signal].endpoint if p.kind.startswith("otlp_") else p.kind for p in hub.pipelines})
    return ", ".join(names) or "nowhere"


def check(args: argparse.Namespace) -> int:
    """0 ready, 1 degraded, 2 cannot run."""
    if args.explain:
        return explain(args)
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
        print(json.dumps({"status": "cannot run", "why": str(error)}) if args.json else f"cannot run: {error}")
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
