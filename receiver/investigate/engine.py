"""Draws a conclusion from a case: it runs all causes, discounts effects and ranks the rest.

The same case gives the same report, byte for byte. The engine uses no clock, no random numbers and
no order that depends on addresses.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from receiver.investigate.case import Case
from receiver.investigate.causes import CAUSES
from receiver.investigate.classes import CLASSES
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    Evidence,
    contradicts,
    ends,
    fact_of_loss,
    missing,
    supports,
)
from receiver.investigate.symptoms import Symptom, symptom_affinity, symptoms
from receiver.text.names import mib

KEPT_HYPOTHESES = 5
KEPT_OF_A_CAUSE = 8  # candidates of one cause class with different culprits
CONFIDENT = 0.5
# log-odds = SLOPE x score + OFFSET. The curve is flatter than the best fit to the laboratory's
# runs (docs/accuracy.md), because the rules were written with the same runs.
SLOPE, OFFSET = 0.9, -3.2
_CEILING = 0.99  # no report is certain
_LOSS_CEILING = 0.75  # the highest confidence when relevant events were lost
_OWN_SCORE = 2.0  # a candidate below this score cannot explain another one
_LATER_NS = 1_500_000_000

# Maps an effect to its possible causes. A name that ends with a dot is a family of classes.
_EFFECTS: dict[str, tuple[str, ...]] = {
    "proc.exit_masked": (
        "kill.swallowed",
        "mem.child_oom",
        "fs.enospc",
        "fs.inodes_quota",
        "hang.",
        "kill.timeout_orphan",
    ),
    "fs.truncated": ("fs.enospc", "fs.inodes_quota"),
    "kill.supervisor": (
        "hang.",
        "kill.drain",
        "kill.timeout_orphan",
        "kill.heartbeat",
        "kill.probe",
        "kill.swallowed",
        "mem.userspace_killer",
        "db.lock_wait",
        "fs.slow_io",
        "mem.child_oom",
    ),
    "kill.drain": ("kill.probe",),
    "kill.timeout_orphan": (
        "hang.",
        "kill.probe",
        "kill.heartbeat",
        "db.lock_wait",
        "mem.child_oom",
        "fs.slow_io",
    ),
    "kill.heartbeat": ("hang.",),
    "net.silent_peer": (
        "kill.heartbeat",
        "net.backlog_refused",
        "db.lock_wait",
        "net.credential",
        "net.pool",
        "net.mtu",
        "mem.child_oom",
        "net.idle_drop",
        "hang.",
    ),
    "net.pool": ("net.credential",),
    "net.reset_short": (
        "mem.",
        "kill.",
        "net.idle_drop",
        "net.pool",
        "crash.",
        "lim.",
        "fs.",
        "proc.interpreter",
    ),
    "net.backlog_refused": ("mem.", "kill.", "crash."),
    "net.ports": (),
    "fs.concurrent_writers": ("proc.duplicate_run",),
    "fs.slow_io": ("mem.thrash",),
    "fs.eacces": ("proc.interpreter",),
    "cpu.neighbour": ("cpu.quota", "data.skew", "mem.thrash"),
    "data.skew": ("mem.", "cpu.quota"),
    "crash.segv": ("fs.replaced", "mem.shm_full", "mem.rlimit"),
    "crash.abort_ill": ("mem.rlimit", "lim.pids"),
    "hang.pipe_full": ("mem.child_oom",),
    "hang.fork_lock": ("mem.child_oom",),
    "hang.gc_stall": ("mem.app_heap",),
    "lim.pids": ("proc.zombies",),
    "net.dns": ("lim.",),
}
# Maps a cause to classes that belong to the same incident and are never reported as another one.
_PARTS: dict[str, tuple[str, ...]] = {
    "fs.truncated": ("kill.", "mem.", "crash.", "proc.exit_masked", "fs."),
    "kill.swallowed": ("kill.", "fs.truncated"),
    "proc.exit_masked": ("kill.", "mem.", "crash.", "fs.", "net.", "lim.", "proc."),
    "mem.cgroup_oom": ("proc.exit_masked", "kill.", "net.reset_short", "data.skew"),
    "mem.child_oom": ("kill.", "net.", "hang.", "proc."),
    "hang.fork_lock": ("kill.", "proc."),
    "hang.pipe_full": ("kill.", "proc.", "hang."),
    "fs.concurrent_writers": ("fs.", "proc.duplicate_run"),
    "proc.duplicate_run": ("fs.",),
}
# If the task reported success, these causes rank below proc.exit_masked of the same process.
_MASKABLE = ("mem.cgroup_oom", "kill.supervisor", "crash.", "kill.drain", "mem.rlimit")


class Ranked(msgspec.Struct, frozen=True):
    candidate: Candidate
    confidence: float


class Conclusion(msgspec.Struct, frozen=True):
    """The result of the engine.

    `verdict` is the verdict of the report. The best candidate comes first in `ranked`. Each element
    of `others` is an independent incident.
    """

    verdict: str
    symptoms: tuple[Symptom, ...]
    ranked: tuple[Ranked, ...]
    others: tuple[tuple[Ranked, ...], ...]
    # All candidates, including those that explain no symptom.
    considered: tuple[Candidate, ...]


def conclude(case: Case) -> Conclusion:
    found = symptoms(case)
    broke = any(s.kind in ("task_failed", "result_mismatch") for s in found)
    every = [_reached(case, s) for s in _merged(s for cause in CAUSES for s in cause(case))]
    every = _settled(case, every, broke=broke)
    candidates = every if broke else [s for s in every if s.silent]
    ranked = sorted((_rank(case, s) for s in candidates), key=_order)
    first, others = _independent(case, ranked)
    verdict = "healthy"
    if first and first[0].confidence >= CONFIDENT:
        verdict = "incident"
    elif broke:
        verdict = "incomplete" if case.losses or case.interrupted else "not_visible"
    elif case.losses and first and first[0].confidence >= CONFIDENT / 2:
        verdict = "incomplete"
    return Conclusion(
        verdict, tuple(found), tuple(first), tuple(tuple(group) for group in others), tuple(every)
    )


def _merged(found: Iterable[Candidate]) -> list[Candidate]:
    """Keeps the best candidate for each cause and culprit, at most KEPT_OF_A_CAUSE per cause."""
    best: dict[tuple[object, ...], Candidate] = {}
    for each in found:
        key = (each.cause, *each.culprit.identity)
        known = best.get(key)
        if known is None or (each.score, -each.at_ns) > (known.score, -known.at_ns):
            best[key] = each
    by_cause: dict[str, list[Candidate]] = defaultdict(list)
    for each in best.values():
        by_cause[each.cause].append(each)
    return [
        s
        for group in by_cause.values()
        for s in sorted(group, key=lambda s: (-s.score, s.at_ns, s.summary))[:KEPT_OF_A_CAUSE]
    ]


def _with(candidate: Candidate, *more: Evidence) -> Candidate:
    return msgspec.structs.replace(candidate, evidence=(*candidate.evidence, *more))


def _reached(case: Case, candidate: Candidate) -> Candidate:
    late = _came_after(case, candidate)
    if late is not None:
        candidate = _with(candidate, late)
    weight, text, shown = symptom_affinity(case, candidate)
    if not weight or (
        weight < 0
        and candidate.silent
        and candidate.cause.startswith(("fs.", "net.", "time.", "db.", "proc."))
    ):
        return candidate
    return _with(
        candidate,
        supports(weight, text, shown) if weight > 0 else contradicts(-weight, text, shown),
    )


def _came_after(case: Case, candidate: Candidate) -> Evidence | None:
    """Returns evidence against a candidate that happened after the failure."""
    failed = case.path[-1] if case.path else None
    subject = case.get(candidate.subject)
    if (
        failed is None
        or not failed.end_ns
        or subject is failed
        or candidate.at_ns <= failed.end_ns + _LATER_NS
    ):
        return None
    text = f"{failed.who} had failed {(candidate.at_ns - failed.end_ns) / 1e9:.1f} s before."
    return contradicts(CLEAR, text, ends(failed))


def _explains(effect: str, cause: str) -> bool:
    return any(
        cause == c or (c.endswith(".") and cause.startswith(c)) for c in _EFFECTS.get(effect, ())
    )


def _settled(case: Case, candidates: Sequence[Candidate], *, broke: bool) -> list[Candidate]:
    """Lowers the score of each candidate that is an effect of another one."""
    success = case.root is not None and not case.root.failed
    out = []
    for each in candidates:
        subject = case.get(each.subject)
        for other in candidates:
            if (
                other is each
                or other.score < _OWN_SCORE
                or other.at_ns
                > each.at_ns + (0 if each.cause == "net.backlog_refused" else _LATER_NS)
            ):
                continue
            if _explains(each.cause, other.cause) and _touches(case, each, other):
                each = _with(
                    each,
                    contradicts(
                        CLEAR,
                        f"It follows from {other.cause}: {other.summary}",
                        other.evidence[0].facts[:2],
                    ),
                )
                break
        maskable = any(
            each.cause == m or (m.endswith(".") and each.cause.startswith(m)) for m in _MASKABLE
        )
        if broke and success and maskable and subject is not None:
            mask = next(
                (
                    o
                    for o in candidates
                    if o.cause == "proc.exit_masked" and o.subject == each.subject
                ),
                None,
            )
            # The score must be high enough for an incident of its own.
            if mask is not None and SLOPE * mask.score + OFFSET > 0:
                text = "That alone would have failed the task: the status was lost on the way."
                each = _with(each, contradicts(CLEAR + SOME, text, mask.evidence[0].facts[:2]))
        out.append(each)
    return out


def _touches(case: Case, effect: Candidate, cause: Candidate) -> bool:
    """Whether two candidates concern related processes, or two ends of a connection or file."""
    one, other = case.get(effect.subject), case.get(cause.subject)
    if one is None or other is None or one is other:
        return True
    if one in case.above(other) or other in case.above(one) or one.parent == other.parent:
        return True
    return (
        effect.cause.startswith(("net.", "kill.", "cpu.", "fs."))
        and case.execution is one.execution.outermost
    )


def _rank(case: Case, candidate: Candidate) -> Ranked:
    score = candidate.score
    loss = _relevant_losses(case, candidate)
    confidence = min(_CEILING, 1 / (1 + math.exp(-(SLOPE * score + OFFSET))))
    if loss is not None:
        confidence = min(confidence, _LOSS_CEILING)
        candidate = _with(candidate, loss)
    return Ranked(candidate, round(confidence, 3))


def _relevant_losses(case: Case, candidate: Candidate) -> Evidence | None:
    """Returns context if lost events could change the answer.

    Only the kinds that the candidate or one of its rivals needs are relevant.
    """
    needed = set(CLASSES[candidate.cause].needs)
    for rival in CLASSES[candidate.cause].rivals:
        needed |= set(CLASSES[rival].needs) if rival in CLASSES else set()
    losses = [h for h in case.losses if h.kind in needed and h.reason != "file_limit"]
    if not losses:
        return None
    total = sum(h.count for h in losses)
    text = f"{total} events were lost while it ran, of kinds that could change this answer."
    return Evidence("context", 0.0, text, tuple(fact_of_loss(h) for h in losses[:4]))


def _order(ranked: Ranked) -> tuple[object, ...]:
    candidate = ranked.candidate
    return (-candidate.score, candidate.at_ns, candidate.cause, candidate.summary)


def _independent(case: Case, ranked: list[Ranked]) -> tuple[list[Ranked], list[list[Ranked]]]:
    """Separates the strongest incident and its rivals from independent incidents.

    An independent incident is confident, concerns another process and is no effect of the first.
    """
    if not ranked:
        return [], []
    lead = ranked[0].candidate
    first: list[Ranked] = [ranked[0]]
    rest: list[Ranked] = []
    for each in ranked[1:]:
        other = each.candidate
        apart = (
            each.confidence >= CONFIDENT
            and other.subject != lead.subject
            and not _explains(other.cause, lead.cause)
            and not other.cause.startswith(_PARTS.get(lead.cause, ("-",)))
            and other.cause not in CLASSES[lead.cause].rivals
            and not _related(case, lead, other)
        )
        (rest if apart else first).append(each)
    return first[:KEPT_HYPOTHESES], [[r] for r in rest[:KEPT_HYPOTHESES]]


def _related(case: Case, one: Candidate, other: Candidate) -> bool:
    a, b = case.get(one.subject), case.get(other.subject)
    return a is None or b is None or a in case.above(b) or b in case.above(a)


def rule_out(
    case: Case, lead: Candidate, considered: Iterable[Candidate]
) -> list[tuple[str, Evidence]]:
    """Returns the fact that decides against each rival, or names the missing trace of the rival."""
    by_cause = {s.cause: s for s in sorted(considered, key=lambda s: s.score)}
    out: list[tuple[str, Evidence]] = []
    for rival in CLASSES[lead.cause].rivals:
        known = by_cause.get(rival)
        if known is not None:
            against = [e for e in known.evidence if e.weight < 0]
            worst = min(against, key=lambda e: e.weight, default=None)
            text = (
                worst.text
                if worst is not None
                else f"Less speaks for it: {known.score:.1f} against {lead.score:.1f}."
            )
            out.append(
                (rival, Evidence("contradicts", 0.0, text, (worst or lead.evidence[0]).facts))
            )
        elif rival in CLASSES:
            out.append((rival, missing(0.0, _absence(case, rival, lead), _witnesses(case, lead))))
        else:
            out.append(
                (rival, Evidence("contradicts", 0.0, lead.evidence[0].text, lead.evidence[0].facts))
            )
    return out


def _absence(case: Case, rival: str, lead: Candidate) -> str:
    decides = _DECIDES.get(rival)
    if decides is not None and (found := decides(case, lead)):
        return found
    return f"Nothing shows {CLASSES[rival].predicts}."


def _witnesses(case: Case, lead: Candidate):  # type: ignore[no-untyped-def]
    subject = case.get(lead.subject)
    return (
        ends(subject) or lead.evidence[0].facts if subject is not None else lead.evidence[0].facts
    )


def _no_oom(case: Case, _: Candidate) -> str:
    return (
        ""
        if any(a.oom is not None for a in case)
        else "The kernel's OOM killer chose none of its processes (no mark_victim)."
    )


def _no_sender(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    if subject is None or subject.exit is None:
        return ""
    sent = [s for s in subject.signals if s.code <= 0 and s.sender != subject.key]
    return "" if sent else f"No process sent {subject.who} a signal."


def _cgroup_not_host(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    event = subject.oom if subject is not None else None
    return (
        f"The cgroup {event.memory_cgroup} was full, not the host."
        if event is not None and event.limit_bytes
        else ""
    )


def _own_growth(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    if subject is None or subject.oom is None or not subject.company:
        return _no_oom(case, lead)
    me, *others = subject.company
    most = next((t for t in others if not t.own), None)
    if most is None:
        return "Nobody else was in that memory."
    return (
        f"{most.name} ({most.pid}), the next in that memory, grew by {mib(most.growth_bytes)}; "
        f"{me.name} held {mib(me.rss_bytes)}."
    )


_DECIDES = {
    "mem.cgroup_oom": _no_oom,
    "mem.cgroup_neighbour": _own_growth,
    "mem.child_oom": _no_oom,
    "mem.host_oom": _cgroup_not_host,
    "kill.supervisor": _no_sender,
    "mem.userspace_killer": _no_sender,
    "kill.drain": _no_sender,
}
