"""The work in progress: as a tree, in one line, and one line for each start and end of work."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.synthesis.spans import work_name
from receiver.text.names import counted
from receiver.text.printable import printable
from receiver.work.execution import Execution

SHOWN = 500


def live_tree(executions: Iterable[Execution], now_ns: int) -> str:
    """Nested, in order of start; times in seconds."""
    inside: dict[Execution | None, list[Execution]] = {}
    found = sorted(executions, key=lambda e: e.start_ns)
    here = set(found)
    for execution in found:
        outer = execution.outer
        while outer is not None and outer not in here:
            outer = outer.outer
        inside.setdefault(outer, []).append(execution)
    lines: list[str] = []

    def walk(execution: Execution, depth: int) -> None:
        if len(lines) >= SHOWN:
            return
        seconds = (now_ns - execution.start_ns) / 1e9
        lines.append(
            f"{'  ' * depth}{work_label(execution)}  {seconds:.1f} s, "
            f"{counted(execution.live, 'process', 'processes')}{_grade(execution)}"
        )
        for each in inside.get(execution, ()):
            walk(each, depth + 1)

    for execution in inside.get(None, ()):
        walk(execution, 0)
    if len(found) > len(lines):
        lines.append(f"… and {len(found) - len(lines)} more")
    return "\n".join(lines) + "\n" if lines else "no pipeline is running\n"


def status(root: Execution, executions: Iterable[Execution], seconds: int) -> str:
    """`kwitness 1:02:03, 4 processes, dbt model users of shop, 1 finding`."""
    found = list(executions)
    inner = [e for e in found if e is not root]
    latest = max(inner, key=lambda e: (sum(1 for _ in e.chain()), e.start_ns), default=root)
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    time = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return ", ".join(
        (
            f"kwitness {time}",
            counted(sum(e.live for e in found), "process", "processes"),
            work_label(latest),
            counted(len(root.findings) + root.findings_dropped, "finding", "findings"),
        )
    )


def work_label(execution: Execution) -> str:
    """`airflow task load[1] of etl, attempt 2`."""
    identity = execution.identity
    where = "" if identity.pipeline in (identity.task, "") else f" of {identity.pipeline}"
    index = f"[{identity.map_index}]" if identity.map_index >= 0 else ""
    attempt = f", attempt {identity.attempt}" if identity.attempt > 1 else ""
    return printable(f"{identity.system} {work_name(identity)}{index}{where}{attempt}")


def lifecycle_line(execution: Execution, verb: str, since_ns: int) -> str:
    """One line when it starts or ends."""
    depth = sum(1 for _ in execution.chain()) - 1
    at = (execution.start_ns if verb == "starts" else execution.end_ns) - since_ns
    result = f": {execution.result}" if verb == "ends" else _grade(execution)
    return f"kwitness {at / 1e9:8.2f} s  {'  ' * depth}{work_label(execution)} {verb}{result}"


def _grade(execution: Execution) -> str:
    grade = execution.identity.grade
    return "" if grade == "certain" else f" ({grade})"
