"""`kwitness run`, `record` and `events`: watching from the foreground."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import msgspec

from receiver import config as configuration
from receiver.app import Observer
from receiver.attribution.context import remote_context
from receiver.commands.common import FLUSH_SECONDS, colour_wanted, core_options, make_hub, print_event, stop_on_signals
from receiver.errors import DecodeError, OutputError
from receiver.export.settings import from_environment
from receiver.investigate.compose import report_id
from receiver.investigate.report import to_json
from receiver.kernel.clock import boottime_ns
from receiver.kernel.decode import decode
from receiver.kernel.source import SourceConfig
from receiver.model import CoreOptions, Watch
from receiver.recording import HOST_CONTENTS
from receiver.redact import Redactor
from receiver.safe_files import close_output, open_output, write_output
from receiver.show import Timeline, Views, as_json, moment, screen, summary
from receiver.state import HistoryKeeper, Worker
from receiver.symbols import named
from receiver.timeline.executions import Execution

PROGRESS_SECONDS = 0.25
HISTORY_SECONDS = 1.0, 4.0  # a history that is busy is waited for so long before and after the conclusions


async def run(args: argparse.Namespace) -> int:
    """`kwitness run` and `kwitness record -- CMD`."""
    export = from_environment(os.environ)
    hub, output = make_hub(export, args.otlp_json)
    record_to = open_output(args.output) if getattr(args, "output", None) else None
    written = {name: path for name in ("report", "facts") if (path := getattr(args, name, None))}
    chosen = configuration.load(Path(args.config) if args.config else None)
    config = msgspec.structs.replace(chosen.kernel, drain_interval_seconds=0.05, source=args.source)
    options = msgspec.structs.replace(core_options(export, chosen.core), only_commands=True)
    observer = Observer(config, options, hub, record_to, rules=chosen.rule, record_host=getattr(args, "whole_host", False))
    views = Views()
    observer.core.on_end, observer.core.attempts.on_close = views.ended, views.closed
    if args.live or (sys.stderr.isatty() and not args.quiet):
        _say_live(observer, views)
    timeline = Timeline(observer.core.tree) if getattr(args, "timeline", False) else None
    if timeline:
        observer.core.on_event = timeline.note
    observer.start()
    blind = observer.blind()
    observer.core.blind = tuple(blind)
    keeper = HistoryKeeper(Path(args.history), Worker()) if args.history else None
    if keeper is not None:
        keeper.start()  # beside the command: nothing waits for it
        observer.core.history = keeper.history
    try:
        status, pid = await _run_child(observer, args.command, args.name)
    finally:
        if keeper is not None:
            await keeper.settled(HISTORY_SECONDS[0])
        observer.end()
        await observer.close(FLUSH_SECONDS)
        if output:
            try:
                close_output(output)
            except OutputError as error:
                print(f"kwitness: {error}", file=sys.stderr)
    if keeper is not None:
        await keeper.close(HISTORY_SECONDS[1])
    execution = observer.core.watched(pid) if pid else None
    if execution is None:
        if pid:
            print("kwitness: the start of the command was not seen: its events were lost", file=sys.stderr)
        return status
    view = views.pop(execution)
    facts = json.dumps(as_json(execution, view, observer.core.losses, blind))
    why = named(observer.core.incidents.reports[report_id(execution)])
    for name, text in (("report", to_json(why)), ("facts", facts.encode())):
        if name in written:
            try:
                write_output(written[name], text + b"\n")
            except OutputError as error:
                print(f"kwitness: {error}", file=sys.stderr)
    if timeline:
        print(timeline.text(execution), file=sys.stderr)
    if args.json:
        print(facts)
    elif not args.quiet:
        colour = colour_wanted(sys.stderr.isatty())
        print(summary(execution, view, observer.core.losses, blind, colour=colour), file=sys.stderr)
        print(screen(why, colour=colour), file=sys.stderr)
    return status


def _say_live(observer: Observer, views: Views) -> None:
    """A line for each piece of work as it begins and as it ends."""
    since = boottime_ns()
    wipe = "\r\x1b[K" if sys.stderr.isatty() else ""

    def begins(execution: Execution) -> None:
        print(wipe + moment(execution, "begins", since), file=sys.stderr, flush=True)

    def ends(execution: Execution) -> None:
        views.closed(execution)
        print(wipe + moment(execution, "ends", since), file=sys.stderr, flush=True)

    observer.core.attempts.on_open, observer.core.attempts.on_close = begins, ends


async def _run_child(observer: Observer, command: list[str], name: str | None) -> tuple[int, int]:
    """Runs the command under observation. Gives its exit status as a shell would, and its pid (0 if it never started)."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal sends it to the command too; we wait for its answer
    try:
        # what a watched process forks is watched from its first call on; we are, for as long as it takes to fork
        with observer.source.watching_self():
            child = await asyncio.create_subprocess_exec(*command)
    except FileNotFoundError:
        print(f"kwitness: {command[0]}: command not found", file=sys.stderr)
        return 127, 0
    except PermissionError:
        print(f"kwitness: {command[0]}: permission denied", file=sys.stderr)
        return 126, 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _forward, child, number)
    context = remote_context(tuple(f"{k}={os.environ[k]}" for k in ("TRACEPARENT", "TRACESTATE") if k in os.environ))
    observer.session.watch(Watch(child.pid, observer.source.own_tgid, name or Path(command[0]).name, context), boottime_ns())
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
    recorder = observer.recorder
    observer.on_tick = lambda: observer.stop.set() if recorder is not None and recorder.failure else None
    await _until_stopped(observer, f"recording {HOST_CONTENTS}")
    if recorder is not None and recorder.failure:
        raise OutputError(f"the recording {args.output} is cut short: {recorder.failure}")
    print(f"kwitness: {observer.core.counts.total()} events in {args.output}", file=sys.stderr)
    return 0


async def events(args: argparse.Namespace) -> int:
    """Follows decoded events until Ctrl-C."""
    observer = Observer(SourceConfig(drain_interval_seconds=0.05), CoreOptions(), None)
    redactor = Redactor()

    def show(batch: list[bytes]) -> None:
        for raw in batch:
            with contextlib.suppress(DecodeError):  # counted by the core
                print_event(decode(raw, redactor), observer.core.blocks.wall_offset_ns, args.json)
        sys.stdout.flush()

    observer.on_batch = show
    await _until_stopped(observer, "following events")
    return 0


async def _until_stopped(observer: Observer, what: str) -> None:
    """Observes until Ctrl-C or SIGTERM."""
    observer.start()
    stop_on_signals(observer.stop.set)
    print(f"kwitness: {what}; Ctrl-C ends it", file=sys.stderr)
    await observer.run()
    observer.end()
    await observer.close(0)
