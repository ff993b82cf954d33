"""`kwitness check --explain`: the rule or recogniser behind each attribution, and the reason."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from receiver.cli.common import print_line
from receiver.cli.listeners import CommandLines
from receiver.cli.replay import settings_of
from receiver.errors import UsageError
from receiver.export.settings import from_environment
from receiver.observe.recording import Recording
from receiver.observe.replay import core_of, replay
from receiver.observe.session import Session
from receiver.service import config as configuration
from receiver.service.app import Observer
from receiver.text.identity import describe
from receiver.text.printable import printable


def explain(args: argparse.Namespace) -> int:
    """Explains the attribution of a living process, or of all processes of a recording."""
    chosen = configuration.load(Path(args.config) if args.config else None)
    if args.explain.isascii() and args.explain.isdigit():
        return _explain_process(int(args.explain), chosen)
    recording = Recording(Path(args.explain))
    export = from_environment(os.environ)
    settings = settings_of(args.explain, recording.header, args.config, export)
    core = core_of(recording.header, settings, explain=True)
    seen = CommandLines()
    core.listeners.add(seen)
    replay(Session(core), recording)
    for key, reasons in core.bindings.reasons.items():
        print_line(seen.lines.get(key, str(key.tgid)))
        for reason in reasons:
            print_line(f"    {printable(reason)}")
    if not core.bindings.reasons:
        print_line("no process in this recording belongs to a task")
    return 0


def _explain_process(pid: int, chosen: configuration.ServeConfig) -> int:
    observer = Observer(chosen.kernel, chosen.core, None, rules=chosen.rule, explain=True)
    core = observer.core
    try:
        observer.start()
    finally:
        observer.source.close()
    process = next((p for p in core.tree.processes() if p.key.tgid == pid), None)
    if process is None:
        raise UsageError(f"there is no process {pid}")
    for each in (process, *process.ancestors()):
        print_line(f"{each.key.tgid} {printable(each.name)}")
        for reason in core.bindings.reasons.get(each.key, ("nothing",)):
            print_line(f"    {printable(reason)}")
    chain = list(process.execution.chain()) if process.execution is not None else []
    print_line(
        "is attributed to: "
        + (" inside of ".join(printable(describe(e.identity)) for e in chain) or "no task")
    )
    return 0
