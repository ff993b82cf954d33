"""The results of runs and attempts, in the terms of the semantic conventions."""

from __future__ import annotations

from receiver.work.execution import Execution
from receiver.work.runs import Run


def task_error(execution: Execution) -> str:
    """error.type of an attempt: its root's, or masked_failure when the root reported success."""
    if execution.incomplete or execution.result == "success":
        return ""
    return execution.error if execution.root_failed else execution.failed_by or "masked_failure"


def run_result(run: Run) -> str:
    if run.incomplete:
        return "unknown"
    return "failure" if any(run.failed.values()) else "success"


def scaled_cpu(user_ns: int, system_ns: int, runtime_ns: int) -> tuple[int, int]:
    """The exact run time, divided in proportion to the ticks, as getrusage(2) reports it
    (kernel/sched/cputime.c, cputime_adjust).
    """
    if system_ns == 0:
        return runtime_ns, 0
    if user_ns == 0:
        return 0, runtime_ns
    system = runtime_ns * system_ns // (user_ns + system_ns)
    return runtime_ns - system, system
