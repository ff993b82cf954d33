"""Deterministic trace and span ids: several hosts, or one host twice, build one trace without
communication.

Fields are joined with NUL, which cannot occur in them, so that no two lists have the same hash. The
scope of an identity (the user id that answers for it, see `receiver.model.Identity`) is one of
them: another user's claim never lands in the same trace, in whatever order the claims come.
"""

from __future__ import annotations

from hashlib import sha256

from receiver.events import ProcessKey
from receiver.model import Identity

_VERSION = "v1"


def _digest(parts: tuple[str, ...], size: int) -> bytes:
    data = "\0".join((_VERSION, *parts)).encode("utf-8", "replace")
    while True:
        out = sha256(data).digest()[:size]
        if any(out):  # all-zero ids are invalid
            return out
        data += b"\0"


def run_trace_id(identity: Identity) -> bytes:
    return _digest(
        ("trace", identity.system, identity.scope, identity.pipeline, identity.run_id), 16
    )


def run_span_id(identity: Identity) -> bytes:
    return _digest(("run", identity.system, identity.scope, identity.pipeline, identity.run_id), 8)


def task_span_id(identity: Identity, attempt: int, resumed: int = 0) -> bytes:
    """`resumed`: how often the same attempt ended before: each of its spans is exported once."""
    names = (identity.system, identity.scope, identity.pipeline, identity.run_id, identity.task)
    again = (str(resumed),) if resumed else ()
    return _digest(("task", *names, str(identity.map_index), str(attempt), *again), 8)


def inner_span_id(outer: bytes, identity: Identity) -> bytes:
    """The id of work inside other work, whose child span it is."""
    return _digest(("inner", outer.hex(), *map(str, identity.key)), 8)


def process_span_id(boot_id: str, key: ProcessKey) -> bytes:
    return _digest(("process", boot_id, f"{key.tgid}\0{key.start_boottime_ns}"), 8)
