"""`kwitness replay`: the same core over a recording."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from receiver.cli.common import (
    FLUSH_SECONDS,
    colour_wanted,
    core_options,
    fitted,
    make_hub,
    print_event,
    width_of,
)
from receiver.cli.listeners import Trees
from receiver.errors import DecodeError, OutputError
from receiver.export.options import ExportSettings
from receiver.export.settings import from_environment
from receiver.investigate.report import to_json
from receiver.kernel.decode import decode, split
from receiver.observe.core import Core
from receiver.observe.recording import FrameKind, Header, Recording, Settings
from receiver.observe.replay import core_of, steps
from receiver.observe.session import Session
from receiver.render.rows import RunView
from receiver.render.run_json import as_json
from receiver.safe.outputs import check_distinct, close_output, write_output
from receiver.service import config as configuration
from receiver.service.state import HistoryKeeper, WriterThread
from receiver.signals import LogRecord, MetricSnapshot, Span
from receiver.text.printable import printable
from receiver.text.redact import Redactor
from receiver.work.execution import Execution

if TYPE_CHECKING:
    from receiver.export.hub import Hub

# how long to wait for a busy history, before and after the evaluation
HISTORY_SECONDS = (1.0, 4.0)
WAIT_SECONDS = 0.01


async def replay_file(args: argparse.Namespace) -> int:
    """Runs the same core over a recording, and prints findings, trees and signals."""
    if args.dump:
        with contextlib.closing(Recording(Path(args.file))) as recording:
            _say_contents(args.file, recording)
            return _dump(recording, args.json)
    named = {
        "--history": args.history,
        "--otlp-json": args.otlp_json,
        "--report": args.report,
        "--page": args.page,
    }
    check_distinct({"the recording": args.file, **named})
    export = from_environment(os.environ)  # before a file is open: it may be refused
    with contextlib.closing(Recording(Path(args.file))) as recording:
        _say_contents(args.file, recording)
        hub, output = make_hub(export, args.otlp_json)
        try:
            status = await _replay(args, export, recording, hub)
        finally:
            if output:
                close_output(output)
    if hub and output and (lost := sum(p.failed["file"] for p in hub.pipelines)):
        raise OutputError(f"{args.otlp_json} is not complete: {lost} items could not be written")
    return status


def _say_contents(file: str, recording: Recording) -> None:
    """Prints for the user whose data the file contains. Programs read the header."""
    if sys.stderr.isatty():
        line = f"kwitness: {printable(file)} holds {recording.header.contents}"
        print(fitted(line, sys.stderr), file=sys.stderr)


async def _replay(
    args: argparse.Namespace, export: ExportSettings, recording: Recording, hub: Hub | None
) -> int:
    core = core_of(recording.header, settings_of(args.file, recording.header, args.config, export))
    session = Session(core)
    trees = Trees(lambda execution, view: _tree(args, execution, view, core), core.facts)
    core.listeners.add(trees)
    keeper = HistoryKeeper(Path(args.history), WriterThread()) if args.history else None
    if keeper is not None:
        keeper.start()
        await keeper.settled(HISTORY_SECONDS[0])
        session.history(keeper.history, 0)
    if hub:
        hub.start()
    for snapshot in steps(session, recording, other_history=keeper is not None):
        for text in trees.take():
            print(text)
        signals = core.take()
        if hub:
            await _put(hub, signals, snapshot)
    _report(args, core)
    if keeper is not None:
        await keeper.close(HISTORY_SECONDS[1])
    if hub:
        await hub.shutdown(FLUSH_SECONDS)
    if recording.truncated:
        print("kwitness: the recording is incomplete; this is its content", file=sys.stderr)
    if core.decode_errors:
        print(
            f"kwitness: skipped {core.decode_errors.total()} unreadable records: "
            f"{dict(core.decode_errors)}",
            file=sys.stderr,
        )
    return 0


def settings_of(file: str, header: Header, config: str | None, export: ExportSettings) -> Settings:
    """The recorded settings; with a configuration, its own and those of the environment.

    A recording of version 2 has none. Whether only a command was observed stays as it was.
    """
    recorded = header.settings
    if recorded is not None and config is None:
        return recorded
    chosen = configuration.load(Path(config) if config else None)
    if recorded is not None:
        only_commands = recorded.options.only_commands
    else:
        with contextlib.closing(Recording(Path(file))) as ahead:
            only_commands = any(frame.kind == FrameKind.WATCH for frame in ahead)
    options = core_options(export, chosen.core)
    return Settings(msgspec.structs.replace(options, only_commands=only_commands), chosen.rule)


async def _put(hub: Hub, signals: list[Span | LogRecord], snapshot: MetricSnapshot | None) -> None:
    """A replay is faster than its exporters: it waits while a queue is more than half full."""
    hub.put(signals)
    if snapshot is not None:
        hub.put_metrics(snapshot)
    deadline = time.monotonic() + FLUSH_SECONDS  # a server that does not answer
    while hub.is_half_full and time.monotonic() < deadline:  # noqa: ASYNC110 (a bound of time)
        await asyncio.sleep(WAIT_SECONDS)


def _tree(args: argparse.Namespace, execution: Execution, view: RunView, core: Core) -> str:
    if args.json:
        return json.dumps(as_json(execution, view, core.missing.losses_of(execution)))
    from receiver.render.process_tree import summary  # see receiver/render/__init__.py

    colour, width = colour_wanted(sys.stdout.isatty()), width_of(sys.stdout)
    return summary(execution, view, core.missing.losses_of(execution), width=width, colour=colour)


def _report(args: argparse.Namespace, core: Core) -> None:
    """The report of each execution."""
    reports = list(core.incidents.reports.values())
    if args.report:
        write_output(args.report, b"".join(to_json(report) + b"\n" for report in reports))
    if args.page and reports:
        from receiver.render.page import page

        write_output(args.page, page(reports[-1]).encode())
    if not args.json:
        from receiver.render.terminal import details, screen

        colour, width = colour_wanted(sys.stdout.isatty()), width_of(sys.stdout)
        for report in reports:
            print(screen(report, width=width, colour=colour))
            if args.details:
                print("\n" + details(report, width=width, colour=colour))


def _dump(recording: Recording, as_lines: bool) -> int:
    redactor, bad = Redactor(), 0
    for frame in recording:
        if frame.kind != FrameKind.BATCH:
            continue
        for raw in split(frame.payload):
            try:
                print_event(decode(raw, redactor), recording.header.wall_offset_ns, as_lines)
            except DecodeError:
                bad += 1
    if bad:
        print(f"kwitness: skipped {bad} unreadable records", file=sys.stderr)
    return 0
