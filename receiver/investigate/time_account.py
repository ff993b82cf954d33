"""The time account of an execution: what the processes on its critical path waited for.

The critical path leads backwards from the end of the root: to the child that ended last before,
then to what ran before that child, and so on. A parent that was busy most of its life worked beside
its children; its own time counts. The times of one process come from its counters, so their sum
cannot exceed its time on the path; the rest is time for which no sample shows a reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from receiver.events import ThreadWait
from receiver.investigate.case import Case
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of

CPU, RUN_QUEUE, QUOTA, DISK = "cpu", "run_queue", "quota", "disk"
ENDPOINT, NAME_SERVER, LOCK, PIPE = "endpoint", "name_server", "lock", "pipe"
SLEEP, CHILD, UNKNOWN = "sleep", "child", "unknown"
WORDS = {
    CPU: "on a CPU",
    RUN_QUEUE: "waiting for a CPU",
    QUOTA: "stopped by the CPU quota",
    DISK: "waiting for storage",
    ENDPOINT: "waiting for an answer of",
    NAME_SERVER: "waiting for the name server",
    LOCK: "waiting for a lock",
    PIPE: "waiting at a pipe",
    SLEEP: "asleep on purpose",
    CHILD: "waiting for a child",
    UNKNOWN: "with no reason seen",
}
_KINDS = {
    "futex": LOCK,
    "lock": LOCK,
    "pipe": PIPE,
    "timer": SLEEP,
    "child": CHILD,
    "disk": DISK,
    "socket": ENDPOINT,
    "poll": ENDPOINT,
}
_NAME_PORT = 53
_BUSY = 0.5  # of its life: a parent that used more CPU time did not wait for its children
_DEEP = 10_000  # processes on one path

Part = tuple[str, str]  # the kind, and what it waited for


class Spent(msgspec.Struct, frozen=True):
    """A part of the time: `what` is one of the kinds above, `on` names the object."""

    what: str
    on: str
    ns: int


def time_account(case: Case) -> list[Spent]:
    """Returns the parts, the largest first. Their sum is the time of the root."""
    root = case.root
    if root is None:
        return []
    own: dict[ProcessSnapshot, int] = defaultdict(int)
    for actor, ns in _critical_path(case, root):
        own[actor] += max(0, ns)  # the times of a damaged recording may run backwards
    parts: Counter[Part] = Counter()
    for actor, ns in own.items():
        parts.update(_parts(actor, ns))
    ordered = sorted(parts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Spent(what, on, ns) for (what, on), ns in ordered if ns > 0]


def _critical_path(case: Case, root: ProcessSnapshot) -> Iterable[tuple[ProcessSnapshot, int]]:
    """Yields each process with a time that was its own."""
    end = root.end_ns or case.now_ns
    waiting = [(root, root.start_ns, end)]
    for _ in range(_DEEP):
        if not waiting:
            return
        actor, begin, until = waiting.pop()
        if _is_busy(actor, until - begin):
            yield actor, until - begin
            continue
        at = until
        for child in sorted(case.children(actor), key=lambda c: (-c.end_ns, c.pid)):
            if child.end_ns and begin < child.end_ns <= at and child.start_ns < at:
                yield actor, at - child.end_ns
                at = max(begin, child.start_ns)
                waiting.append((child, at, child.end_ns))
        yield actor, at - begin
    for actor, begin, until in waiting:
        yield actor, until - begin


def _is_busy(actor: ProcessSnapshot, lived_ns: int) -> bool:
    return _counters(actor)[0] > _BUSY * lived_ns


def _counters(actor: ProcessSnapshot) -> tuple[int, int]:
    """Returns its CPU time and its time on a run queue, in ns, over all threads."""
    if actor.exit is not None:
        return actor.exit.cpu_runtime_ns, actor.exit.run_delay_ns
    last = actor.usage.last if actor.usage is not None else None
    return (last.cpu_runtime_ns, last.run_delay_ns) if last is not None else (0, 0)


def _parts(actor: ProcessSnapshot, own_ns: int) -> Counter[Part]:
    out: Counter[Part] = Counter()
    cpu, delay = _counters(actor)
    if cpu + delay > own_ns:  # several threads
        cpu, delay = own_ns * cpu // (cpu + delay), own_ns * delay // (cpu + delay)
    left = own_ns
    left -= _take(out, (CPU, ""), cpu, left)
    left -= _take(out, (RUN_QUEUE, ""), delay, left)
    usage = actor.usage
    if usage is not None and usage.first is not None and usage.last is not None:
        if "quota" in usage.pressed_ns:
            stopped = usage.last.throttled_ns - usage.first.throttled_ns
            left -= _take(out, (QUOTA, ""), stopped, left)
        left -= _take(out, (DISK, ""), usage.last.io_stall_ns, left)
    for part, ns in _waits(actor):
        left -= _take(out, part, ns, left)
    _take(out, (SLEEP if actor.name == "sleep" else UNKNOWN, ""), left, left)
    return out


def _take(out: Counter[Part], part: Part, ns: int, left: int) -> int:
    taken = max(0, min(ns, left))
    out[part] += taken
    return taken


def _waits(actor: ProcessSnapshot) -> list[tuple[Part, int]]:
    """Returns its longest idle time with its reason, and the longest wait for each endpoint."""
    out: list[tuple[Part, int]] = []
    slowest = max(actor.peers, key=lambda p: p.longest_gap_ns, default=None)
    period = actor.usage.idle_period if actor.usage is not None else None
    answered: Part | None = None
    if slowest is not None and slowest.endpoint[1] and slowest.longest_gap_ns:
        answered = (ENDPOINT, f"{slowest.endpoint[0]}:{slowest.endpoint[1]}")
    if period is not None and period.waits:
        wait = min(period.waits, key=lambda w: (bool(w.timed), w.thread != actor.pid))
        what = _kind(wait)
        if what is ENDPOINT and answered is not None:
            return [(answered, max(period.ns, slowest.longest_gap_ns if slowest else 0))]
        if what is not None and what is not ENDPOINT:
            out.append(((what, ""), period.ns))
    if answered is not None and slowest is not None:
        out.append((answered, slowest.longest_gap_ns))
    return out


def _kind(wait: ThreadWait) -> str | None:
    if wait.port == _NAME_PORT:
        return NAME_SERVER
    return _KINDS.get(wait_of(wait))
