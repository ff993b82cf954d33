"""The facts of a run for programs: what the process tree shows, as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from receiver.model import Finding
from receiver.render.rows import Row, RunView
from receiver.signals import Severity
from receiver.text.printable import printable
from receiver.work.execution import Execution


def as_json(
    execution: Execution,
    view: RunView,
    losses: dict[tuple[str, str], int],
    blind: Iterable[str] = (),
) -> dict[str, Any]:
    """The same facts for programs."""
    works = [w for group in (*view.work.values(), (execution,)) for w in group]
    return {
        "schema": "kwitness.run/1",
        "execution": _outermost(execution),
        "processes": [_process(row) for row in view.rows.values()],
        "work": [_work(work, execution) for work in works],
        "findings": [_finding(f, execution.start_ns) for f in execution.findings],
        "completeness": {
            "lost": [{"kind": k, "reason": r, "count": n} for (k, r), n in losses.items()],
            "blind": list(blind),
            "rows_left_out": view.left_out,
        },
    }


def _outermost(execution: Execution) -> dict[str, Any]:
    identity = execution.identity
    return {
        "system": identity.system,
        "pipeline": identity.pipeline,
        "run_id": identity.run_id,
        "task": identity.task,
        "outcome": execution.result,
        "reported_outcome": None if execution.incomplete else execution.reported,
        "seconds": (execution.end_ns - execution.start_ns) / 1e9,
        "processes": execution.totals.processes,
        "trace_id": execution.trace_id.hex(),
        "inputs": list(execution.inputs),
        "outputs": [
            {"path": v.path, "state": v.state.value, "bytes": v.size_bytes, "commit": v.commit}
            for v in execution.outputs
        ],
    }


def _process(row: Row) -> dict[str, Any]:
    return {
        "pid": row.pid,
        "parent_pid": row.parent.tgid if row.parent else None,
        "command": row.command,
        "seconds": row.seconds,
        "end": row.end,
        "failed": row.failed,
        "cpu_seconds": row.cpu_seconds,
        "peak_rss_bytes": row.peak_bytes,
        "read_bytes": row.read_bytes,
        "written_bytes": row.written_bytes,
        "findings": list(row.findings),
        "partition": row.partition,
        "role": row.role,
        "work": [e.span_id.hex() for e in row.execution.chain()] if row.execution else [],
        **msgspec.to_builtins(row.details),
    }


def _finding(finding: Finding, start_ns: int) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": Severity(finding.severity).name,
        "pid": finding.process.tgid,
        "seconds": (finding.time_boottime_ns - start_ns) / 1e9,
        "sentence": printable(finding.sentence),
        "facts": dict(finding.facts),
        "evidence": list(finding.evidence),
    }


def _work(work: Execution, outermost: Execution) -> dict[str, Any]:
    identity = work.identity
    return {
        "system": identity.system,
        "type": identity.type,
        "pipeline": identity.pipeline,
        "run_id": identity.run_id,
        "task": identity.task,
        "attempt": identity.attempt,
        "map_index": identity.map_index,
        "outcome": work.result,
        "reported_outcome": None if work.incomplete else work.reported,
        "grade": identity.grade,
        "source": identity.source,
        "evidence": identity.evidence,
        "pid": work.root.key.tgid,
        "processes": work.totals.processes,
        "inside_of": work.outer.span_id.hex() if work.outer else None,
        "trace_id": work.trace_id.hex(),
        "span_id": work.span_id.hex(),
        "started": (work.start_ns - outermost.start_ns) / 1e9,
        "seconds": max(0, work.end_ns - work.start_ns) / 1e9,
        "end_seen": not work.end_is_bound,
        "inputs": list(work.inputs),
        "outputs": [v.path for v in work.outputs],
    }
