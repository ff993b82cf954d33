"""What can be said of a run without us: simpler methods, and ours in the same form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from receiver.investigate.report import EXPLAINED
from tests.incidents.results import Result

Answer = Callable[[Result], str]


_CODES = {
    137: "mem.cgroup_oom",
    143: "kill.supervisor",
    139: "crash.segv",
    134: "crash.abort_ill",
    135: "mem.shm_full",
    132: "crash.abort_ill",
    141: "proc.sigpipe",
    127: "proc.interpreter",
    126: "proc.interpreter",
    124: "kill.timeout_orphan",
    52: "mem.app_heap",
    3: "mem.app_heap",
}
_LOG_WORDS = (
    ("No space left", "fs.enospc"),
    ("Permission denied", "fs.eacces"),
    ("Conflicting lock", "fs.lock"),
    ("database is locked", "fs.lock"),
    ("Too many open files", "lim.emfile"),
    ("MemoryError", "mem.rlimit"),
    ("Out of memory", "mem.cgroup_oom"),
    ("Killed", "mem.cgroup_oom"),
    ("Connection refused", "net.backlog_refused"),
    ("ECONNREFUSED", "net.backlog_refused"),
    ("timed out", "net.silent_peer"),
    ("Connection reset", "net.reset_short"),
    ("Temporary failure in name", "net.dns"),
    ("from pool", "net.pool"),
    ("too many clients", "net.pool"),
    ("Cannot assign requested", "net.ports"),
    ("Resource temporarily unavailable", "lim.pids"),
    ("command not found", "proc.interpreter"),
    ("Segmentation fault", "crash.segv"),
    ("Aborted", "crash.abort_ill"),
    ("validation failed", "none.not_visible"),
    ("Bus error", "mem.shm_full"),
)


def by_exit_code(result: Result) -> str:
    code = result.status if result.status >= 0 else 128 - result.status
    return _CODES.get(code, "none.healthy" if code == 0 else "none.not_visible")


def by_log(result: Result) -> str:
    found = next((cause for word, cause in _LOG_WORDS if word in result.log), "")
    return found or ("none.healthy" if result.status == 0 else "none.not_visible")


def by_sender(result: Result) -> str:
    """Whoever was running when the signal came did it."""
    for process in result.report["answers"]["how_each_ended"]:
        if "SIG" in process["end"] or "OOM" in process["end"]:
            return (
                "kill.supervisor"
                if process["by"] and "kernel" not in process["by"]
                else "mem.cgroup_neighbour"
                if "OOM" in process["end"]
                else "crash.segv"
            )
    return "none.healthy" if result.status == 0 else "none.not_visible"


def majority(results: Iterable[Result]) -> Answer:
    most = Counter(r.truth.cause for r in results if r.truth.verdict in EXPLAINED).most_common(1)[
        0
    ][0]
    return lambda r: most


def ours(result: Result) -> str:
    report = result.report
    return (
        report["hypotheses"][0]["cause"]
        if report["verdict"] in EXPLAINED
        else f"none.{report['verdict']}"
    )


def right(result: Result, answer: str) -> bool:
    return answer in (result.truth.cause, *result.truth.also_right)
