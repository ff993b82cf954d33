"""Draws a conclusion from a case: the smallest set of roots that explains what went wrong.

All causes yield candidates. A candidate that another one brought about is an effect of it, and is
no rival (`graph`). The rest are roots. The most likely root leads an incident. Roots that would
explain the same failure are its rivals, and a root that explains another failure is an incident of
its own. The confidence is one distribution: over the rivals, and over "nothing of these".

The same case gives the same report, byte for byte. The engine uses no clock, no random numbers and
no order that depends on addresses.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from receiver.investigate.cards import Nature
from receiver.investigate.case import Case
from receiver.investigate.causes import FINDERS
from receiver.investigate.classes import CLASSES
from receiver.investigate.evidence import Candidate, Evidence, context, fact_of_loss
from receiver.investigate.graph import Edge, Graph, nature_of
from receiver.investigate.reach import survived
from receiver.investigate.relations import Tie
from receiver.investigate.symptoms import MISMATCH, Symptom, symptoms
from receiver.investigate.weights import VERIFIED

KEPT_HYPOTHESES = 5
KEPT_OF_A_CAUSE = 8  # candidates of one cause class with different culprits
CONFIDENT = 0.5
SLOPE, OFFSET = 0.9, -3.2  # log-odds = SLOPE x score + OFFSET
# The confidence of a root that is more likely than not: log-odds = SURE_SLOPE x log-odds +
# SURE_OFFSET. Fitted on composed incidents whose weights were counted from others
# (`tests.incidents.calibrate`): a very likely root was right less often, a hardly likely one more.
SURE_SLOPE, SURE_OFFSET = 0.6, 1.1
CEILING = 0.99  # no report is certain
UNVERIFIED = 0.9  # the highest confidence of a class that no counted run had as its cause
_LOSS_CEILING = 0.75  # the highest confidence when relevant events were lost


class Ranked(msgspec.Struct, frozen=True):
    candidate: Candidate
    confidence: float


class Step(msgspec.Struct, frozen=True):
    """A link of the chain of an incident: a cause, what it brought about, and how."""

    cause: Candidate
    effect: Candidate
    tie: Tie

    @property
    def is_same_event(self) -> bool:
        """Whether both are about one event: the cause only says more about it."""
        one, other = self.cause, self.effect
        return one.subject == other.subject and one.at_ns == other.at_ns


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A root with its rivals, the best one first, what it brought about, and how it was hidden."""

    ranked: tuple[Ranked, ...]
    steps: tuple[Step, ...] = ()
    unnoticed: Candidate | None = None


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the engine. `verdict` is the verdict of the report."""

    verdict: str
    symptoms: tuple[Symptom, ...]
    first: Explanation
    # Independent incidents.
    others: tuple[Explanation, ...]
    # Delays that ended nothing: no deadline came of them.
    context: tuple[Candidate, ...]
    # All candidates, including those that explain no symptom.
    considered: tuple[Candidate, ...]

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        return self.first.ranked


def conclude(case: Case) -> Conclusion:
    found = symptoms(case)
    broke = any(s.kind in ("task_failed", MISMATCH) for s in found)
    every = _merged(s for find in FINDERS for s in find(case))
    again = survived(case) if not broke else set()
    asked = [s for s in every if broke or s.harms_without_failure or s.subject in again]
    graph = Graph(case, asked, log_odds)
    roots, delays = _roots(graph, broke=broke)
    own = [n for n in roots if graph.explains_the_task(n)]
    incidents = _incidents(case, graph, own)
    first = incidents[0] if incidents else Explanation(ranked=())
    beside = [*incidents[1:], *_incidents(case, graph, [n for n in roots if n not in own])]
    sure = first.ranked[0].confidence if first.ranked else 0.0
    verdict = "healthy"
    if sure >= CONFIDENT:
        verdict = "degraded" if not broke and _only_delayed(first) else "incident"
    elif broke:
        verdict = "incomplete" if case.losses or case.interrupted else "not_visible"
    elif case.losses and sure >= CONFIDENT / 2:
        verdict = "incomplete"
    return Conclusion(
        verdict=verdict,
        symptoms=tuple(found),
        first=first,
        others=tuple(i for i in beside if i.ranked[0].confidence >= CONFIDENT),
        context=tuple(graph.nodes[n] for n in delays),
        considered=(*graph.nodes, *(s for s in every if s not in asked)),
    )


def _only_delayed(first: Explanation) -> bool:
    """Whether the lead cost time, as far as is seen: a wait that is over, or a failure after which
    the run went on, with a later attempt or with something else.
    """
    lead = first.ranked[0].candidate
    delay = nature_of(lead) is Nature.DELAY and not lead.goes_on
    return delay or not lead.harms_without_failure


def log_odds(score: float) -> float:
    return SLOPE * score + OFFSET


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


def _roots(graph: Graph, *, broke: bool) -> tuple[list[int], list[int]]:
    """Returns the roots, the most likely one first, and delays that ended nothing.

    A wait, or a lack of CPU time, makes no process fail: a deadline in the run must show it, or the
    process must have given up the wait.
    """
    roots, delays = [], []
    for number, each in enumerate(graph.nodes):
        if (
            broke
            and nature_of(each) is Nature.DELAY
            and not each.gave_up
            and not graph.meets_a_deadline(number)
        ):
            delays.append(number)
        elif graph.parent(number) is None:
            roots.append(number)
    return sorted(roots, key=graph.order), delays


def _incidents(case: Case, graph: Graph, roots: list[int]) -> list[Explanation]:
    """Groups the roots: each leads an incident, or is a rival of the one that leads it."""
    faults = [n for n in roots if nature_of(graph.nodes[n]) is not Nature.FACET]
    facets = [n for n in roots if n not in faults]
    hidden: dict[int, list[int]] = defaultdict(list)
    for facet in facets:
        # It leads only where the failure below it has no visible cause.
        seen = next(
            (n for n in faults if graph.is_likely(n) and _meet(case, graph, n, facet)), None
        )
        if seen is not None and not graph.is_likely(facet):
            continue
        hidden[seen if seen is not None else -1].append(facet)
    left = sorted([*faults, *hidden.pop(-1, ())], key=graph.order)
    out: list[Explanation] = []
    while left:
        lead, *rest = left
        mates = [n for n in rest if _meet(case, graph, lead, n)]
        left = [n for n in rest if n not in mates]
        if not graph.covers(lead) and not graph.nodes[lead].harms_without_failure:
            continue  # it explains no failure
        rivals = [n for n in mates if not _is_again(case, graph, lead, n)]
        masks = [m for n in (lead, *mates) for m in hidden.get(n, ())]
        out.append(_incident(case, graph, [lead, *rivals], masks))
    return out


def _meet(case: Case, graph: Graph, one: int, other: int) -> bool:
    """Whether two roots would explain the same failure, or concern the same process."""
    a, b = graph.nodes[one], graph.nodes[other]
    if a.subject is not None and a.subject == b.subject:
        return True
    mine, theirs = graph.covers(one), graph.covers(other)
    if mine & theirs:
        return True
    x, y = case.get(a.subject), case.get(b.subject)
    return x is None or y is None or x in case.above(y) or y in case.above(x)


def _is_again(case: Case, graph: Graph, lead: int, other: int) -> bool:
    """Whether the same happened to another worker of the same pool: no other explanation."""
    a, b = graph.nodes[lead], graph.nodes[other]
    one, two = case.get(a.subject), case.get(b.subject)
    return (
        a.cause == b.cause
        and one is not None
        and two is not None
        and one is not two
        and case.related(one, two)
    )


def _incident(case: Case, graph: Graph, members: list[int], masks: list[int]) -> Explanation:
    shares = distribution([graph.nodes[n].score for n in members])
    shares = calibrated(shares, graph.nodes[members[0]].cause)
    ranked = [_ranked(case, graph.nodes[n], p) for n, p in zip(members, shares, strict=True)]
    return Explanation(
        ranked=tuple(ranked[:KEPT_HYPOTHESES]),
        steps=tuple(_step(graph, e) for e in graph.effects(members[0])),
        unnoticed=graph.nodes[masks[0]] if masks else None,
    )


def _step(graph: Graph, edge: Edge) -> Step:
    return Step(graph.nodes[edge.cause], graph.nodes[edge.effect], edge.tie)


def distribution(scores: Sequence[float]) -> list[float]:
    """The probability of each root. The rest is the probability that it is none of them."""
    odds = [log_odds(s) for s in scores]
    most = max([0.0, *odds])
    parts = [math.exp(o - most) for o in odds]
    whole = sum(parts) + math.exp(-most)
    return [min(CEILING, p / whole) for p in parts]


def calibrated(shares: list[float], cause: str) -> list[float]:
    """The confidences of a lead of this class and of its rivals, which share what it leaves."""
    lead, *others = shares
    if lead < CONFIDENT:
        return shares
    sure = 1 / (1 + math.exp(-SURE_SLOPE * math.log(lead / (1 - lead)) - SURE_OFFSET))
    sure = min(sure, CEILING if VERIFIED.get(cause) else UNVERIFIED)
    return [sure, *(each * (1 - sure) / (1 - lead) for each in others)]


def _ranked(case: Case, candidate: Candidate, share: float) -> Ranked:
    loss = _relevant_losses(case, candidate)
    if loss is not None:
        share = min(share, _LOSS_CEILING)
        candidate = msgspec.structs.replace(candidate, evidence=(*candidate.evidence, loss))
    return Ranked(candidate, round(share, 3))


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
    return context("record.losses.relevant", text, [fact_of_loss(h) for h in losses[:4]])
