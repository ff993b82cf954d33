"""The observer of `kwitness run -- CMD`, in a process of its own that `launch` forks; and `record`
and `events`, which start no command.

A failure in this module never reaches the command or its exit status.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import msgspec

from receiver.attribution.context import remote_context
from receiver.cli import guard, loop
from receiver.cli.channel import Channel, CommandSignals, follow
from receiver.cli.common import FLUSH_SECONDS, colour_wanted, core_options, hub_for, width_of
from receiver.cli.exits import EX_IOERR, EX_UNAVAILABLE
from receiver.cli.lines import check_files, describe, print_fitted, print_text
from receiver.cli.listeners import LiveLines, TimelineListener, ViewListener
from receiver.cli.outputs import Outputs
from receiver.cli.status import open_status
from receiver.cli.stdio import fill_stdio, let_go_of_stdio
from receiver.cli.terminal import Undo
from receiver.errors import ConfigError, KwitnessError
from receiver.export import exporters
from receiver.export.options import ExportSettings
from receiver.export.settings import asks_for_export, from_environment
from receiver.investigate.compose import report_id
from receiver.investigate.report import Report, to_json
from receiver.kernel.clock import boottime_ns
from receiver.kernel.descriptors import raise_limit
from receiver.kernel.inherited import Inherited
from receiver.model import Watch
from receiver.observe.recording import COMMAND_CONTENTS
from receiver.render.live import status
from receiver.render.rows import RunView, Views
from receiver.render.run_json import as_json
from receiver.render.timeline import Timeline
from receiver.service import config as configuration
from receiver.service.app import Observer
from receiver.service.state import HistoryKeeper, WriterThread
from receiver.text.printable import printable
from receiver.units import SECOND
from receiver.work.execution import Execution

# how long to wait for a busy history, before and after the evaluation
HISTORY_SECONDS = (1.0, 4.0)


def main(
    args: argparse.Namespace, connection: socket.socket, inherited: Inherited, undo: Undo
) -> int:
    """Returns the observer's exit status: 0, or 74 when a requested output could not be written."""
    open_stdio = fill_stdio()
    raise_limit()  # of this process; the command has the launcher's
    guard.log_to_stderr()
    channel = Channel(connection)
    observation = _main(args, channel, inherited, open_stdio, undo)
    try:
        return loop.run(observation)
    except OSError as error:  # for example, no descriptor is left for the event loop
        observation.close()
        channel.tell("refused", EX_UNAVAILABLE, error)
        return 0


async def _main(
    args: argparse.Namespace,
    channel: Channel,
    inherited: Inherited,
    open_stdio: frozenset[int],
    undo: Undo,
) -> int:
    try:
        check_files(args)
        chosen = configuration.load(Path(args.config) if args.config else None)
    except KwitnessError as error:
        channel.tell("invalid", error.status, error)
        return 0
    try:
        run = ObservedCommand(args, chosen, open_stdio, undo)
    except KwitnessError as error:
        channel.tell("refused", error.status, error)
        return 0
    inherited.release()
    let_go_of_stdio(stdout=run.prints)
    if not await run.watch(channel):
        return 0
    await run.finish()
    if not run.broken:
        try:
            run.report()
        except Exception as error:
            run.outputs.failed("report", f"{type(error).__name__}: {error}")
    run.outputs.close()
    return 0 if run.outputs.complete else EX_IOERR


class ObservedCommand:
    """One command under observation."""

    def __init__(
        self,
        args: argparse.Namespace,
        chosen: configuration.ServeConfig,
        open_stdio: frozenset[int],
        undo: Undo,
    ) -> None:
        """Opens the outputs and attaches. Raises what prevents attaching: mostly KwitnessError."""
        self.args = args
        self.broken = False
        self.outputs = Outputs()
        self._open_stdio = open_stdio
        export = self._export_settings()
        lines = self.outputs.open("--otlp-json", args.otlp_json, raises=True)
        hub = hub_for(export, lines, remote=self._exports)
        self.prints = args.json or any(e.prints for e in exporters.chosen(export))
        record_to = self.outputs.open("recording", getattr(args, "output", None))
        for name in ("report", "facts"):
            self.outputs.plan(name, getattr(args, name))
        source = msgspec.structs.replace(
            chosen.kernel, drain_interval_seconds=0.05, source=args.source
        )
        options = msgspec.structs.replace(core_options(export, chosen.core), only_commands=True)
        self.observer = Observer(
            source,
            options,
            hub,
            record_to,
            launched=True,
            rules=chosen.rule,
            record_host=getattr(args, "whole_host", False),
        )
        self.core = self.observer.core
        self.pid = 0
        self._views = Views(self.core.facts)
        self.core.listeners.add(ViewListener(self._views))
        self._opened_ns = boottime_ns()
        self._status = open_status(args, chosen.run, self._status_text, undo)
        if args.live:
            self.core.listeners.add(LiveLines(boottime_ns(), print_text))
        self._timeline = Timeline(self.core.tree, self.core.facts) if args.timeline else None
        if self._timeline:
            self.core.listeners.add(TimelineListener(self._timeline))
        self.observer.start()
        self._unseen = [each.text for each in self.observer.unseen()]
        self._keeper = HistoryKeeper(Path(args.history), WriterThread()) if args.history else None
        if self._keeper is not None:
            self.observer.session.history(self._keeper.history, boottime_ns())

    def _export_settings(self) -> ExportSettings:
        self._exports = asks_for_export(os.environ)
        try:
            return from_environment(os.environ)
        except ConfigError as error:
            if self.args.require:
                raise
            self._exports = False
            self.outputs.failed("not exported", str(error))
            return from_environment({})

    async def watch(self, channel: Channel) -> bool:
        """Observes from before the command's first instruction until its end.

        False: it was not started.
        """
        observer = self.observer
        if self._keeper is not None:
            self._keeper.start()  # beside the command, which never waits for it
        signals = CommandSignals(observer)
        observer.each_batch.append(signals.note)
        # children of a watched process are watched from their first call on, so the launcher is
        # watched while it forks
        with observer.source.watching_self():
            channel.tell("ready")
            words = await channel.hear()
        if words[:1] != ["started"]:
            return False
        self.pid = int(words[1])
        observer.session.watch(
            Watch(
                self.pid,
                observer.source.starter_tgid,
                self.args.name or Path(self.args.command[0]).name,
                remote_context(
                    tuple(
                        f"{k}={os.environ[k]}"
                        for k in ("TRACEPARENT", "TRACESTATE")
                        if k in os.environ
                    )
                ),
            ),
            boottime_ns(),
        )
        pump = asyncio.create_task(self._pump())
        shown = asyncio.create_task(self._status.run()) if self._status else None
        started = await follow(channel, signals, self.pid, self._status)
        if self._status is not None and shown is not None:
            shown.cancel()
            self._status.close()
        observer.stop.set()
        await pump
        return started

    def _status_text(self) -> str:
        root = self.core.watched(self.pid)
        seconds = (boottime_ns() - self._opened_ns) // SECOND
        return "" if root is None else status(root, self.core.executions.open.values(), seconds)

    async def _pump(self) -> None:
        """Runs until it is stopped.

        A failed exporter is dropped; a failed source or core ends the observation.
        """
        observer = self.observer
        while True:
            try:
                return await observer.run()
            except Exception as error:
                if observer.hub is None or not any(task.done() for task in observer.hub.tasks):
                    self._break(error)
                    return None
                observer.hub = None
                self.outputs.failed("export stopped", describe(error))

    def _break(self, error: Exception) -> None:
        """Concludes nothing, because half of the events are missing."""
        self.broken = True
        self.outputs.failed("observation stopped", f"{describe(error)}; there is no report")

    async def finish(self) -> None:
        """Processes the last events, and finishes exports and files."""
        if self._keeper is not None:
            await self._keeper.settled(HISTORY_SECONDS[0])
        try:
            if not self.broken:
                self.observer.end()
                for incident_id, report in list(self.core.incidents.reports.items()):
                    self.observer.name_functions(incident_id, report)
        except Exception as error:
            self._break(error)
        try:
            await self.observer.close(FLUSH_SECONDS)
        except Exception as error:
            self.outputs.failed("export", describe(error))
        if self._keeper is not None and not await self._keeper.close(HISTORY_SECONDS[1]):
            self.outputs.failed("history", f"this run is not stored in {self.args.history}")

    def report(self) -> None:
        """Writes and prints the requested outputs."""
        execution = self.core.watched(self.pid)
        if execution is None:
            self.outputs.failed(
                "no report", "the start of the command was not seen: its events were lost"
            )
            return
        view = self._views.pop(execution)
        facts = json.dumps(
            as_json(execution, view, self.core.missing.losses_of(execution), self._unseen)
        )
        why = self.core.incidents.reports[report_id(execution)]
        self.outputs.write("report", to_json(why) + b"\n")
        self.outputs.write("facts", facts.encode() + b"\n")
        if self._timeline:
            print_text(self._timeline.text(execution))
        if self.args.json:
            self._print_facts(facts)
        elif not self.args.quiet:
            if recording := getattr(self.args, "output", None):
                print_fitted(f"kwitness: {printable(recording)} holds {COMMAND_CONTENTS}")
            self._print_screens(execution, view, why)

    def _print_screens(self, execution: Execution, view: RunView, why: Report) -> None:
        # see receiver/render/__init__.py: the command has ended, and nothing waits for the import
        from receiver.render.process_tree import summary
        from receiver.render.terminal import screen

        colour, width = colour_wanted(sys.stderr.isatty()), width_of(sys.stderr)
        losses, blind = self.core.missing.losses_of(execution), self._unseen
        print_text(summary(execution, view, losses, blind, width=width, colour=colour))
        print_text(screen(why, width=width, colour=colour))

    def _print_facts(self, facts: str) -> None:
        try:
            if 1 not in self._open_stdio:
                raise OSError(0, "it is closed")
            print(facts, flush=True)
        except OSError as error:
            self.outputs.failed("--json", f"cannot write to stdout: {error.strerror}")
