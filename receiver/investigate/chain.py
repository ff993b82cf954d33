"""The chain from a cause to its symptom, one sentence for each link."""

from __future__ import annotations

from receiver.investigate import report as rp
from receiver.investigate.case import Case
from receiver.investigate.citations import Citations
from receiver.investigate.classes import CLASSES
from receiver.investigate.engine import Ranked
from receiver.investigate.evidence import Candidate, ends, facts, facts_of_use
from receiver.text.printable import printable

_FILES = 3
_STATES = {"partial": "incomplete", "in_progress": "unfinished"}  # of a file, facts.versions.State


def chain(case: Case, lead: Ranked | None, events: Citations) -> tuple[rp.ChainLink, ...]:
    """Returns the links from cause to effect, the first cause first."""
    out: list[rp.ChainLink] = []
    if lead is None:
        return ()
    candidate = lead.candidate
    subject = case.get(candidate.subject)
    effect = CLASSES[candidate.cause].title
    if subject is not None:
        effect = printable(
            f"{subject.who} {subject.end.words}"
            if subject.exit is not None and subject.failed
            else f"{subject.who} was affected"
        )
    out.append(
        rp.ChainLink(
            printable(_name(candidate)),
            effect,
            _link_kind(candidate.cause),
            events.cite(candidate.evidence[0].facts),
        )
    )
    at = subject
    for above in case.above(subject) if subject is not None else ():
        if at is None or above.exit is None or not at.failed:
            break
        how = f"{above.who} {above.end.words}" if above.failed else f"{above.who} reported success"
        out.append(
            rp.ChainLink(
                f"{at.who} {at.end.words}",
                printable(how),
                "exit",
                events.cite([*ends(at), *ends(above)]),
            )
        )
        if not above.failed:
            break
        at = above
    out += _reads(case, events)
    return tuple(out)


def _reads(case: Case, events: Citations) -> list[rp.ChainLink]:
    """Returns a link for each incomplete file that another process read."""
    out: list[rp.ChainLink] = []
    for actor in case:
        for use in actor.uses:
            if use.reported and use.source is not None and len(out) < _FILES:
                writer = use.source.writer
                text = f"{actor.who} read it" + (f" and {actor.end.words}" if actor.failed else "")
                cause = (
                    f"{writer.name} ({writer.key.tgid}) left {use.path} "
                    f"{_STATES.get(use.source.state.value, use.source.state.value)}"
                )
                out.append(
                    rp.ChainLink(
                        printable(cause),
                        printable(text),
                        "file",
                        events.cite([*facts(use.source.opened), *facts_of_use(use)]),
                    )
                )
    return out


def _name(candidate: Candidate) -> str:
    c = candidate.culprit
    return (
        c.path
        or c.address
        or c.cgroup
        or (f"{c.name} ({c.pid})" if c.pid else c.name)
        or CLASSES[candidate.cause].title
    )


def _link_kind(cause: str) -> str:
    family = cause.partition(".")[0]
    return {
        "mem": "memory",
        "kill": "signal",
        "fs": "file",
        "net": "socket",
        "db": "socket",
        "cpu": "cpu",
        "hang": "wait",
        "crash": "signal",
        "proc": "exit",
        "lim": "limit",
        "data": "file",
        "time": "clock",
    }.get(family, "exit")
