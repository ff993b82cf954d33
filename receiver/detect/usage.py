"""Findings about the resources of a process: growth towards a limit, contention, and no progress at
all.
"""

from __future__ import annotations

from receiver import semconv as sc
from receiver.calls import call_name
from receiver.events import OomKill, ProcessSample, ThreadWait, WaitStack
from receiver.facts.neighbours import Competitor
from receiver.facts.usage import LOOKS, Usage, resident
from receiver.model import Finding
from receiver.signals import Severity
from receiver.text.event_text import frames_of, wait_of
from receiver.text.names import address_of, event_id, mib
from receiver.work.worker import Worker

_NEAR_SECONDS = 30.0  # at the present rate, the limit is reached in this time
_FULL_SHARE = 0.5  # this share of the limit is used
_GROWN_SHARE = 0.1  # the number of growing samples, among those that count


def growing(process: Worker, usage: Usage, sample: ProcessSample) -> Finding | None:
    """Reported once: at this rate, the process reaches the limit of its memory cgroup soon."""
    if usage.growth_reported or not sample.memory_limit_bytes or len(usage.recent) < LOOKS:
        return None
    (start_ns, start), (end_ns, end) = usage.recent[-LOOKS], usage.recent[-1]
    grown, seconds = end - start, (end_ns - start_ns) / 1e9
    if seconds <= 0 or grown < sample.memory_limit_bytes * _GROWN_SHARE:
        return None
    rate = grown / seconds
    left = sample.memory_limit_bytes - sample.memory_usage_bytes
    if (
        sample.memory_usage_bytes < sample.memory_limit_bytes * _FULL_SHARE
        or left / rate > _NEAR_SECONDS
    ):
        return None
    usage.growth_reported = True
    return Finding(
        kind=sc.EVENT_PROCESS_MEMORY_GROWTH,
        process=process.key,
        time_boottime_ns=sample.time_boottime_ns,
        sentence=(
            f"{process.name} ({process.key.tgid}) grew from {mib(start)} to {mib(end)} in "
            f"{seconds:.1f} s; its cgroup uses {mib(sample.memory_usage_bytes)} of "
            f"{mib(sample.memory_limit_bytes)}."
        ),
        facts=(
            (sc.PROCESS_MEMORY_GROWTH_START, start),
            (sc.PROCESS_MEMORY_GROWTH_END, end),
            (sc.PROCESS_MEMORY_GROWTH_RATE, rate),
            (sc.PROCESS_MEMORY_GROWTH_LIMIT, sample.memory_limit_bytes),
            (sc.PROCESS_MEMORY_GROWTH_LIMIT_IN, max(0.0, left / rate)),
        ),
        severity=Severity.WARN,
        evidence=(event_id(sample),),
    )


def contention(
    process: Worker,
    resource: str,
    pressure: float,
    sample: ProcessSample,
    taker: Competitor | None,
) -> Finding:
    """`resource` is cpu, quota, memory or disk.

    A quota has no other taker: it is the cgroup's own limit.
    """
    facts: list[tuple[str, str | int | float | bool]] = [
        (sc.PIPELINE_CONTENTION_RESOURCE, "cpu" if resource == "quota" else resource),
        (sc.PIPELINE_CONTENTION_PRESSURE, pressure),
    ]
    what = {
        "cpu": (
            f"was short of CPU: its ready threads waited for {pressure:.0%} of the time between "
            "two samples"
        ),
        "quota": f"was stopped by its CPU quota in {pressure:.0%} of the periods",
        "memory": f"was stalled by lack of memory for {pressure:.0%} of the time",
        "disk": f"was stalled by storage for {pressure:.0%} of the time",
    }[resource]
    by = ""
    if taker is not None and resource in ("cpu", "memory"):
        facts += [
            (sc.PIPELINE_CONTENTION_NEIGHBOR_NAME, taker.name),
            (sc.PIPELINE_CONTENTION_NEIGHBOR_PID, taker.pid),
        ]
        took = (
            f"{taker.cpu_ns / 1e9:.1f} s of CPU" if resource == "cpu" else mib(taker.growth_bytes)
        )
        by = f"; {taker.name} ({taker.pid}) used {took} in the last minute"
    return Finding(
        kind=sc.EVENT_PIPELINE_TASK_CONTENTION,
        process=process.key,
        time_boottime_ns=sample.time_boottime_ns,
        sentence=f"{process.name} ({process.key.tgid}) {what}{by}.",
        facts=tuple(facts),
        severity=Severity.WARN,
        evidence=(event_id(sample),),
    )


def memory_taken(process: Worker, event: OomKill, taker: Competitor) -> Finding:
    """Another process of the victim's cgroup took much of its memory in the minute before."""
    share = taker.growth_bytes / event.limit_bytes if event.limit_bytes else 0.0
    return Finding(
        kind=sc.EVENT_PIPELINE_TASK_CONTENTION,
        process=process.key,
        time_boottime_ns=event.time_boottime_ns,
        sentence=(
            f"{taker.name} ({taker.pid}), in the same memory cgroup as {process.name} "
            f"({process.key.tgid}), grew by {mib(taker.growth_bytes)} of its "
            f"{mib(event.limit_bytes)} in the minute before."
        ),
        facts=(
            (sc.PIPELINE_CONTENTION_RESOURCE, "memory"),
            (sc.PIPELINE_CONTENTION_PRESSURE, min(1.0, share)),
            (sc.PIPELINE_CONTENTION_NEIGHBOR_NAME, taker.name),
            (sc.PIPELINE_CONTENTION_NEIGHBOR_PID, taker.pid),
        ),
        severity=Severity.WARN,
        evidence=(event_id(event),),
    )


def hanging(
    process: Worker, wait: ThreadWait, idle_ns: int, other_end: str, stack: WaitStack | None
) -> Finding:
    """The execution used no CPU and moved no byte, and it waits without a timeout."""
    kind = wait_of(wait)
    call = call_name(wait.call_number) if wait.call_number < 1 << 16 else "no call"
    subject = other_end
    if not subject and wait.family:
        subject = f"{address_of(wait.family, wait.address_high, wait.address_low)}:{wait.port}"
    if not subject and wait.lock_holder and kind == "lock":
        subject = f"held by process {wait.lock_holder}"
    if not subject and wait.child and kind == "child":
        subject = f"process {wait.child}"
    facts: list[tuple[str, str | int | float | bool]] = [
        (sc.PROCESS_HANG_WAIT, kind),
        (sc.PROCESS_HANG_DURATION, idle_ns / 1e9),
    ]
    if subject:
        facts.append((sc.PROCESS_HANG_OBJECT, subject))
    frames = frames_of(stack) if stack is not None else ()
    if frames:
        facts.append((sc.PROCESS_HANG_STACK, " ".join(frames)))
    about = f" ({subject})" if subject else ""
    inside = f", in the kernel's {frames[0]}" if frames else ""
    return Finding(
        kind=sc.EVENT_PROCESS_HANG,
        process=process.key,
        time_boottime_ns=wait.time_boottime_ns,
        sentence=(
            f"{process.name} ({process.key.tgid}) has been inactive for "
            f"{idle_ns / 1e9:.0f} s: thread {wait.thread} waits in {call} for "
            f"{kind}{about}{inside}."
        ),
        facts=tuple(facts),
        severity=Severity.WARN,
        evidence=(event_id(wait), *((event_id(stack),) if stack is not None else ())),
        origin="inferred",
    )


def peak(process: Worker, usage: Usage | None) -> int:
    """The peak of resident bytes, from the samples and from the kernel's own high-water mark."""
    known = usage.curve.peak if usage is not None else 0
    if usage is not None and usage.last is not None:
        known = max(known, resident(usage.last))
    return max(known, process.exit.peak_rss_bytes if process.exit is not None else 0)
