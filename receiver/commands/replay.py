"""`kwitness replay`: the same core over a recording."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import msgspec

from receiver.commands.common import FLUSH_SECONDS, colour_wanted, core_options, make_hub, print_event
from receiver.core import Core
from receiver.errors import DecodeError
from receiver.export.console import open_output
from receiver.export.settings import from_environment
from receiver.investigate.report import to_json
from receiver.kernel.decode import decode, split
from receiver.recording import FrameKind, Recording
from receiver.redact import Redactor
from receiver.session import Session, replay
from receiver.show import Views, as_json, details, page, screen, summary
from receiver.state import HistoryStore
from receiver.timeline.executions import Execution


async def replay_file(args: argparse.Namespace) -> int:
    """The same core over a recording: its findings, trees and signals."""
    recording = Recording(Path(args.file))
    print(f"kwitness: {args.file} holds {recording.header.contents}", file=sys.stderr)
    if args.dump:
        return _dump(recording, args.json)
    export = from_environment(os.environ)
    of_command = any(frame.kind == FrameKind.WATCH for frame in Recording(Path(args.file)))
    core = Core(recording.header.host, msgspec.structs.replace(core_options(export), only_commands=of_command))
    hub, output = make_hub(export, args.otlp_json)
    views = Views()

    def show(execution: Execution) -> None:
        if execution.outer is not None:
            views.closed(execution)
            return
        if args.json:
            print(json.dumps(as_json(execution, views.pop(execution), core.losses)))
        else:
            print(summary(execution, views.pop(execution), core.losses, colour=colour_wanted(sys.stdout.isatty())))

    store = HistoryStore(Path(args.history)) if args.history else None
    core.history = store.load() if store is not None else None
    core.on_end, core.attempts.on_close = views.ended, show
    if hub:
        hub.start()
    replay(Session(core), recording, (lambda: hub.put(core.take())) if hub else None)
    _report(args, core)
    if store is not None and core.history is not None:
        store.save(core.history.take())
        store.close()
    if hub:
        await hub.shutdown(FLUSH_SECONDS)
    if output:
        output.close()
    if recording.truncated:
        print("kwitness: the recording was cut short; what it holds is shown", file=sys.stderr)
    if core.decode_errors:
        print(f"kwitness: {core.decode_errors.total()} records could not be read: {dict(core.decode_errors)}", file=sys.stderr)
    return 0


def _report(args: argparse.Namespace, core: Core) -> None:
    """Why each execution went as it did."""
    reports = list(core.incidents.reports.values())
    if args.report:
        with open_output(args.report) as output:
            output.writelines(to_json(report) + b"\n" for report in reports)
    if args.page and reports:
        with open_output(args.page) as output:
            output.write(page(reports[-1]).encode())
    if not args.json:
        colour = colour_wanted(sys.stdout.isatty())
        for report in reports:
            print(screen(report, colour=colour))
            if args.details:
                print("\n" + details(report, colour=colour))


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
        print(f"kwitness: {bad} records could not be read", file=sys.stderr)
    return 0
