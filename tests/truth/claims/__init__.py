"""Forms of sentences, and how the witnesses decide each, by subject.

A form is a regular expression over a part of a sentence. `P1`, `F` and `N` stand for a process, a
path and a number. A decider returns True or False, or None where the witnesses do not tell.
"""

from tests.truth.claims import absent, ends, files, memory, network
from tests.truth.forms import FORMS, Scene

__all__ = ["absent", "decide", "ends", "files", "memory", "network"]


def decide(sentence: str, scene: Scene) -> list[tuple[str, bool | None]]:
    """Each claim of the sentence that has a form: its text, and what the witnesses say."""
    out: list[tuple[str, bool | None]] = []
    for pattern, decider in FORMS:
        for match in pattern.finditer(sentence):
            fields = {k: v for k, v in match.groupdict().items() if v is not None}
            out.append((f"{decider.__name__}: {match[0]}", decider(scene, **fields)))
    return out
