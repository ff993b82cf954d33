"""What each subcommand does. Every function returns an exit status; trouble leaves as a KwitnessError."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import msgspec

from receiver import config as configuration
from receiver.app import Observer
from receiver.attribution.context import remote_context
from receiver.core import Core, CoreOptions, Watch
from receiver.errors import DecodeError, KwitnessError, UsageError
from receiver.events import Event
from receiver.export.console import open_output
from receiver.export.hub import Hub
from receiver.export.settings import ExportSettings, asks_for_export, from_environment
from receiver.kernel.clock import boottime_ns
from receiver.kernel.decode import decode, split
from receiver.kernel.source import SourceConfig
from receiver.recording import FrameKind, Recording
from receiver.redact import Redactor
from receiver.session import Session, replay
from receiver.show import Views, as_json, event_line, summary
from receiver.timeline.executions import Execution

log = logging.getLogger("kwitness")
VERSION = version("kwitness")
FLUSH_SECONDS = 8.0
PROGRESS_SECONDS = 0.25


def core_options(export: ExportSettings, base: CoreOptions | None = None) -> CoreOptions:
    """What the standard variables say about resources, over what the file says."""
    base = base or CoreOptions()
    return msgspec.structs.replace(
        base,
        resource_attributes=export.resource_attributes or base.resource_attributes,
        service_name=export.service_name or base.service_name,
        value_length_limit=export.value_length_limit or base.value_length_limit,
    )


def make_hub(export: ExportSettings, json_lines: str | None) -> tuple[Hub | None, BinaryIO | None]:
    """Exporters for the one-shot commands: a file if asked for, OTLP if an endpoint is set."""
    output = open_output(json_lines) if json_lines else None
    otlp = asks_for_export(os.environ)
    if output is None and not otlp and not any("console" in names for names in export.exporters.values()):
        return None, None
    return Hub(export, VERSION, output, otlp=otlp), output


async def run(args: argparse.Namespace) -> int:
    """`kwitness run` and `kwitness record -- CMD`."""
    export = from_environment(os.environ)
    hub, output = make_hub(export, args.otlp_json)
    record_to = open_output(args.output) if getattr(args, "output", None) else None
    report = open_output(args.report) if getattr(args, "report", None) else None
    observer = Observer(SourceConfig(drain_interval_seconds=0.05), core_options(export), hub, record_to)
    views = Views()
    observer.core.on_end = views.ended
    observer.start()
    try:
        status, pid = await _run_child(observer, args.command, args.name)
    finally:
        observer.end()
        await observer.close(FLUSH_SECONDS)
        if output:
            output.close()
    execution = observer.core.watched(pid) if pid else None
    if execution is None:
        if pid:
            print("kwitness: the start of the command was not seen: its events were lost", file=sys.stderr)
        return status
    view = views.pop(execution)
    facts = json.dumps(as_json(execution, view, observer.core.losses))
    if report:
        with report:
            report.write(facts.encode() + b"\n")
    if args.json:
        print(facts)
    elif not args.quiet:
        print(summary(execution, view, observer.core.losses, colour=_colour(sys.stderr.isatty())), file=sys.stderr)
    return status


async def _run_child(observer: Observer, command: list[str], name: str | None) -> tuple[int, int]:
    """Runs the command under observation. Gives its exit status as a shell would, and its pid (0 if it never started)."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal sends it to the command too; we wait for its answer
    try:
        child = await asyncio.create_subprocess_exec(*command)
    except FileNotFoundError:
        print(f"kwitness: {command[0]}: command not found", file=sys.stderr)
        return 127, 0
    except PermissionError:
        print(f"kwitness: {command[0]}: permission denied", file=sys.stderr)
        return 126, 0
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _forward, child, number)
    context = remote_context(tuple(f"{k}={os.environ[k]}" for k in ("TRACEPARENT", "TRACESTATE") if k in os.environ))
    observer.session.watch(Watch(child.pid, os.getpid(), name or Path(command[0]).name, context), boottime_ns())
    pump = asyncio.create_task(observer.run())
    progress = asyncio.create_task(_progress(observer)) if sys.stderr.isatty() else None
    waiter = asyncio.create_task(child.wait())
    try:
        await asyncio.wait({pump, waiter}, return_when=asyncio.FIRST_COMPLETED)
        status = await waiter
    finally:
        if progress:
            progress.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await progress
        observer.stop.set()
    await pump
    return status if status >= 0 else 128 - status, child.pid


def _forward(child: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(number)


async def _progress(observer: Observer) -> None:
    """One line that is written over; gone before anything else is printed."""
    start = boottime_ns()
    try:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            open_now = list(observer.core.executions.open.values())
            live, found = sum(e.live for e in open_now), sum(len(e.findings) for e in open_now)
            seconds = (boottime_ns() - start) / 1e9
            sys.stderr.write(
                f"\r\x1b[Kkwitness  {seconds:6.1f} s  {live} processes  {observer.core.counts.total()} events  {found} findings"
            )
            sys.stderr.flush()
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


async def record(args: argparse.Namespace) -> int:
    """With a command as `run`; without one, until Ctrl-C or SIGTERM."""
    if args.command:
        return await run(args)
    record_to = open_output(args.output)
    observer = Observer(SourceConfig(), CoreOptions(), None, record_to)
    observer.start()
    _stop_on_signals(observer.stop.set)
    print("kwitness: recording; Ctrl-C ends it", file=sys.stderr)
    await observer.run()
    observer.end()
    await observer.close(0)
    print(f"kwitness: {observer.core.counts.total()} events in {args.output}", file=sys.stderr)
    return 0


async def replay_file(args: argparse.Namespace) -> int:
    """The same core over a recording: its findings, trees and signals."""
    recording = Recording(Path(args.file))
    if args.dump:
        return _dump(recording, args.json)
    export = from_environment(os.environ)
    core = Core(recording.header.host, core_options(export))
    hub, output = make_hub(export, args.otlp_json)
    views = Views()

    def show(execution: Execution) -> None:
        if args.json:
            print(json.dumps(as_json(execution, views.pop(execution), core.losses)))
        else:
            print(summary(execution, views.pop(execution), core.losses, colour=_colour(sys.stdout.isatty())))

    core.on_end, core.on_close = views.ended, show
    if hub:
        hub.start()
    replay(Session(core), recording, (lambda: hub.put(core.take())) if hub else None)
    if hub:
        await hub.shutdown(FLUSH_SECONDS)
    if output:
        output.close()
    if recording.truncated:
        print("kwitness: the recording was cut short; what it holds is shown", file=sys.stderr)
    if core.decode_errors:
        print(f"kwitness: {core.decode_errors.total()} records could not be read: {dict(core.decode_errors)}", file=sys.stderr)
    return 0


def _dump(recording: Recording, as_lines: bool) -> int:
    redactor, bad = Redactor(), 0
    for frame in recording:
        if frame.kind != FrameKind.BATCH:
            continue
        for raw in split(frame.payload):
            try:
                _print_event(decode(raw, redactor), recording.header.wall_offset_ns, as_lines)
            except DecodeError:
                bad += 1
    if bad:
        print(f"kwitness: {bad} records could not be read", file=sys.stderr)
    return 0


def _print_event(event: Event, wall_offset_ns: int, as_lines: bool) -> None:
    if as_lines:
        print(json.dumps({"kind": type(event).__name__, **msgspec.to_builtins(event)}))
        return
    at = datetime.fromtimestamp((event.time_boottime_ns + wall_offset_ns) / 1e9, UTC)
    print(event_line(event, at.strftime("%H:%M:%S.%f")))


async def events(args: argparse.Namespace) -> int:
    """Follows decoded events until Ctrl-C."""
    observer = Observer(SourceConfig(drain_interval_seconds=0.05), CoreOptions(), None)
    redactor = Redactor()

    def show(batch: list[bytes]) -> None:
        for raw in batch:
            with contextlib.suppress(DecodeError):  # counted by the core
                _print_event(decode(raw, redactor), observer.core.records.wall_offset_ns, args.json)
        sys.stdout.flush()

    observer.on_batch = show
    observer.start()
    _stop_on_signals(observer.stop.set)
    print("kwitness: following events; Ctrl-C ends it", file=sys.stderr)
    await observer.run()
    observer.end()
    await observer.close(0)
    return 0


async def serve(args: argparse.Namespace) -> int:
    """The service: attach, drop privileges, observe until SIGTERM, flush."""
    from receiver.admin import Admin
    from receiver.kernel.privileges import drop

    chosen = configuration.load(Path(args.config) if args.config else None)
    export = from_environment(os.environ)
    hub = Hub(export, VERSION)
    observer = Observer(chosen.kernel, core_options(export, chosen.core), hub)
    observer.start()
    if chosen.privileges.drop:
        drop(chosen.privileges.user)
    _stop_on_signals(observer.stop.set)
    admin = None
    if chosen.admin.port:
        admin = Admin(chosen.admin.host, chosen.admin.port, observer.ready, observer.metrics)
        await admin.start()
    log.info("attached to %d hooks; exporting to %s", sum(h.attached for h in observer.source.coverage()), _targets(hub, export))
    try:
        await observer.run()
    finally:
        observer.end()
        await observer.close(chosen.shutdown_seconds)
        if admin:
            await admin.close()
    failed = sum(p.failed.total() for p in hub.pipelines)
    log.info("stopped: %d items exported, %d not", sum(p.exported for p in hub.pipelines), failed)
    return 0


def _targets(hub: Hub, export: ExportSettings) -> str:
    names = sorted({export.otlp[p.signal].endpoint if p.kind.startswith("otlp_") else p.kind for p in hub.pipelines})
    return ", ".join(names) or "nowhere"


def check(args: argparse.Namespace) -> int:
    """0 ready, 1 degraded, 2 cannot run."""
    from receiver.kernel.probes import Probes

    try:
        probes = Probes(lifecycle_bytes=1 << 16, bulk_bytes=1 << 16)
        try:
            probes.attach()
            coverage = probes.coverage()
        finally:
            probes.close()
    except KwitnessError as error:
        print(json.dumps({"status": "cannot run", "why": str(error)}) if args.json else f"cannot run: {error}")
        return 2
    missing = [hook for hook in coverage if not hook.attached]
    if args.json:
        print(json.dumps({"status": "degraded" if missing else "ready", "hooks": msgspec.to_builtins(coverage)}))
    else:
        for hook in coverage:
            state = "attached" if hook.attached else f"MISSING ({hook.why})"
            print(f"  {hook.hook:<28} {state:<10} {hook.blind}")
        print(f"degraded: without {', '.join(h.hook for h in missing)}" if missing else "ready")
    return 1 if missing else 0


def _stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _colour(terminal: bool) -> bool:
    """https://no-color.org"""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def need_command(command: list[str]) -> list[str]:
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise UsageError("no command given: kwitness run -- CMD …")
    return command
