"""The process tree of a run, with the activity of each process, and the findings.

All text passes `printable`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from receiver.detect.usage import peak
from receiver.events import ProcessKey
from receiver.model import Finding
from receiver.render.details import Details, details_of
from receiver.render.live import named
from receiver.signals import Severity
from receiver.text.names import describe_end, mib
from receiver.text.printable import printable
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Worker

KEPT_ROWS = 2000
COMMAND_WIDTH = 64
DULL_SECONDS = 0.05
RED, YELLOW, GREEN, DIM, BOLD, _RESET = (
    "\x1b[31m",
    "\x1b[33m",
    "\x1b[32m",
    "\x1b[2m",
    "\x1b[1m",
    "\x1b[0m",
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One ended process, as the tree shows it. Seconds and bytes."""

    pid: int
    parent: ProcessKey | None
    key: ProcessKey
    command: str
    started: float
    seconds: float
    end: str
    failed: bool
    cpu_seconds: float
    peak_bytes: int
    read_bytes: int
    written_bytes: int
    findings: tuple[str, ...]
    details: Details
    partition: str = ""
    role: str = ""
    execution: Execution | None = None  # the innermost; its names can still change to better ones


class Views:
    """One RunView per outermost execution.

    The number of kept executions bounds it: `pop` each one when it closes.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._views: dict[int, RunView] = {}

    def ended(self, process: Worker) -> None:
        if process.execution is not None:
            self._views.setdefault(id(process.execution.outermost), RunView(self._facts)).ended(
                process
            )

    def closed(self, execution: Execution) -> None:
        """Work inside of other work is shown in its tree."""
        if execution.outer is not None:
            self._views.setdefault(id(execution.outermost), RunView(self._facts)).closed(execution)

    def pop(self, execution: Execution) -> RunView:
        return self._views.pop(id(execution), None) or RunView(self._facts)


class RunView:
    """Collects the rows of one execution.

    Bounded: past the limit, unremarkable rows are only counted.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.rows: dict[ProcessKey, Row] = {}
        self.work: dict[ProcessKey, list[Execution]] = {}  # by the process that does it
        self._works = 0
        self.left_out = 0

    def closed(self, execution: Execution) -> None:
        if self._works < KEPT_ROWS:
            self._works += 1
            self.work.setdefault(execution.root.key, []).append(execution)
        row = self.rows.get(execution.root.key)
        if row is not None and row.execution is execution.outer and execution.entered_late:
            # it got its name after its end
            self.rows[row.key] = msgspec.structs.replace(row, execution=execution)

    def ended(self, process: Worker) -> None:
        end = process.end
        remarkable = (
            end.failed
            or process.key in self._facts.reported.rows
            or (process.execution is not None and process is process.execution.root)
        )
        if len(self.rows) >= KEPT_ROWS and not remarkable:
            self.left_out += 1
            return
        event = process.exit
        still = process.execution.end_ns if process.execution is not None else 0
        last = event.time_boottime_ns if event else max(still, process.key.start_boottime_ns)
        self.rows[process.key] = Row(
            pid=process.key.tgid,
            parent=process.parent.key if process.parent else None,
            key=process.key,
            command=process.command if process.execs else f"({process.name})",
            started=process.key.start_boottime_ns / 1e9,
            seconds=(last - process.key.start_boottime_ns) / 1e9,
            end="still running" if event is None else describe_end(end.cause, end.code, end.signal),
            failed=end.failed,
            cpu_seconds=event.cpu_runtime_ns / 1e9 if event else 0.0,
            peak_bytes=peak(process, self._facts.usage.of(process.key)),
            read_bytes=event.read_call_bytes if event else 0,
            written_bytes=event.write_call_bytes if event else 0,
            findings=self._facts.reported.of(process.key),
            details=details_of(process, self._facts),
            partition=process.partition,
            role=process.role,
            execution=process.execution,
        )


class Painter:
    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self.colour else text


def summary(
    execution: Execution,
    view: RunView,
    losses: dict[tuple[str, str], int],
    blind: Iterable[str] = (),
    *,
    colour: bool,
) -> str:
    """The tree, the findings, and what the observer could not see."""
    paint = Painter(colour)
    good = execution.result == "success"
    head = f"{execution.identity.task}: {execution.result}"
    if execution.masked and not execution.root_failed:
        head += " (it reported success)"
    seconds = (execution.end_ns - execution.start_ns) / 1e9
    lines = [
        "",
        paint(f"kwitness  {printable(head)}", BOLD + (GREEN if good else RED))
        + f"  {seconds:.2f} s, {execution.totals.processes} processes, "
        f"{execution.totals.cpu_ns / 1e9:.2f} s of CPU",
        "",
        paint(
            f"  {'process':<{COMMAND_WIDTH}} {'time':>9}  {'end':<13} {'cpu':>8} {'peak':>10} "
            f"{'read':>10} {'written':>10}",
            DIM,
        ),
    ]
    lines += _tree(view, execution.root.key, paint)
    if view.left_out:
        lines.append(f"  … and {view.left_out} more that ended well")
    lines += ["", *_findings(execution.findings, execution.start_ns, paint)]
    if execution.findings_dropped:
        lines.append(f"  … and {execution.findings_dropped} more findings")
    for (kind, reason), count in losses.items():
        lines.append(paint(f"  not seen: {count} {kind} events were lost ({reason})", YELLOW))
    lines += [paint(f"  not visible here: {printable(what)}", YELLOW) for what in blind]
    return "\n".join(lines)


def _tree(view: RunView, root: ProcessKey, paint: Painter) -> list[str]:
    """A subtree of short processes without failures is one word on the line of its parent."""
    children: dict[ProcessKey, list[Row]] = {}
    for row in view.rows.values():
        if row.key != root:
            parent = row.parent if row.parent in view.rows else root
            assert parent is not None
            children.setdefault(parent, []).append(row)
    lines: list[str] = []

    def dull(row: Row) -> bool:
        return (
            row.seconds < DULL_SECONDS
            and row.key not in view.work
            and not row.findings
            and "SIG" not in row.end
            and not row.details.lines()
            and all(map(dull, children.get(row.key, ())))
        )

    def size(row: Row) -> int:
        return 1 + sum(map(size, children.get(row.key, ())))

    def bound(row: Row, *, steps: bool) -> list[Execution]:
        return sorted(
            (w for w in view.work.get(row.key, ()) if w.is_step is steps), key=lambda w: w.start_ns
        )

    def walk(row: Row, prefix: str, branch: str) -> None:
        every = sorted(children.get(row.key, ()), key=lambda r: r.started)
        below = [child for child in every if not dull(child)]
        short = sum(size(child) for child in every if dull(child))
        more = f" (+{short} short)" if short else ""
        label = prefix + branch + printable(row.command)
        room = COMMAND_WIDTH - len(more)
        label = (label if len(label) <= room else label[: room - 1] + "…") + more
        style = RED if row.failed else ""
        text = (
            f"  {label:<{COMMAND_WIDTH}} {row.seconds:8.2f}s  {row.end:<13} "
            f"{row.cpu_seconds:7.2f}s {mib(row.peak_bytes):>10} "
            f"{mib(row.read_bytes):>10} {mib(row.written_bytes):>10}"
        )
        lines.extend(
            paint(f"  {prefix}{branch and '│ '}◆ {work_line(work)}", BOLD)
            for work in bound(row, steps=False)
        )
        lines.append(paint(text, style) if style else text)
        margin = (
            prefix
            + ("" if not branch else "   " if branch.startswith("└") else "│  ")
            + ("│  " if below else "   ")
        )
        lines.extend(f"  {margin}◆ {work_line(work)}" for work in bound(row, steps=True))
        lines.extend(paint(f"  {margin}{printable(detail)}", DIM) for detail in row.details.lines())
        deeper = prefix + ("" if not branch else "   " if branch.startswith("└") else "│  ")
        for index, child in enumerate(below):
            if len(prefix) > COMMAND_WIDTH:
                return  # too deep to show; the findings name the important processes
            walk(child, deeper, "└─ " if index == len(below) - 1 else "├─ ")

    if root in view.rows:
        walk(view.rows[root], "", "")
    return lines


def work_line(work: Execution) -> str:
    """One finished piece of work, for people."""
    result = "" if work.result == "success" else f", {work.result}"
    doubt = "" if work.identity.grade in ("certain", "probable") else f", {work.identity.grade}"
    seconds = max(0, work.end_ns - work.start_ns) / 1e9
    outputs = "".join(f" > {v.path}" for v in work.outputs[:2]) if work.is_step else ""
    return f"{named(work)} ({seconds:.2f} s{result}{doubt}){printable(outputs)}"


def _findings(findings: Iterable[Finding], start_ns: int, paint: Painter) -> list[str]:
    out = [
        f"  {paint('✗', RED)} {(f.time_boottime_ns - start_ns) / 1e9:7.2f}s  "
        f"{paint(f.kind, BOLD)}  {printable(f.sentence)}  "
        + paint(f"[{' '.join(f.evidence)}]", DIM)
        for f in findings
    ]
    return out or ["  no findings"]


def as_json(
    execution: Execution,
    view: RunView,
    losses: dict[tuple[str, str], int],
    blind: Iterable[str] = (),
) -> dict[str, Any]:
    """The same facts for programs."""
    identity = execution.identity
    return {
        "schema": "kwitness.run/1",
        "execution": {
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
        },
        "processes": [
            {
                "pid": r.pid,
                "parent_pid": r.parent.tgid if r.parent else None,
                "command": r.command,
                "seconds": r.seconds,
                "end": r.end,
                "failed": r.failed,
                "cpu_seconds": r.cpu_seconds,
                "peak_rss_bytes": r.peak_bytes,
                "read_bytes": r.read_bytes,
                "written_bytes": r.written_bytes,
                "findings": list(r.findings),
                "partition": r.partition,
                "role": r.role,
                "work": [e.span_id.hex() for e in r.execution.chain()] if r.execution else [],
                **msgspec.to_builtins(r.details),
            }
            for r in view.rows.values()
        ],
        "work": [
            _work_json(w, execution) for works in (*view.work.values(), (execution,)) for w in works
        ],
        "findings": [
            {
                "kind": f.kind,
                "severity": Severity(f.severity).name,
                "pid": f.process.tgid,
                "seconds": (f.time_boottime_ns - execution.start_ns) / 1e9,
                "sentence": printable(f.sentence),
                "facts": dict(f.facts),
                "evidence": list(f.evidence),
            }
            for f in execution.findings
        ],
        "completeness": {
            "lost": [{"kind": k, "reason": r, "count": n} for (k, r), n in losses.items()],
            "blind": list(blind),
            "rows_left_out": view.left_out,
        },
    }


def _work_json(work: Execution, outermost: Execution) -> dict[str, Any]:
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
        "inputs": list(work.inputs),
        "outputs": [v.path for v in work.outputs],
    }
