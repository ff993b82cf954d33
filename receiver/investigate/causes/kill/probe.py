"""The cause card kill.probe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from receiver.events import Signal
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.common import (
    at_work,
    sender_text,
    signal_facts,
)
from receiver.investigate.causes.killings import killings
from receiver.investigate.evidence import (
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    ends,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import times

_ENDED = 8  # so many of those that one sender ended are looked at, the last ones


def probes(case: Case) -> Iterator[Candidate]:
    """Finds a sender whose own repeated probes were too slow."""
    for killing in killings(case):
        # It may have ended its probes, too, and first: the worker is the last one.
        pairs = [(killing.victim, killing.event), *reversed(killing.group[-_ENDED:])]
        found = (c for victim, event in pairs for c in _probe(case, victim, event))
        yield from islice(found, 1)


def _probe(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """Finds a sender whose repeated command was killed at the same age each time.

    The sender had started that command, as a liveness probe does.
    """
    sender = case.get(event.sender)
    prober = sender if sender is not None else None
    if prober is not None and not case.children(prober):
        prober = case.get(prober.parent)
    if prober is None:
        return
    for probes in _repeated(case, prober, victim, event.time_boottime_ns):
        failed = [p for p in probes if p.end.code in (124, 137, 143, 1) and p.end.code]
        ages = [(p.end_ns - p.start_ns) / 1e9 for p in failed]
        if len(failed) < 2 or max(ages) - min(ages) > max(0.2, 0.1 * max(ages)) or max(ages) < 0.3:
            continue
        text = (
            f"{prober.who} ran `{' '.join(failed[0].argv[:4])}` {times(len(probes))}; "
            f"{len(failed)} of these runs were ended after {ages[0]:.1f} s each."
        )
        evidence = [
            supports(
                "kill.probe.failed_probes", STRONG, text, [f for p in failed[-3:] for f in ends(p)]
            )
        ]
        text = f"Then {sender_text(event)} ended {victim.who}."
        evidence.append(supports("kill.probe.then_killed", SOME, text, signal_facts(victim, event)))
        if work := at_work(case, victim):
            text = f"{victim.who} was working all the time."
            evidence.append(supports("kill.probe.was_working", SLIGHT, text, work))
        summary = (
            f"The health probe of {prober.who} was too slow {times(len(failed))} "
            f"({ages[0]:.1f} s each), so {prober.who} ended {victim.who}."
        )
        yield Candidate(
            cause="kill.probe",
            culprit=process_culprit(prober),
            summary=summary,
            remedy=(
                f"Make `{' '.join(failed[0].argv[:4])}` cheaper, or let {prober.who} wait longer "
                f"than {ages[0]:.1f} s for it."
            ),
            evidence=tuple(evidence),
            subject=victim.key,
            at_ns=event.time_boottime_ns,
        )


def _repeated(
    case: Case, prober: ProcessSnapshot, victim: ProcessSnapshot, until_ns: int
) -> Iterable[list[ProcessSnapshot]]:
    """Returns the children that ended before, by command line."""
    tried: dict[tuple[str, ...], list[ProcessSnapshot]] = defaultdict(list)
    for child in case.children(prober):
        ended = child.exit is not None and child.end_ns <= until_ns
        if child is not victim and child.execs and ended:
            tried[child.argv].append(child)
    return tried.values()


CARD = cause_class(
    name="kill.probe",
    title="a health probe that was too slow caused its restart",
    predicts="probes that were ended at the same age several times",
    rivals="kill.drain kill.supervisor kill.heartbeat",
    tag="cheaper_probe",
    fix="Make the probe cheaper or its timeout longer: the process itself was working.",
    visible="P",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(probes,),
)
