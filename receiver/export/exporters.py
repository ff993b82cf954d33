"""The table of exporters: the values that OTEL_{TRACES,METRICS,LOGS}_EXPORTER can name.

The modules of a transport are imported when it is connected: grpcio and aiohttp cost 20 MB each,
and protobuf takes 0.3 s.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from receiver.export.options import ExportSettings, SignalName
from receiver.export.transport import Transport


class Connected(msgspec.Struct, frozen=True):
    """kind: otel.component.type of its metrics. target: where its signals go, for the log."""

    transport: Transport
    kind: str
    target: str


class Exporter(msgspec.Struct, frozen=True, kw_only=True):
    """connect: opens it for one signal, under the given user agent. remote: it sends to a server. A
    command that observes one process uses it only if an endpoint is set, and samples of what the
    server refuses are kept. prints: it writes to standard output.
    """

    connect: Callable[[SignalName, ExportSettings, str], Connected]
    remote: bool = False
    prints: bool = False


def _otlp(signal: SignalName, settings: ExportSettings, user_agent: str) -> Connected:
    chosen = settings.otlp[signal]
    target = chosen.endpoint.partition("?")[0]
    if chosen.protocol == "grpc":
        from receiver.export.otlp_grpc import GrpcTransport

        return Connected(GrpcTransport(chosen, user_agent), "otlp_grpc_exporter", target)
    from receiver.export.otlp_http import HttpTransport

    return Connected(HttpTransport(chosen, user_agent), "otlp_http_exporter", target)


def _console(signal: SignalName, _settings: ExportSettings, _user_agent: str) -> Connected:
    from receiver.export.console import Console

    return Connected(Console(signal), "console_exporter", "console_exporter")


EXPORTERS: dict[str, Exporter] = {
    "otlp": Exporter(connect=_otlp, remote=True),
    "console": Exporter(connect=_console, prints=True),
}


def chosen(settings: ExportSettings) -> list[Exporter]:
    """The exporters that any signal uses."""
    names = dict.fromkeys(name for names in settings.exporters.values() for name in names)
    return [EXPORTERS[name] for name in names]
