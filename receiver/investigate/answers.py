"""The questions that a report answers: who, what, when, beside whom, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from receiver.investigate import report as rp
from receiver.investigate.case import Case
from receiver.investigate.chain import chain
from receiver.investigate.citations import Citations
from receiver.investigate.engine import Explanation
from receiver.investigate.entries import Sighting
from receiver.investigate.process_lines import process_line
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib
from receiver.text.printable import printable

_LISTED = 40  # processes in a report; the most important ones come first
_BESIDE = 12


def answers(
    case: Case, incident: Explanation | None, events: Citations, seen: Sighting | None
) -> rp.Answers:
    lines = {a.key: process_line(case, a) for a in case}
    order = sorted(
        case, key=lambda a: (a not in case.path, not a.failed, -_weight(a), a.start_ns, a.pid)
    )
    beside = [
        f"{e.identity.system} {e.identity.task} of {e.identity.pipeline}"
        for e in case.beside[:_BESIDE]
    ]
    beside += [
        f"{t.name} ({t.pid}): {mib(t.rss_bytes)}, {t.cpu_ns / 1e9:.1f} s of CPU in the last minute"
        for t in sorted(case.strangers, key=lambda t: (-t.cpu_ns - t.rss_bytes, t.pid))[:_BESIDE]
    ]
    return rp.Answers(
        tuple(printable(b) for b in beside),
        tuple(lines[a.key] for a in order[:_LISTED]),
        _most(list(lines.values())),
        chain(case, incident, events),
        _history_line(seen),
    )


def _weight(actor: ProcessSnapshot) -> int:
    return (actor.exit.cpu_runtime_ns if actor.exit is not None else 0) // 1000 + actor.peak_bytes


def _most(lines: list[rp.ProcessLine]) -> dict[str, str]:
    """Names the process that used most of each resource."""
    if not lines:
        return {}
    out: dict[str, str] = {}
    for name, (of, words) in _RESOURCES.items():
        top = max(lines, key=lambda p: (of(p), -p.pid))
        if of(top):
            out[name] = f"{top.name} ({top.pid}): {words(top)}"
    return out


_RESOURCES: dict[str, tuple[Callable[[rp.ProcessLine], float], Callable[[rp.ProcessLine], str]]] = {
    "memory": (lambda p: p.peak_bytes, lambda p: mib(p.peak_bytes)),
    "cpu": (lambda p: p.cpu_seconds, lambda p: f"{p.cpu_seconds:.2f} s"),
    "calls": (
        lambda p: p.read_bytes + p.written_bytes,
        lambda p: f"{mib(p.read_bytes)} read, {mib(p.written_bytes)} written",
    ),
    "network": (lambda p: p.network_bytes, lambda p: mib(p.network_bytes)),
}


def _history_line(seen: Sighting | None) -> str:
    if seen is None:
        return "this problem was not seen before"
    since = datetime.fromtimestamp(seen.first_unix_ns / 1e9, UTC).strftime("%Y-%m-%d")
    times = f"{seen.count} times" if seen.count != 1 else "once"
    note = f"; the fix noted then: {printable(seen.note)}" if seen.note else ""
    return f"seen {times} since {since}, last in run {printable(seen.last_run)}{note}"
