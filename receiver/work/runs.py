"""One run of a pipeline."""

from __future__ import annotations

from receiver.model import Identity, RunKey


class Run:
    """One run of a pipeline: its attempts share a trace."""

    def __init__(self, identity: Identity, trace_id: bytes, span_id: bytes, start_ns: int) -> None:
        self.identity = identity
        self.key: RunKey = identity.run_key  # the identity of its first claim
        self.trace_id = trace_id
        self.span_id = span_id
        self.start_ns = start_ns
        self.end_ns = start_ns
        self.active = 0
        self.failed: dict[tuple[str, int], bool] = {}  # last result of each task
        # some attempt is not in an application's own trace, so the run has a span
        self.announced = False
        self.incomplete = False
