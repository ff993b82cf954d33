"""`kwitness record` and `kwitness events`: kernel events of the whole host until a signal."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

import msgspec

from receiver.cli.common import core_options, print_event, stop_on_signals
from receiver.errors import DecodeError, OutputError
from receiver.export.settings import from_environment
from receiver.kernel.decode import decode
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions
from receiver.observe.recording import HOST_CONTENTS
from receiver.safe.outputs import open_output
from receiver.service import config as configuration
from receiver.service.app import Observer
from receiver.text.redact import Redactor


async def record(args: argparse.Namespace) -> int:
    """Without a command: runs until Ctrl-C or SIGTERM."""
    chosen = configuration.load(Path(args.config) if args.config else None)
    options = core_options(from_environment(os.environ), chosen.core)
    record_to = open_output(args.output)
    source = msgspec.structs.replace(chosen.kernel, source=args.source)
    observer = Observer(source, options, None, record_to, rules=chosen.rule)
    recorder = observer.recorder
    observer.each_tick.append(
        lambda: observer.stop.set() if recorder is not None and recorder.failure else None
    )
    await _until_stopped(observer, f"recording {HOST_CONTENTS}")
    if recorder is not None and recorder.failure:
        raise OutputError(f"the recording {args.output} is incomplete: {recorder.failure}")
    print(f"kwitness: {observer.core.counts.total()} events in {args.output}", file=sys.stderr)
    return 0


async def events(args: argparse.Namespace) -> int:
    """Follows decoded events until Ctrl-C."""
    observer = Observer(SourceConfig(drain_interval_seconds=0.05), CoreOptions(), None)
    redactor = Redactor()

    def show(batch: list[bytes]) -> None:
        for raw in batch:
            with contextlib.suppress(DecodeError):  # counted by the core
                print_event(
                    decode(raw, redactor), observer.core.resources.wall_offset_ns, args.json
                )
        sys.stdout.flush()

    observer.each_batch.append(show)
    await _until_stopped(observer, "following events")
    return 0


async def _until_stopped(observer: Observer, what: str) -> None:
    """Observes until Ctrl-C or SIGTERM."""
    observer.start()
    stop_on_signals(observer.stop.set)
    print(f"kwitness: {what}; stop with Ctrl-C", file=sys.stderr)
    await observer.run()
    observer.end()
    await observer.close(0)
