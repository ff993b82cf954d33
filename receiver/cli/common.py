"""Functions that several commands share."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, BinaryIO, TextIO

import msgspec

from receiver.events import Event
from receiver.export.exporters import chosen
from receiver.export.options import ExportSettings
from receiver.export.settings import asks_for_export
from receiver.model import CoreOptions
from receiver.render import PLAIN_WIDTH
from receiver.safe.outputs import open_output
from receiver.text.event_text import event_line

if TYPE_CHECKING:
    from receiver.export.hub import Hub

VERSION = version("kwitness")
FLUSH_SECONDS = 8.0


def core_options(export: ExportSettings, base: CoreOptions | None = None) -> CoreOptions:
    """The resource settings of the standard variables, which override the file's."""
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
    return hub_for(export, output, remote=asks_for_export(os.environ)), output


def hub_for(export: ExportSettings, json_lines: BinaryIO | None, *, remote: bool) -> Hub | None:
    """Exporters for the given settings and for `json_lines`; None when there is no destination.

    `remote`: an endpoint is set.
    """
    if json_lines is None and not remote and all(e.remote for e in chosen(export)):
        return None
    from receiver.export.hub import (
        Hub,
    )  # grpc and protobuf take 0.3 s to import, so only a command that exports imports them

    return Hub(export, VERSION, json_lines, remote=remote)


def print_line(text: str) -> None:
    """Prints one line to stdout. On a pipe it stays one line, for grep."""
    print(fitted(text, sys.stdout))


def fitted(line: str, stream: TextIO) -> str:
    """For a terminal: what is too long for its width continues below, indented."""
    if not stream.isatty():
        return line
    from receiver.render.sheet import folded  # see receiver/render/__init__.py

    return folded(line, width_of(stream))


def print_event(event: Event, wall_offset_ns: int, as_lines: bool) -> None:
    if as_lines:
        print(json.dumps({"kind": type(event).__name__, **msgspec.to_builtins(event)}))
        return
    at = datetime.fromtimestamp((event.time_boottime_ns + wall_offset_ns) / 1e9, UTC)
    print_line(event_line(event, at.strftime("%H:%M:%S.%f")))


def stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def colour_wanted(terminal: bool) -> bool:
    """https://no-color.org"""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO) -> int:
    """The columns of the terminal behind a stream. COLUMNS overrides it, as in the shell."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isascii() and wanted.isdigit() and int(wanted):
        return int(wanted)
    try:
        return os.get_terminal_size(stream.fileno()).columns or PLAIN_WIDTH
    except (OSError, ValueError):
        return PLAIN_WIDTH
