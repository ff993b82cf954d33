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
    supports,
)
from receiver.investigate.relations import belongs, explains, is_maskable
from receiver.investigate.symptoms import Symptom, symptom_affinity, symptoms

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
    candidates = every if broke else [s for s in every if s.harms_without_failure]
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
        and candidate.harms_without_failure
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
            if explains(each.cause, other.cause) and _touches(case, each, other):
                each = _with(
                    each,
                    contradicts(
                        CLEAR,
                        f"It is an effect of {other.cause}: {other.summary}",
                        other.evidence[0].facts[:2],
                    ),
                )
                break
        if broke and success and is_maskable(each.cause) and subject is not None:
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
                text = (
                    "This failure alone would have failed the task, but its exit "
                    "status was not passed on."
                )
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
    text = f"{total} events that could change this answer were lost while it ran."
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
            and not explains(other.cause, lead.cause)
            and not belongs(other.cause, lead.cause)
            and other.cause not in CLASSES[lead.cause].rivals
            and not _related(case, lead, other)
        )
        (rest if apart else first).append(each)
    return first[:KEPT_HYPOTHESES], [[r] for r in rest[:KEPT_HYPOTHESES]]


def _related(case: Case, one: Candidate, other: Candidate) -> bool:
    a, b = case.get(one.subject), case.get(other.subject)
    return a is None or b is None or a in case.above(b) or b in case.above(a)
