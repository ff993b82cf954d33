"""W3C trace context from an environment at exec (OTel env carriers: TRACEPARENT, TRACESTATE)."""

from __future__ import annotations

import re

from receiver.model import RemoteContext

ENVIRONMENT = ("TRACEPARENT", "TRACESTATE")
_TRACEPARENT = re.compile(r"^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$")
_STATE_LIMIT = 512


def variable(environ: tuple[str, ...], name: str) -> str:
    """The value of NAME in "NAME=value" strings; empty when it is absent."""
    start = name + "="
    for entry in environ:
        if entry.startswith(start):
            return entry[len(start) :]
    return ""


def remote_context(environ: tuple[str, ...]) -> RemoteContext | None:
    """The context; None when it is absent or not valid.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header.
    """
    found = _TRACEPARENT.match(variable(environ, "TRACEPARENT"))
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if (
        version == "ff"
        or (version == "00" and rest)
        or not int(trace_id, 16)
        or not int(span_id, 16)
    ):
        return None
    state = variable(environ, "TRACESTATE")
    return RemoteContext(
        bytes.fromhex(trace_id),
        bytes.fromhex(span_id),
        bool(int(flags, 16) & 1),
        state if len(state) <= _STATE_LIMIT else "",
    )
