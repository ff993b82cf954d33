"""Where in the code of a pipeline a process was when a signal ended it."""

from __future__ import annotations

from receiver.investigate.case import Case
from receiver.investigate.evidence import Candidate, Evidence, facts
from receiver.text.python_text import standing


def with_place(case: Case, candidate: Candidate, weighed: list[Evidence]) -> list[Evidence]:
    """The evidence with the place of the process that was affected, behind the strongest.

    It says where and not why, so it has no weight.
    """
    actor = case.get(candidate.subject)
    text = standing(actor.stack, actor.who) if actor is not None else ""
    if actor is None or not text:
        return weighed
    return [*weighed[:1], Evidence("context", 0.0, text, facts(actor.stack)), *weighed[1:]]
